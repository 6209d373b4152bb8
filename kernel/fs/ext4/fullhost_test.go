package ext4

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
)

// sparse makes a disk's image a sparse file on a host that runs out of space:
// what was written before can be written again, what was not needs a new block
// of the host's, and those are counted.
type sparse struct {
	mu      sync.Mutex
	has     map[int64]bool // guarded by mu: blocks of the host's
	left    int            // guarded by mu: more that there are
	refused int            // guarded by mu: requests that failed
}

const hostBlock = 4096

func newSparse(base *blocktest.Memory, left int) *sparse {
	s := &sparse{has: map[int64]bool{}, left: left}
	p := make([]byte, hostBlock)
	for off := int64(0); off < base.Size(); off += hostBlock {
		if base.ReadAt(p, off) == nil && !bytes.Equal(p, make([]byte, hostBlock)) {
			s.has[off/hostBlock] = true
		}
	}
	return s
}

// fault is a blocktest.Volatile's Fault. A request that fails may have written
// its first blocks; that is left out here, and is TestCrash's.
func (s *sparse) fault(op string, off, n int64) error {
	if op != "write" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := off / hostBlock; b*hostBlock < off+n; b++ {
		if s.has[b] {
			continue
		}
		if s.left == 0 {
			s.refused++
			return fmt.Errorf("test: the host is full: %w", syscall.EIO)
		}
		s.has[b] = true
		s.left--
	}
	return nil
}

// free gives the host space.
func (s *sparse) free(blocks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left += blocks
}

// TestFullHost lets the host's disk be full from each of many moments on: of
// content, of the journal, of metadata in its place, at the unmount; for good or
// for a time. What was acknowledged by Sync is there afterwards, and e2fsck finds
// nothing.
func TestFullHost(t *testing.T) {
	base := mkfs(t, "16M", nil, "-t", "ext4", "-b", "1024")
	moments := []int{0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610}
	for _, left := range moments {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d blocks, space again %v", left, again), func(t *testing.T) {
				fillHost(t, base, left, again)
			})
		}
	}
}

func fillHost(t *testing.T, base *blocktest.Memory, left int, again bool) {
	v := blocktest.NewVolatile(base.Clone())
	s := newSparse(base, left)
	v.Fault = s.fault
	f, err := Mount(v, Options{})
	if err == nil {
		acked := useFullHost(t, f, s, again)
		err = f.Unmount()
		checkAcked(t, v.Cut(nil), acked)
		checkAcked(t, v.Cut(rand.New(rand.NewPCG(uint64(left), 1))), acked)
		if cut := replayByFsck(t, v.Cut(nil)); cut != nil {
			checkAcked(t, cut, acked)
		}
	} else {
		fsck(t, replayByFsck(t, v.Cut(nil)))
	}
	if s.refused == 0 && left < 200 {
		t.Errorf("nothing was refused, the file system ended with %v", err)
	}
}

// useFullHost makes, overwrites and removes files, and returns what each has to
// hold, as far as Sync said so. nil is a file that is gone.
func useFullHost(t *testing.T, f *FS, s *sparse, again bool) map[string][]byte {
	acked := map[string][]byte{}
	r := rand.New(rand.NewPCG(7, 7))
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.DecRef()
	for i := range 60 {
		if i == 40 && again {
			s.free(10_000)
		}
		name := fmt.Sprintf("file%d", r.IntN(20))
		if r.IntN(5) == 0 {
			delete(acked, name) // removed or not, until the directory is synced
			if root.Unlink(name) == nil && root.Sync(false) == nil {
				acked[name] = nil
			}
			continue
		}
		content := bytes.Repeat([]byte{byte(i + 1)}, 1+r.IntN(40_000))
		in, err := root.Lookup(name)
		if err != nil {
			if in, err = root.Create(name, fs.New{Mode: syscall.S_IFREG | 0o644}); err != nil {
				continue
			}
		}
		delete(acked, name)
		err = in.Truncate(0)
		if err == nil {
			_, err = in.WriteAt(content, 0)
		}
		if err == nil && in.Sync(false) == nil {
			acked[name] = content
		}
		in.DecRef()
	}
	return acked
}

// checkAcked mounts what is left on a disk, which replays the journal, compares
// it with what was acknowledged, and has e2fsck look at it.
func checkAcked(t *testing.T, m *blocktest.Memory, acked map[string][]byte) {
	t.Helper()
	f, err := Mount(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range acked {
		in, err := root.Lookup(name)
		if want == nil {
			if err == nil {
				in.DecRef()
				t.Errorf("%s is there, though it was removed", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := make([]byte, len(want)+1)
		n, _ := in.ReadAt(got, 0)
		if !bytes.Equal(got[:n], want) {
			t.Errorf("%s has %d bytes that differ from the %d acknowledged", name, n, len(want))
		}
		in.DecRef()
	}
	root.DecRef()
	if err := f.Unmount(); err != nil {
		t.Fatal(err)
	}
	fsck(t, m)
}
