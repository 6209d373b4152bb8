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
	most     int64        // what makes memory ample beside base, if that is more than what tasks may copy
	bound    int64        // of what tasks may copy: so many do not enter the Sentry at once
	tasks    atomic.Int64 // that there are
	ample    atomic.Int64 // base, and what makes memory ample
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
// more, and with what calls take without being promised any, at most copies frames,
// memory is ample.
func NewReserve(base, ample, copies int) *Reserve {
	r := &Reserve{base: int64(base), most: int64(ample), bound: int64(copies), promised: machine.Promised(), free: machine.FreeCounter()}
	r.count(0)
	return r
}

// enter counts a task, and keeps what it takes for as long as it lives.
func (r *Reserve) enter() {
	r.count(1)
	r.begin(promise{call: pagesOfTask})
}

// leave ends what enter began.
func (r *Reserve) leave() {
	r.count(-1)
	r.end(promise{call: pagesOfTask})
}

// count adds n tasks. Another that counts at the same time may leave the older
// figure behind, wrong by one task's copy, until the next does.
func (r *Reserve) count(n int64) {
	r.ample.Store(r.base + max(r.most, heldPages+r.copies(r.tasks.Add(n))))
}

// copies returns what tasks may copy in calls that are promised nothing.
func (r *Reserve) copies(tasks int64) int64 {
	return max(min(tasks*pagesOfCopy, r.bound), fewestCopies*pagesOfCopy)
}

// isAmple reports whether memory is ample: then a call that takes a few frames need
// not look closer. It costs some ten instructions, and every system call asks.
func (r *Reserve) isAmple() bool {
	return int64(atomic.LoadUint64(r.free))-r.promised.Load() > r.ample.Load()
}

// NeverAmple has every call look closer, so that it meets injected faults.
func (r *Reserve) NeverAmple() {
	r.most = math.MaxInt64 - r.base
	r.count(0)
}

// Scarce reports whether a task has found memory not to be ample when it entered
// the Sentry, this one or another since Ample.
func (r *Reserve) Scarce() bool { return r.scarce.Load() }

// Ample has Scarce report false until memory is found scarce again. Whoever has
// seen that there is room calls it.
func (r *Reserve) Ample() { r.scarce.Store(false) }

// Frames returns how many frames must stay free for longer than a moment.
func (r *Reserve) Frames() int { return int(r.base + r.promised.Load() - r.soon.Load()) }

// plenty reports whether a call may take pages, and every task copy, without a
// promise: the call may be anywhere while the others take what there is.
func (r *Reserve) plenty(pages int) bool {
	return machine.FreeFrames()-int64(pages) > r.base+r.promised.Load()+r.copies(r.tasks.Load())
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

// Promise keeps pages frames free, whether they are there or not, until end is
// called.
func (r *Reserve) Promise(pages int) (end func()) {
	p := promise{call: pages}
	r.begin(p)
	return func() { r.end(p) }
}

// begin keeps p from now on.
func (r *Reserve) begin(p promise) {
	r.promised.Add(int64(p.call + p.moment))
	r.soon.Add(int64(p.moment))
}

// end ends a promise that keep or begin gave.
func (r *Reserve) end(p promise) {
	r.promised.Add(-int64(p.call + p.moment))
	r.soon.Add(-int64(p.moment))
}
