package memory

import (
	"slices"
	"testing"
	"time"
)

// TestLine: places are in the order of coming, also after somebody has left.
func TestLine(t *testing.T) {
	var l line
	a, b, c := l.join(), l.join(), l.join()
	ahead := func() []int { return []int{l.ahead(a), l.ahead(b), l.ahead(c)} }
	if got := ahead(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("three have %v ahead", got)
	}
	l.leave(b)
	l.leave(b)
	if got := ahead(); !slices.Equal(got, []int{0, -1, 1}) {
		t.Errorf("after the second left, three have %v ahead", got)
	}
	l.leave(a)
	if d := l.join(); l.ahead(c) != 0 || l.ahead(d) != 1 {
		t.Errorf("the last two have %d and %d ahead", l.ahead(c), l.ahead(d))
	}
}

// TestNap: who stands far behind looks seldom.
func TestNap(t *testing.T) {
	for ahead, want := range map[int]time.Duration{0: nap, 1: 2 * nap, 9: 10 * nap, 150: 10 * nap} {
		if got := napFor(ahead); got != want {
			t.Errorf("with %d ahead a task sleeps for %v, want %v", ahead, got, want)
		}
	}
}

// TestWorthCollecting: the heap is collected for much garbage, or after a while.
func TestWorthCollecting(t *testing.T) {
	free := int64(1000)
	k := newTest(&free)
	if k.collected = time.Now().Add(-time.Hour); !k.worthCollecting() {
		t.Error("an hour after the last collection there is none")
	}
	k.collected = time.Now().Add(time.Hour)
	k.total = 1 << 40 // of which no garbage is a 64th
	if k.worthCollecting() {
		t.Error("the heap is collected for little garbage")
	}
}
