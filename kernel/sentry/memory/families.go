package memory

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/sentry/linux"
	"kiln/kernel/sentry/platform"
)

// A family is the processes that come from one child of process 1, by whose number
// it is called. Where there are too many processes, it is a family that has them.
// It is kept who comes from whom: an orphan's parent is process 1.
type families struct {
	mu   sync.Mutex
	of   map[*kernel.ThreadGroup]kernel.ThreadID // guarded by mu
	most int                                     // how many it may have before those that ended are looked for; guarded by mu
}

// fewestKept is how many processes are kept without looking for those that ended.
const fewestKept = 64

// forks are the calls that make processes.
func (k *Keeper) forks() map[uintptr]linux.Wrapper {
	return ofClones(k.adopting)
}

// ofClones has all calls that make tasks wrapped by w.
func ofClones(w linux.Wrapper) map[uintptr]linux.Wrapper {
	calls := map[uintptr]linux.Wrapper{}
	for nr := range makers {
		if platform.IsClone(uint64(nr)) {
			calls[nr] = w
		}
	}
	return calls
}

// adopting notes the family of the process that a call makes.
func (k *Keeper) adopting(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		id, control, err := next(t, nr, args)
		if err != nil || id == 0 {
			return id, control, err
		}
		child := t.PIDNamespace().ThreadGroupWithID(kernel.ThreadID(id))
		if child != nil && child != t.ThreadGroup() {
			k.families.add(child, k.familyOf(t.ThreadGroup()))
		}
		return id, control, err
	}
}

// add notes that a process is of a family, 0 if it is the first of one.
func (f *families) add(tg *kernel.ThreadGroup, family kernel.ThreadID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.of) >= max(f.most, fewestKept) {
		forgetEnded(f.of)
		f.most = 2 * len(f.of)
	}
	if family == 0 {
		return // it is process 1's child
	}
	if f.of == nil {
		f.of = map[*kernel.ThreadGroup]kernel.ThreadID{}
	}
	f.of[tg] = family
}

// forgetEnded removes processes that have ended.
func forgetEnded[V any](of map[*kernel.ThreadGroup]V) {
	maps.DeleteFunc(of, func(tg *kernel.ThreadGroup, _ V) bool { return tg.Leader().ExitState() >= kernel.TaskExitZombie })
}

// lookUp returns the family that was noted, or 0.
func (f *families) lookUp(tg *kernel.ThreadGroup) kernel.ThreadID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[tg]
}

// familyOf returns a process' family, 0 for process 1.
func (k *Keeper) familyOf(tg *kernel.ThreadGroup) kernel.ThreadID {
	ns := k.kernel.RootPIDNamespace()
	family := kernel.ThreadID(0)
	for range maxGenerations {
		if noted := k.families.lookUp(tg); noted != 0 {
			return noted
		}
		id := ns.IDOfThreadGroup(tg)
		if id <= 1 {
			break
		}
		family = id
		parent := tg.Leader().Parent()
		if parent == nil {
			break
		}
		tg = parent.ThreadGroup()
	}
	return family
}

// maxGenerations bounds how many generations are looked at.
const maxGenerations = 64

// A crowd is the family that has lost a process, as there are many of it and none
// has much. It gets no new ones for a while, and what comes back goes to others
// first: else it would go to who looks first, and a fork bomb looks a thousand times
// as often as a shell.
type crowd struct {
	family atomic.Int32 // 0: none
	since  atomic.Int64 // when it last lost one, in ns of the process' life
}

// crowdPatience is for how long a family that has lost a process gets no new ones.
const crowdPatience = 5 * time.Second

// lost notes that p was killed.
func (c *crowd) lost(p *process, total int) {
	if !p.poor(total) {
		c.family.Store(0)
		return
	}
	c.since.Store(time.Since(began).Nanoseconds())
	c.family.Store(int32(p.family))
}

// lately returns the family that lost a process in the last patience, or 0.
func (c *crowd) lately(patience time.Duration) kernel.ThreadID {
	if time.Since(began)-time.Duration(c.since.Load()) > patience {
		return 0
	}
	return kernel.ThreadID(c.family.Load())
}

// loses reports whether t is of a family that lost a process in the last patience.
func (k *Keeper) loses(t *kernel.Task, patience time.Duration) bool {
	family := k.crowd.lately(patience)
	return family != 0 && k.familyOf(t.ThreadGroup()) == family
}

// NoTask is platform.Hooks.NoTask. A call of which it says so will fail: it looks
// again, with more patience.
func (k *Keeper) NoTask(ctx context.Context) bool {
	t := kernel.TaskFromContext(ctx)
	return t != nil && k.loses(t, crowdPatience/2)
}

// bystander reports whether there is a crowd, and t is not of it.
func (k *Keeper) bystander(t *kernel.Task) bool {
	family := k.crowd.lately(crowdPatience)
	return family != 0 && k.familyOf(t.ThreadGroup()) != family
}
