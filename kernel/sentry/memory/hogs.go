package memory

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/machine"
)

// While the kernel's objects have their share of memory, who holds most of them
// gets no more. The others may still make some, from a remainder: so a shell can
// start a program that ends the one that holds them.

const (
	// hogFraction is what part of the largest holder's objects makes another one
	// a hog, too.
	hogFraction = 4
	// hogLeast is what part of the share a hog has at least.
	hogLeast = 32
	// objectBytes is what an object takes in the kernel's heap at least: a timer,
	// a mapping, a name. A socket takes more than weightBytes.
	objectBytes = 512
	weightBytes = 2 << 10
	// weighAgain is after what time holdings are counted again, and weighBurst
	// after how many objects made by one process. To count takes a while where
	// there are many files: at most a part of 1/weighCost of the time.
	weighAgain = time.Second
	weighBurst = 256
	weighCost  = 16
)

// ledger is what processes have made lately, and who has most.
type ledger struct {
	mu      sync.Mutex
	made    map[*kernel.ThreadGroup]*entry // guarded by mu
	weighed time.Time                      // when holdings were last counted; guarded by mu
	cost    time.Duration                  // how long that took; guarded by mu
}

// entry is a process' part of the ledger.
type entry struct {
	made  int  // objects, a quarter less at each collection
	since int  // of them, since holdings were last counted
	hog   bool // holds much, as of then
}

// note counts an object that t is about to make.
func (l *ledger) note(t *kernel.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(t.ThreadGroup())
	e.made++
	e.since++
}

// entry returns a process' entry. A new process begins as its parent is, from
// which it may have all it holds. mu is held.
func (l *ledger) entry(tg *kernel.ThreadGroup) *entry {
	if e := l.made[tg]; e != nil {
		return e
	}
	if l.made == nil {
		l.made = map[*kernel.ThreadGroup]*entry{}
	}
	e := &entry{}
	if parent := tg.Leader().Parent(); parent != nil {
		if p := l.made[parent.ThreadGroup()]; p != nil {
			*e = *p
		}
	}
	l.made[tg] = e
	return e
}

// age forgets a quarter of what was made, and processes that have ended.
func (l *ledger) age() {
	l.mu.Lock()
	defer l.mu.Unlock()
	forgetEnded(l.made)
	for _, e := range l.made {
		e.made -= (e.made + 3) / 4
		e.hog, e.since = false, 0
	}
	l.weighed = time.Time{}
}

// stale reports whether holdings are to be counted again before tg is judged.
// mu is held.
func (l *ledger) stale(e *entry) bool {
	old := time.Since(l.weighed)
	return old > weighCost*l.cost && (old > weighAgain || e.since > weighBurst)
}

// hog reports whether t's process is one of those that hold most.
func (k *Keeper) hog(t *kernel.Task) bool {
	l := &k.ledger
	l.mu.Lock()
	e := l.entry(t.ThreadGroup())
	stale, hog := l.stale(e), e.hog || e.since > weighBurst
	l.mu.Unlock()
	if !stale {
		return hog
	}
	k.weigh(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.hog
}

// weigh finds the hogs.
func (k *Keeper) weigh(t *kernel.Task) {
	began := time.Now()
	k.mu.Lock()
	all := k.processes(t)
	k.mu.Unlock()
	l := &k.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	forgetEnded(l.made)
	weights := make([]int, len(all))
	for i := range all {
		weights[i] = all[i].held*machine.PageSize + l.entry(all[i].group).made*weightBytes
	}
	least := hogWeight(weights, int(k.share.bytes))
	for i := range all {
		e := l.entry(all[i].group)
		e.since, e.hog = 0, weights[i] >= least
	}
	l.weighed = time.Now()
	l.cost = l.weighed.Sub(began)
}

// hogWeight returns from how many bytes on a process is a hog, where processes
// hold weights and all may hold share.
func hogWeight(weights []int, share int) int {
	largest := 0
	for _, w := range weights {
		largest = max(largest, w)
	}
	return max(largest/hogFraction, share/hogLeast)
}
