// Package memory decides who has the machine's last page frames.
//
// The Sentry touches programs' pages where it can neither fail nor wait: in the
// middle of a copy, with locks held. A touch that finds no frame ends the
// machine. So a task is promised frames for what it is about to do before it
// does it:
//
//   - package platform asks at each entry to the Sentry, and calls MakeRoom when
//     there are too few;
//   - calls that move more than platform.MoveLimit ask again between pieces of
//     that size (pieces.go).
//
// MakeRoom frees memory in the order of what that costs: what was registered
// with Start (the page cache, closed connections), the kernel's own garbage, a
// process. Some calls fail instead, as they do on Linux: a tmpfs is full before
// a process is killed for it (pieces.go), and the kernel makes no more objects
// for programs when these have their share of memory (refuse.go).
//
// Context: goroutines of tasks, outside the Sentry's locks.
// Lock order: Keeper.mu, then the Sentry's task set, a task's, a file's.
package memory

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/machine"
	"kiln/kernel/notice"
	"kiln/kernel/sentry/platform"
)

const (
	// extraPages is how many more pages than missing are asked for at once, so
	// that there is room for a while: to take pages from a program's mapping
	// costs it a page fault each.
	extraPages = 1024

	// collectAgain is after what time the heap is collected once more before
	// a process is killed: what the kernel had for the last one, say.
	collectAgain = 50 * time.Millisecond

	// nap is how long a task waits for memory that someone else gives back, where
	// it is alone. Of more, each naps so much longer that all together look as
	// often as two: who is killed needs the CPU to end.
	nap        = 2 * time.Millisecond
	napShare   = 2
	longestNap = time.Second
	// momentYields is how many may wait for a moment without a nap.
	momentYields = 4
)

// Reclaim frees about so many pages if it can, and returns how many it freed.
type Reclaim func(pages int) int

// Keeper keeps page frames for those who need them.
type Keeper struct {
	total   int               // page frames of the machine
	reserve *platform.Reserve // those that must stay free

	free    func() int64 // machine.FreeFrames; tests replace it
	state   func() (machine.MemInfo, error)
	collect func()     // debug.FreeOSMemory; tests replace it
	files   func() int // Keeper.filePages; tests replace it

	kernel    *kernel.Kernel
	reclaim   []Reclaim
	executing atomic.Int64  // execve that go on
	exec      chan struct{} // has something while nobody copies large arguments
	full      atomic.Bool   // the kernel's objects have their share
	brimful   atomic.Bool   // and the remainder
	share     share
	ledger    ledger
	napping   atomic.Int64 // tasks that wait for memory
	families  families
	crowd     crowd
	lent      atomic.Int64 // bytes of the buffers that calls have now (buffers.go)

	mu        sync.Mutex
	victim    *victim   // the last process that was killed, or nil; guarded by mu
	collected time.Time // when relieve last had the heap collected; guarded by mu
	starved   time.Time // since when only a small process 1 is left to kill; guarded by mu
}

// New returns a keeper for a machine in state m.
func New(m machine.MemInfo) *Keeper {
	k := &Keeper{
		total:   int(m.Total),
		reserve: platform.NewReserve(int(m.LowWater), filesKeep(int(m.Total))+platform.MoveLimit/machine.PageSize, int(m.Total)/8),
		free:    machine.FreeFrames,
		state:   machine.Memory,
		collect: debug.FreeOSMemory,
		share:   newShare(m.Total * machine.PageSize),
		exec:    make(chan struct{}, 1),
	}
	k.exec <- struct{}{}
	k.files = k.filePages
	return k
}

// Start names the kernel whose tasks are kept, and what can free memory, the
// cheapest first. It is called once, before tasks run.
func (k *Keeper) Start(sentry *kernel.Kernel, reclaim ...Reclaim) {
	k.kernel, k.reclaim = sentry, reclaim
	k.look()
	k.watchHeap()
}

// Reserve is what must stay free.
func (k *Keeper) Reserve() *platform.Reserve { return k.reserve }

// missing returns how many frames there are too few for pages more, 0 or less if
// there are enough.
func (k *Keeper) missing(pages int) int { return k.reserve.Frames() + 1 + pages - int(k.free()) }

// MakeRoom is platform.Hooks.MakeRoom.
func (k *Keeper) MakeRoom(ctx context.Context, pages int) (stop bool) {
	if k.missing(pages) <= 0 {
		k.waitMoment()
		return false
	}
	k.relieve(ctx, pages)
	if k.missing(pages) <= 0 {
		return false
	}
	k.wait(ctx, pages)
	return true
}

// NoMemory is platform.Hooks.NoMemory.
func (k *Keeper) NoMemory(ctx context.Context) {
	if k.missing(0) <= 0 {
		k.waitMoment()
		return
	}
	k.relieve(ctx, 0)
	if k.missing(0) > 0 {
		k.wait(ctx, 1)
	}
}

// waitMoment waits for what is missing only as others were promised it for a
// moment: it is there as soon as their calls and page faults are done.
func (k *Keeper) waitMoment() {
	n := k.napping.Add(1)
	defer k.napping.Add(-1)
	if n <= momentYields {
		runtime.Gosched()
	} else {
		time.Sleep(napOf(int(n)))
	}
}

// wait lets others give memory back. A task that is to die has memory to give
// back itself. What comes back is kept for who is not of the crowd.
func (k *Keeper) wait(ctx context.Context, pages int) {
	t := kernel.TaskFromContext(ctx)
	if t != nil && t.Killed() {
		return
	}
	n := k.napping.Add(1)
	defer k.napping.Add(-1)
	if t != nil && k.bystander(t) {
		defer k.reserve.Promise(pages)()
		n = 1
	}
	time.Sleep(napOf(int(n)))
}

// napOf returns how long one of n tasks naps.
func napOf(n int) time.Duration {
	return min(nap*time.Duration(max(n, napShare))/napShare, longestNap)
}

// relieve frees memory until there is room for pages, by killing if nothing
// else helps.
func (k *Keeper) relieve(ctx context.Context, pages int) {
	if !k.mu.TryLock() {
		return // somebody does; who stands in line here would go on in its order
	}
	defer k.mu.Unlock()
	if k.reclaimCheap(pages) || k.victim.dying() {
		return
	}
	k.boundHeap()
	defer k.boundHeap()
	if k.garbage() >= k.missing(pages)*machine.PageSize || time.Since(k.collected) > collectAgain {
		k.collectNow()
		if k.missing(pages) <= 0 {
			k.starved = time.Time{}
			return
		}
	}
	k.victim = k.kill(ctx)
}

// Collect is platform.Hooks.Collect.
func (k *Keeper) Collect() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.collectNow()
	k.boundHeap()
}

// collectNow has the heap collected. mu is held.
func (k *Keeper) collectNow() {
	k.collect()
	k.collected = time.Now()
}

// reclaimCheap frees what nobody misses. It reports whether that was enough.
func (k *Keeper) reclaimCheap(pages int) bool {
	for _, r := range k.reclaim {
		missing := k.missing(pages)
		if missing <= 0 {
			break
		}
		r(missing + extraPages)
	}
	return k.missing(pages) <= 0
}

// Room makes room for pages between the pieces of a call. It reports false if
// the task is to die instead.
func (k *Keeper) room(t *kernel.Task, pages int) bool {
	for k.missing(pages) > 0 {
		if t.Killed() {
			return false
		}
		k.MakeRoom(t, pages)
	}
	return true
}

// say tells whoever runs the machine.
func say(format string, args ...any) { notice.Printf(format, args...) }
