package memory

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
)

// TestLine: the first is of the user, then of the family, of whom the fewest stand
// in line, and among equals the one that came first.
func TestLine(t *testing.T) {
	type who struct {
		user   auth.KUID
		family kernel.ThreadID
	}
	for _, tt := range []struct {
		name    string
		waiting []who
		first   int
	}{
		{"one", []who{{0, 1}}, 0},
		{"equals", []who{{0, 2}, {0, 3}, {0, 4}}, 0},
		{"a family of many", []who{{0, 2}, {0, 2}, {0, 2}, {0, 7}}, 3},
		{"a user of many", []who{{1000, 2}, {1000, 3}, {1000, 4}, {0, 5}}, 3},
		{"a user of many beside a family of many", []who{{1000, 2}, {1000, 3}, {1000, 4}, {0, 5}, {0, 5}}, 3},
	} {
		var l line
		waiters := make([]*waiter, len(tt.waiting))
		for i, w := range tt.waiting {
			waiters[i] = &waiter{user: w.user, family: w.family, wake: make(chan struct{}, 1)}
			l.join(waiters[i])
		}
		for i, w := range waiters {
			if first, n := l.first(w); first != (i == tt.first) || n != len(waiters) {
				t.Errorf("%s: %d is the first: %v of %d", tt.name, i, first, n)
			}
		}
		if len(waiters[tt.first].wake) != 1 {
			t.Errorf("%s: the first was not told", tt.name)
		}
		for range waiters {
			l.leave(l.head)
		}
		if l.head != nil || l.waiting != 0 || len(l.users) != 0 {
			t.Errorf("%s: after all have left, %d wait, of %d users", tt.name, l.waiting, len(l.users))
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
