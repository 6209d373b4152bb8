package memory

import (
	"cmp"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/platform"
)

const (
	// dyingPatience is how long a killed process may take to end before another
	// is killed.
	dyingPatience = 5 * time.Second
	// gonePatience is how long its memory may take to come back once it has
	// ended: it goes through the memory file's releaser, a goroutine.
	gonePatience = 100 * time.Millisecond
	// pagePatience is how much longer for each page that it had.
	pagePatience = 200 * time.Microsecond
)

// victim is what was killed for its memory at once: a process, or several of a
// crowd.
type victim struct {
	groups []*kernel.ThreadGroup
	family kernel.ThreadID
	size   int // pages that the largest had
	since  time.Time
	ended  time.Time // when all were first seen to have ended; zero before
}

// dying reports whether memory may yet come back. v may be nil.
func (v *victim) dying() bool {
	if v == nil {
		return false
	}
	if v.ended.IsZero() {
		for _, tg := range v.groups {
			if tg.Leader().ExitState() < kernel.TaskExitZombie {
				return time.Since(v.since) < dyingPatience
			}
		}
		v.ended = time.Now()
	}
	return time.Since(v.ended) < gonePatience+time.Duration(v.size)*pagePatience
}

// process is a candidate for the killer. Sizes are in pages.
type process struct {
	group    *kernel.ThreadGroup
	id       kernel.ThreadID
	mm       *mm.MemoryManager
	resident int
	unmapped int             // counted by the Sentry, but not mapped
	held     int             // by the kernel on its behalf
	adjust   int             // oom_score_adj, -1000 to 1000
	family   kernel.ThreadID // the child of process 1 that it comes from
}

// points is Linux' oom_badness (mm/oom_kill.c), with what the kernel holds for
// the process added.
func (p *process) points(total int) int { return p.resident + p.held + p.adjust*total/1000 }

// size is what killing the process gives back at most.
func (p *process) size() int { return p.resident + p.held }

// poor reports whether that is too little to kill it for that alone.
func (p *process) poor(total int) bool { return p.size() < total/muchFraction }

// expendable reports whether the process may be killed while there are others.
func (p *process) expendable() bool { return p.id != 1 && p.adjust != -1000 }

// kill kills a process, and what shares its memory, and says so. Of a crowd it kills
// more at each time, until that helps. It returns nil if there is none to kill.
func (k *Keeper) kill(ctx context.Context) *victim {
	all := k.processes(ctx)
	k.findUnmapped(all)
	p := choose(all, askingGroup(ctx), k.total)
	if p == nil || k.spare(p) {
		return nil
	}
	k.crowd.lost(p, k.total)
	v := &victim{family: p.family, since: time.Now()}
	for _, p := range among(all, p, k.total, k.victim.next(v)) {
		k.end(all, p, v)
	}
	return v
}

// next returns how many processes are to be killed for v, if they are a crowd:
// twice as many as for the victim before, which may be nil, if that was of the same
// family and not long ago. Of processes that were forked it is not known which of
// their pages they have for themselves.
func (v *victim) next(after *victim) int {
	if v == nil || v.family != after.family || !v.ended.IsZero() && after.since.Sub(v.ended) > dyingPatience {
		return 1
	}
	return 2 * len(v.groups)
}

// end kills process p of all, and what shares its memory, for v.
func (k *Keeper) end(all []process, p *process, v *victim) {
	say("out of memory: killed process %d (%s), %d MB, of it %d MB held by the kernel",
		p.id, p.group.Leader().Name(), p.size()*machine.PageSize>>20, p.held*machine.PageSize>>20)
	v.groups = append(v.groups, p.group)
	v.size = max(v.size, p.size())
	for i := range all {
		if q := &all[i]; q == p || p.mm != nil && q.mm == p.mm && q.id != 1 {
			err := k.kernel.SendExternalSignalThreadGroup(q.group, &linux.SignalInfo{Signo: int32(linux.SIGKILL), Code: linux.SI_KERNEL})
			if err != nil {
				say("kill: %v", err)
			}
		}
	}
}

// spare reports whether a process is not to be killed yet: process 1, which has
// little, while what the others had may come back.
func (k *Keeper) spare(p *process) bool {
	if p.id != 1 || p.size() > k.total/8 {
		k.starved = time.Time{}
		return false
	}
	if k.starved.IsZero() {
		k.starved = time.Now()
	}
	return time.Since(k.starved) < dyingPatience
}

// choose returns the process to kill, or nil. It is the one with the most
// points; among equals, as after fork, the youngest. A process that must not be
// killed (oom_score_adj of -1000) is only when there is no other, and so is
// process 1, whose end is the machine's: as Linux does. But where process 1 is
// all but alone in what it has, the end of the others would give nothing back.
//
// Where nobody has much, there are many of them, or memory is the kernel's for
// something that is not counted. Then a family decides, the processes that come
// from one child of process 1: the one that has by far the most loses a process.
// Else it is the process that asks, the likeliest to have had that memory taken:
// Linux' vm.oom_kill_allocating_task.
func choose(all []process, asking *kernel.ThreadGroup, total int) *process {
	var best, init, exempt, asks *process
	for i := range all {
		p := &all[i]
		if asking != nil && p.group == asking && p.expendable() {
			asks = p
		}
		switch {
		case p.id == 1:
			init = p
		case p.adjust == -1000:
			exempt = better(exempt, p, total)
		default:
			best = better(best, p, total)
		}
	}
	alone := best == nil || init != nil && init.size() > total/4 && best.size() < init.size()/16
	switch {
	case !alone && asks != nil && best.points(total) < total/muchFraction:
		return choosePoor(all, asks, total)
	case !alone:
		return best
	case init != nil && (best != nil || init.adjust != -1000 || exempt == nil):
		return init
	}
	return exempt
}

// choosePoor is choose where nobody has much.
func choosePoor(all []process, asks *process, total int) *process {
	sizes := map[kernel.ThreadID]int{}
	most := asks.family
	for i := range all {
		p := &all[i]
		if !p.expendable() {
			continue
		}
		if sizes[p.family] += p.size() + 1; sizes[p.family] > sizes[most] {
			most = p.family
		}
	}
	if sizes[most] < 2*sizes[asks.family] {
		return asks
	}
	var best *process
	for i := range all {
		if p := &all[i]; p.family == most && p.expendable() {
			best = better(best, p, total)
		}
	}
	return best
}

// among returns p and, if it has little and its family much, those of its family
// with the most points, at most n processes.
func among(all []process, p *process, total, n int) []*process {
	family := []*process{p}
	if p.id == 1 || !p.poor(total) {
		return family
	}
	size := p.size()
	for i := range all {
		if q := &all[i]; q != p && q.family == p.family && q.expendable() {
			family = append(family, q)
			size += q.size()
		}
	}
	if size < total/4 {
		return family[:1]
	}
	slices.SortFunc(family[1:], func(a, b *process) int { return rank(a, b, total) })
	return family[:min(n, len(family))]
}

// muchFraction is what part of memory a process must have to be worth killing for
// that alone.
const muchFraction = 24

// askingGroup returns the process whose task asks for memory, or nil.
func askingGroup(ctx context.Context) *kernel.ThreadGroup {
	if t := kernel.TaskFromContext(ctx); t != nil {
		return t.ThreadGroup()
	}
	return nil
}

func better(a, b *process, total int) *process {
	if a == nil || rank(b, a, total) < 0 {
		return b
	}
	return a
}

// rank is negative if a is to be killed before b: it has more points, or is younger.
func rank(a, b *process, total int) int {
	return cmp.Or(cmp.Compare(b.points(total), a.points(total)), cmp.Compare(b.id, a.id))
}

// framesOf returns how many page frames a process has, and how many pages more the
// Sentry counts that it does not map. The Sentry's own count has the image's pages,
// too, which cost nothing and cannot be given back, and pages that were never
// touched.
func framesOf(m *mm.MemoryManager) (frames, unmapped int) {
	resident := int(m.ResidentSetSize() / machine.PageSize)
	if as := m.AddressSpace(); as != nil {
		if n, mapped, err := platform.Frames(as); err == nil {
			return n, max(0, resident-mapped)
		}
	}
	return resident, 0
}

// findUnmapped counts frames that no process maps: another process wrote to them
// (process_vm_writev, /proc/PID/mem), or the one that mapped them has ended since
// it forked. If they are many, they are taken to be those of the processes of which
// the Sentry counts pages that they do not map.
func (k *Keeper) findUnmapped(all []process) {
	m, u, err := k.counts()
	if err != nil {
		return // no worse than not to look
	}
	left := int(m.Programs) - int((u.Tmpfs+u.PageCache+u.Mapped)/machine.PageSize)
	for i := range all {
		left -= all[i].resident
	}
	if left < k.total/unmappedFraction {
		return
	}
	for i := range all {
		all[i].resident += min(all[i].unmapped, left)
	}
}

// unmappedFraction is what part of memory frames must be that no process maps to
// be looked for.
const unmappedFraction = 8

// processes returns those that are not ending already, with what they have.
func (k *Keeper) processes(ctx context.Context) []process {
	ns := k.kernel.RootPIDNamespace()
	tasks := ns.Tasks()
	all := make([]process, 0, len(tasks))
	index := make(map[*kernel.ThreadGroup]int, len(tasks))
	for _, t := range tasks {
		tg := t.ThreadGroup()
		if k.victim != nil && slices.Contains(k.victim.groups, tg) || t.ExitState() != kernel.TaskExitNone || t.Killed() {
			continue
		}
		i, ok := index[tg]
		if !ok {
			i = len(all)
			index[tg] = i
			all = append(all, process{group: tg, id: ns.IDOfThreadGroup(tg), adjust: int(t.OOMScoreAdj()), family: k.familyOf(tg)})
		}
		p := &all[i]
		p.held += taskPages
		if p.mm != nil {
			continue
		}
		var table *kernel.FDTable
		t.WithMuLocked(func(t *kernel.Task) {
			// A task that has just exited has none.
			if p.mm = t.MemoryManager(); p.mm != nil {
				p.resident, p.unmapped = framesOf(p.mm)
			}
			if table = t.FDTable(); table != nil {
				table.IncRef()
			}
		})
		if table != nil {
			p.held += heldPages(ctx, table)
		}
	}
	return all
}
