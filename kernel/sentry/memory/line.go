package memory

import (
	"slices"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
)

// Tasks that want memory when there is none stand in line. The first has frames
// kept free for it until there are enough, and it is the one that frees memory
// meanwhile. Else the many that want a page would take each page as it comes, and
// one that wants a hundred, to start the program that ends the many, would wait
// for as long as they like.
//
// The first is of the user, and of the family (familyOf), of whom the fewest
// stand in line, so that one does not wait for all processes of a fork bomb at
// each of its steps. Among equals it is the one that came first.

// line is the tasks that wait for memory.
type line struct {
	mu      sync.Mutex
	users   map[auth.KUID]*userLine // those of whom tasks wait; guarded by mu
	waiting int                     // tasks; guarded by mu
	came    int                     // so far; guarded by mu
	head    *waiter                 // the first, or nil; guarded by mu
}

// userLine is the tasks of a user that wait.
type userLine struct {
	waiting  int
	families map[kernel.ThreadID][]*waiter // each in the order of their coming
}

// waiter is a task in the line.
type waiter struct {
	user   auth.KUID
	family kernel.ThreadID
	group  *kernel.ThreadGroup
	number int           // of its coming
	wake   chan struct{} // has one element when it is to look
}

// newWaiter returns a waiter for a task, or for the Sentry itself if t is nil.
func newWaiter(t *kernel.Task) *waiter {
	w := &waiter{wake: make(chan struct{}, 1)}
	if t != nil {
		w.user, w.group = t.Credentials().RealKUID, t.ThreadGroup()
		w.family = familyOf(t.Kernel().RootPIDNamespace(), w.group)
	}
	return w
}

// look has w look at once.
func (w *waiter) look() {
	select {
	case w.wake <- struct{}{}:
	default: // it will
	}
}

// join puts w into the line.
func (l *line) join(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users = map[auth.KUID]*userLine{}
	}
	u := l.users[w.user]
	if u == nil {
		u = &userLine{families: map[kernel.ThreadID][]*waiter{}}
		l.users[w.user] = u
	}
	l.came++
	w.number = l.came
	u.families[w.family] = append(u.families[w.family], w)
	u.waiting++
	l.waiting++
	l.elect()
}

// leave takes w, which stands in the line, out of it.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[w.user]
	family := u.families[w.family]
	i := slices.Index(family, w)
	if family = slices.Delete(family, i, i+1); len(family) > 0 {
		u.families[w.family] = family
	} else {
		delete(u.families, w.family)
	}
	if u.waiting--; u.waiting == 0 {
		delete(l.users, w.user)
	}
	l.waiting--
	l.elect()
}

// elect finds the first and has it look. mu is held.
func (l *line) elect() {
	var least *userLine
	for _, u := range l.users {
		if least == nil || u.waiting < least.waiting || u.waiting == least.waiting && u.first().number < least.first().number {
			least = u
		}
	}
	before := l.head
	if l.head = nil; least != nil {
		l.head = least.first()
	}
	if l.head != nil && l.head != before {
		l.head.look()
	}
}

// first returns the first of a user's.
func (u *userLine) first() *waiter {
	var least []*waiter
	for _, f := range u.families {
		if least == nil || len(f) < len(least) || len(f) == len(least) && f[0].number < least[0].number {
			least = f
		}
	}
	return least[0]
}

// first reports whether w is the first, and how many stand in line.
func (l *line) first(w *waiter) (bool, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head == w, l.waiting
}

// look has the tasks of a process look at once: it was killed.
func (l *line) look(group *kernel.ThreadGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range l.users {
		for _, f := range u.families {
			for _, w := range f {
				if w.group == group {
					w.look()
				}
			}
		}
	}
}

// maxPatience is how long a waiter does not look whether it has something else to
// do. It looks less often the more there are.
const maxPatience = time.Second

// wait waits until w is to look.
func (l *line) wait(w *waiter, first bool, waiting int) {
	if first {
		time.Sleep(nap)
		return
	}
	patience := time.NewTimer(min(nap*time.Duration(waiting), maxPatience))
	defer patience.Stop()
	select {
	case <-w.wake:
	case <-patience.C:
	}
}
