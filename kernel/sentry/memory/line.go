package memory

import (
	"slices"
	"sync"
	"time"
)

// Tasks that want memory when there is none stand in line. The first has frames
// kept free for it until there are enough, and it is the one that frees memory
// meanwhile. Else the many that want a page would take each page as it comes, and
// one that wants a hundred, to start the program that ends the many, would wait
// for as long as they like.

// line is the tasks that wait for memory.
type line struct {
	mu      sync.Mutex
	waiting []*waiter // in the order of their coming; guarded by mu
}

// waiter is a place in the line.
type waiter struct{ _ byte }

// join gives its caller the last place.
func (l *line) join() *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &waiter{}
	l.waiting = append(l.waiting, w)
	return w
}

// ahead returns how many came before.
func (l *line) ahead(w *waiter) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Index(l.waiting, w)
}

// leave gives the place up.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, w); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

// longestNap is how many naps a waiter sleeps at most before it looks again
// whether it is the first.
const longestNap = 10

// napFor returns how long to sleep with so many ahead.
func napFor(ahead int) time.Duration { return nap * time.Duration(min(ahead+1, longestNap)) }
