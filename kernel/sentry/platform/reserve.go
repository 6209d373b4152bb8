package platform

import (
	"math"
	"sync/atomic"

	"kiln/kernel/machine"
)

// Reserve counts the page frames that must stay free: those that are not for
// programs, and what tasks in the Sentry were promised, which metal gives to no
// program in ring 3.
type Reserve struct {
	base     int64
	ample    int64 // base, and what makes memory ample
	scarce   atomic.Bool
	free     *uint64 // machine.FreeCounter
	promised *atomic.Int64
	soon     atomic.Int64 // of these, what is promised for a moment only
}

// promise is what a task was promised. Both are in page frames.
type promise struct {
	call   int // until the system call ends, however long it blocks
	moment int // until it ends or blocks
}

// NewReserve returns a reserve of base frames for the kernel. With ample frames
// more, and with what a call takes without being promised any, memory is ample.
func NewReserve(base, ample int) *Reserve {
	return &Reserve{base: int64(base), ample: int64(base + max(ample, heldPages+plenty)), promised: machine.Promised(), free: machine.FreeCounter()}
}

// isAmple reports whether memory is ample: then a call that takes a few frames need
// not look closer. It costs some ten instructions, and every system call asks.
func (r *Reserve) isAmple() bool {
	return int64(atomic.LoadUint64(r.free))-r.promised.Load() > r.ample
}

// NeverAmple has every call look closer, so that it meets injected faults.
func (r *Reserve) NeverAmple() { r.ample = math.MaxInt64 }

// Scarce reports whether a task has found memory not to be ample when it entered
// the Sentry, this one or another since Ample.
func (r *Reserve) Scarce() bool { return r.scarce.Load() }

// Ample has Scarce report false until memory is found scarce again. Whoever has
// seen that there is room calls it.
func (r *Reserve) Ample() { r.scarce.Store(false) }

// Frames returns how many frames must stay free for longer than a moment.
func (r *Reserve) Frames() int { return int(r.base + r.promised.Load() - r.soon.Load()) }

// room reports whether there are frames for pages more.
func (r *Reserve) room(pages int) bool {
	return machine.FreeFrames()-int64(pages) > r.base+r.promised.Load()
}

// keep keeps p if there is room for need frames.
func (r *Reserve) keep(p promise, need int) bool {
	r.soon.Add(int64(p.moment))
	before := r.promised.Add(int64(p.call+p.moment)) - int64(p.call+p.moment)
	if machine.FreeFrames()-int64(need) > r.base+before {
		return true
	}
	r.end(p)
	return false
}

// Promise keeps pages frames free, which the caller knows to be there, until end
// is called.
func (r *Reserve) Promise(pages int) (end func()) {
	p := promise{call: pages}
	r.promised.Add(int64(pages))
	return func() { r.end(p) }
}

// end ends a promise that keep gave.
func (r *Reserve) end(p promise) {
	r.promised.Add(-int64(p.call + p.moment))
	r.soon.Add(-int64(p.moment))
}
