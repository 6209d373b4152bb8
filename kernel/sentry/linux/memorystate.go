package linux

import (
	"runtime"
	"sync"
	"weak"

	"gvisor.dev/gvisor/pkg/sentry/fsutil"
)

// memoryState is what is remembered of a file in memory, beside what gVisor has.
type memoryState struct {
	// linkable says that the file was made without a name and may get one
	// (O_TMPFILE without O_EXCL). Guarded by linkMu.
	linkable bool
	// unwritten are the pages that fallocate gave it, by offset; programs may
	// have written to them since. Guarded by memoryFile.dataMu.
	unwritten fsutil.FileRangeSet
}

// memoryStates has the states, by inode. An inode that is gone takes its state
// with it.
var memoryStates sync.Map // weak.Pointer[byte] → *memoryState

// state returns what is remembered of a file.
func (m *memoryFile) state() *memoryState { return m.inode.state() }

func (i memoryInode) state() *memoryState {
	p := (*byte)(i.at)
	key := weak.Make(p)
	if s, ok := memoryStates.Load(key); ok {
		return s.(*memoryState)
	}
	s, had := memoryStates.LoadOrStore(key, &memoryState{})
	if !had {
		runtime.AddCleanup(p, func(key weak.Pointer[byte]) { memoryStates.Delete(key) }, key)
	}
	return s.(*memoryState)
}
