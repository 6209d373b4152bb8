package sentry

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/machine"
	"kiln/kernel/notice"
)

const (
	// reclaimInterval is the least time between two collections of the
	// kernel's own heap for want of memory: each stops the world.
	reclaimInterval = 500 * time.Millisecond

	// victimGrace is how long a killed process may take to give its memory
	// back before another is killed. Its pages go through the memory file's
	// releaser, a goroutine of the Sentry.
	victimGrace = 2 * time.Second

	// pressureNap is how long a task waits for memory that someone else is
	// giving back.
	pressureNap = 2 * time.Millisecond
)

// memoryKiller keeps programs from taking the last page frame: it kills the
// process with the most memory when the free frames come down to the low
// water mark, which metal keeps back for the kernel.
//
// It needs no goroutine that watches. Frames are taken by page faults and by
// system calls of tasks, and tasks come by in check. A loop that only touches
// memory comes by in noMemory, when metal has no frame for it.
type memoryKiller struct {
	kernel *kernel.Kernel
	state  func() (machine.MemInfo, error) // machine.Memory; tests replace it
	failed atomic.Bool                     // state failed; said once

	// reclaim takes memory from the page cache and returns how many pages
	// that was. It may be nil.
	reclaim func(pages int) int

	mu        sync.Mutex          // lock order: before the Sentry's task set
	victim    *kernel.ThreadGroup // killed and perhaps not yet gone, or nil
	killed    time.Time           // when victim was
	reclaimed time.Time           // when the kernel's heap was last collected
}

func newMemoryKiller() *memoryKiller { return &memoryKiller{state: machine.Memory} }

// check is platform.Hooks.Pressure.
func (k *memoryKiller) check(ctx context.Context, pages int) (stop bool) {
	missing := k.missing(pages)
	if missing > 0 && k.reclaim != nil {
		k.reclaim(missing + reclaimPages)
		missing = k.missing(0)
	} else if pages > 0 {
		missing -= pages
	}
	if missing <= 0 {
		return false
	}
	k.noMemory(ctx)
	return true
}

// noMemory is platform.Hooks.NoMemory. Unless the task is to die itself, it
// waits a little for memory that someone else is giving back.
func (k *memoryKiller) noMemory(ctx context.Context) {
	k.relieve()
	if t := kernel.TaskFromContext(ctx); t == nil || !t.Killed() {
		time.Sleep(pressureNap)
	}
}

// short reports whether the free frames are down to the mark.
func (k *memoryKiller) short() bool { return k.missing(0) > 0 }

// missing returns by how many frames there are too few for pages more, 0 or less
// if there are enough.
func (k *memoryKiller) missing(pages int) int {
	m, err := k.state()
	if err != nil {
		if !k.failed.Swap(true) {
			notice.Printf("cannot watch memory: %v", err)
		}
		return 0
	}
	return int(m.LowWater) + 1 + pages - int(m.Free)
}

// reclaimPages is how many pages the page cache is asked for at once: enough for
// a while, as to take pages from programs' mappings costs them page faults.
const reclaimPages = 1024

// relieve frees memory: first that of the page cache, then the kernel's own
// garbage, then by killing.
func (k *memoryKiller) relieve() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.victim != nil && time.Since(k.killed) < victimGrace {
		return
	}
	if k.reclaim != nil && k.reclaim(reclaimPages) > 0 && !k.short() {
		return
	}
	if time.Since(k.reclaimed) > reclaimInterval {
		k.reclaimed = time.Now()
		debug.FreeOSMemory()
		if !k.short() {
			return
		}
	}
	k.victim, k.killed = k.kill(), time.Now()
}

// kill kills the process with the most resident memory and says so. It returns
// nil if there is none to kill.
func (k *memoryKiller) kill() *kernel.ThreadGroup {
	tg, size := k.largest()
	if tg == nil {
		return nil
	}
	notice.Printf("out of memory: killed process %d (%s), %d MB",
		k.kernel.RootPIDNamespace().IDOfThreadGroup(tg), tg.Leader().Name(), size>>20)
	err := k.kernel.SendExternalSignalThreadGroup(tg, &linux.SignalInfo{Signo: int32(linux.SIGKILL), Code: linux.SI_KERNEL})
	if err != nil {
		notice.Printf("kill: %v", err)
	}
	return tg
}

// largest returns the process with the most resident memory, in bytes, among
// those that are not dying already.
func (k *memoryKiller) largest() (largest *kernel.ThreadGroup, size uint64) {
	for _, t := range k.kernel.RootPIDNamespace().Tasks() {
		tg := t.ThreadGroup()
		if tg == k.victim || t.ExitState() != kernel.TaskExitNone || t.Killed() {
			continue
		}
		t.WithMuLocked(func(t *kernel.Task) {
			// A task that has just exited has none.
			if mm := t.MemoryManager(); mm != nil {
				if rss := mm.ResidentSetSize(); rss >= size {
					largest, size = tg, rss
				}
			}
		})
	}
	return largest, size
}
