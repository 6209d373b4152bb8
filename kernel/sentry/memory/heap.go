package memory

import (
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// What the Go runtime says of the kernel's heap, in bytes.
const (
	metricObjects = "/memory/classes/heap/objects:bytes" // live, and garbage not yet found
	metricFree    = "/memory/classes/heap/free:bytes"    // could be given back
	metricStacks  = "/memory/classes/heap/stacks:bytes"
	metricLive    = "/gc/heap/live:bytes" // at the end of the last collection
)

// heapStats are those figures.
type heapStats struct{ objects, free, stacks, live uint64 }

func readHeap() heapStats {
	s := []metrics.Sample{{Name: metricObjects}, {Name: metricFree}, {Name: metricStacks}, {Name: metricLive}}
	metrics.Read(s)
	return heapStats{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), s[3].Value.Uint64()}
}

// garbage returns how many bytes a collection may give back at most.
func (k *Keeper) garbage() int {
	h := readHeap()
	return int(h.free) + max(0, int(h.objects)-int(h.live))
}

// share is how much of memory the kernel's objects for programs may have, and
// the means to look at that after each collection.
type share struct {
	bytes  uint64       // above this, no more are made
	looked atomic.Int64 // when, in ns of the process' life

	refused atomic.Pointer[kernel.ThreadGroup] // who was refused last
}

const (
	// Their quotient is the kernel's share of memory. The Go runtime collects all
	// the time when its own limit of a half is near (setUpMemory).
	shareNumerator, shareDenominator = 3, 8
	// minShare is for small machines: the kernel itself has some MB.
	minShare = 14 << 20
	// shareLook is how long a refused process gets the same answer.
	shareLook = 100 * time.Millisecond
)

func newShare(total uint64) share {
	return share{bytes: max(total/shareDenominator*shareNumerator, minShare)}
}

// sentinel is an object that dies in each collection.
type sentinel struct{ _ *byte }

// watchHeap looks at the heap after each collection.
func (k *Keeper) watchHeap() {
	runtime.AddCleanup(&sentinel{new(byte)}, func(k *Keeper) {
		k.look()
		k.watchHeap()
	}, k)
}

// look notes whether the kernel's objects have their share.
func (k *Keeper) look() {
	h := readHeap()
	used := h.live + h.stacks
	switch {
	case used > k.share.bytes:
		k.full.Store(true)
	case used < k.share.bytes/8*7:
		k.full.Store(false)
	}
	k.share.looked.Store(time.Since(began).Nanoseconds())
}

var began = time.Now()

// Full reports whether the kernel is to make no more objects for task t. It is
// cheap while it need not. Whoever was refused last gets the same answer for a
// while; for another the heap is collected first, as the other's end may have
// made room.
func (k *Keeper) Full(t *kernel.Task) bool {
	if !k.full.Load() {
		return false
	}
	var group *kernel.ThreadGroup
	if t != nil {
		group = t.ThreadGroup()
	}
	fresh := time.Since(began)-time.Duration(k.share.looked.Load()) < shareLook
	if !fresh || k.share.refused.Swap(group) != group {
		runtime.GC()
		k.look()
	}
	return k.full.Load()
}
