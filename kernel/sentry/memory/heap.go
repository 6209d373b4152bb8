package memory

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/machine"
)

// What the Go runtime says of the kernel's heap, in bytes.
const (
	metricObjects = "/memory/classes/heap/objects:bytes" // live, and garbage not yet found
	metricFree    = "/memory/classes/heap/free:bytes"    // could be given back
	metricStacks  = "/memory/classes/heap/stacks:bytes"
	metricTotal   = "/memory/classes/total:bytes"
	metricGone    = "/memory/classes/heap/released:bytes" // of the total, given back
	metricLive    = "/gc/heap/live:bytes"                 // at the end of the last collection
)

// heapStats are those figures.
type heapStats struct{ objects, free, stacks, total, gone, live uint64 }

// frames returns how many bytes of the machine's memory the heap may have.
func (h heapStats) frames() uint64 { return h.total - h.gone }

// heapSamples are read into, so that to look makes no garbage.
var heapSamples = struct {
	sync.Mutex
	s [6]metrics.Sample
}{s: [6]metrics.Sample{{Name: metricObjects}, {Name: metricFree}, {Name: metricStacks},
	{Name: metricTotal}, {Name: metricGone}, {Name: metricLive}}}

func readHeap() heapStats {
	h := &heapSamples
	h.Lock()
	defer h.Unlock()
	metrics.Read(h.s[:])
	return heapStats{h.s[0].Value.Uint64(), h.s[1].Value.Uint64(), h.s[2].Value.Uint64(),
		h.s[3].Value.Uint64(), h.s[4].Value.Uint64(), h.s[5].Value.Uint64()}
}

// garbage returns how many bytes a collection may give back at most.
func (k *Keeper) garbage() int {
	h := readHeap()
	return int(h.free) + max(0, int(h.objects)-int(h.live))
}

// share is how much of memory the kernel's objects for programs may have, and
// the means to look at that after each collection.
type share struct {
	bytes  uint64       // above this, hogs make no more
	most   uint64       // above this, nobody does
	looked atomic.Int64 // when, in ns of the process' life
	used   atomic.Int64 // what they had then
	grown  atomic.Int64 // what was made since, in bytes, or more

	refused atomic.Pointer[kernel.ThreadGroup] // who was refused last
}

// Marks of the kernel's heap, in parts of 1/32 of memory. The runtime collects
// when the heap reaches its limit, and only then it is known what lives: so the
// limit is not far above the next mark.
const (
	shareParts = 10 // what hogs may have
	earlyParts = 12 // the limit until then
	mostParts  = 14 // what all may have
	limitParts = 16 // the limit after
)

const (
	// minShare is for small machines: the kernel itself has some MB.
	minShare = 13 << 20
	// minHeapLimit is for them, too: the limit is no hard bound, and one that the
	// runtime's own structures nearly fill would have it collect all the time.
	minHeapLimit = 14 << 20
	// shareLook is how long a refused process gets the same answer.
	shareLook = 100 * time.Millisecond
)

func newShare(total uint64) share {
	bytes := max(total/32*shareParts, minShare)
	return share{bytes: bytes, most: bytes + total/32*(mostParts-shareParts)}
}

// The heap's limit. The runtime collects when the heap reaches it.
const (
	// heapSlack is how far the limit is beyond what the heap has when no frames
	// are free, in bytes. The runtime itself keeps 1 MB of that
	// (memoryLimitHeapGoal in runtime/mgcpacer.go).
	heapSlack = 1<<20 + 512<<10
	// heapSteps is by what part of memory the heap may grow between two collections,
	// and heapFree of what is free, if that is more.
	heapSteps = 32
	heapFree  = 8
)

// boundHeap sets the heap's limit. The heap may grow into frames that are free,
// and by steps: a collection writes to the end of each span that is new since the
// last one, and must not find hundreds of them that were never touched when memory
// is short. While much is free the steps are long: a machine of 256 MB boots without a
// collection. It is called after each collection, and when memory is short.
func (k *Keeper) boundHeap() {
	total := k.total * machine.PageSize
	room := max(0, int(k.free())-k.reserve.Frames()) * machine.PageSize
	now := int(readHeap().frames()) + min(room, max(total/heapSteps, room/heapFree)) + heapSlack
	debug.SetMemoryLimit(int64(min(now, k.mostHeap())))
}

// mostHeap returns what the limit is at most, in bytes.
func (k *Keeper) mostHeap() int {
	parts := earlyParts
	if k.full.Load() {
		parts = limitParts
	}
	return max(k.total*machine.PageSize/32*parts, minHeapLimit)
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
	k.share.used.Store(int64(used))
	k.share.grown.Store(0)
	k.brimful.Store(used > k.share.most)
	k.boundHeap()
	if !k.full.Load() {
		k.ledger.age()
	}
	k.share.looked.Store(time.Since(began).Nanoseconds())
}

var began = time.Now()

// grow notes that the kernel's objects become larger by so many bytes at most. If
// they may have their share then, it has the heap collected, to know.
func (k *Keeper) grow(bytes int) {
	if n := k.share.grown.Add(int64(bytes)); !k.full.Load() && k.share.used.Load()+n > int64(k.share.bytes) {
		runtime.GC()
		k.look()
	}
}

// Full reports whether the kernel is to make no more objects for task t: while
// they have their share if its process holds much of it, and for nobody when the
// remainder is gone too. It is cheap while there is enough. Whoever was refused
// last gets the same answer for a while; for another the heap is collected first,
// as the other's end may have made room.
func (k *Keeper) Full(t *kernel.Task) bool {
	if !k.full.Load() {
		return false
	}
	refuse := func() bool { return k.full.Load() && (k.brimful.Load() || t == nil || k.hog(t)) }
	if !refuse() {
		return false
	}
	var group *kernel.ThreadGroup
	if t != nil {
		group = t.ThreadGroup()
	}
	fresh := time.Since(began)-time.Duration(k.share.looked.Load()) < shareLook
	if fresh && k.share.refused.Swap(group) == group {
		return true
	}
	runtime.GC()
	k.look()
	return refuse()
}
