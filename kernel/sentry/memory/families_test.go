package memory

import (
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// TestFamilies: who was noted is found, and process 1's children are not noted.
func TestFamilies(t *testing.T) {
	var f families
	first, second := new(kernel.ThreadGroup), new(kernel.ThreadGroup)
	f.add(first, 0)
	f.add(second, 7)
	if a, b := f.lookUp(first), f.lookUp(second); a != 0 || b != 7 {
		t.Errorf("families %d and %d, want 0 and 7", a, b)
	}
}

// TestCrowd: a family counts as a crowd if who was killed had little, and for some
// time.
func TestCrowd(t *testing.T) {
	const total = 16384
	var c crowd
	if got := c.lately(time.Hour); got != 0 {
		t.Errorf("before anything: family %d, want none", got)
	}
	c.lost(&process{family: 5, resident: 50}, total)
	if got := c.lately(time.Hour); got != 5 {
		t.Errorf("after one of many was killed: family %d, want 5", got)
	}
	if got := c.lately(0); got != 0 {
		t.Errorf("some time later: family %d, want none", got)
	}
	c.lost(&process{family: 6, resident: total / 2}, total)
	if got := c.lately(time.Hour); got != 0 {
		t.Errorf("after a large process was killed: family %d, want none", got)
	}
}

// TestAmong: of a crowd that has much, several are killed at once, those with the
// most; else one.
func TestAmong(t *testing.T) {
	const total = 16384
	crowd := []process{{id: 1, resident: 500}}
	for id := kernel.ThreadID(2); id < 100; id++ {
		crowd = append(crowd, process{id: id, family: 2, resident: 50 + int(id)%2})
	}
	crowd = append(crowd, process{id: 100, family: 2, resident: 60, adjust: -1000}, process{id: 101, family: 101, resident: 70})
	few := []process{{id: 2, family: 2, resident: 60}, {id: 3, family: 2, resident: 50}}
	for _, tt := range []struct {
		name string
		all  []process
		p, n int // an index
		want []kernel.ThreadID
	}{
		{"one", crowd, 5, 1, []kernel.ThreadID{6}},
		{"four", crowd, 5, 4, []kernel.ThreadID{6, 99, 97, 95}},
		{"process 1", crowd, 0, 4, []kernel.ThreadID{1}},
		{"few", few, 1, 4, []kernel.ThreadID{3}},
	} {
		var got []kernel.ThreadID
		for _, p := range among(tt.all, &tt.all[tt.p], total, tt.n) {
			got = append(got, p.id)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := len(among(crowd, &crowd[5], total, 1000)); got != 98 {
		t.Errorf("of a crowd of 98 at most %d are killed", got)
	}
}

// TestNext: twice as many as the last time, if that is not long ago.
func TestNext(t *testing.T) {
	now := time.Now()
	after := &victim{family: 3, since: now}
	four := make([]*kernel.ThreadGroup, 4)
	for _, tt := range []struct {
		before *victim
		want   int
	}{
		{nil, 1},
		{&victim{family: 3, groups: four, ended: now.Add(-time.Second)}, 8},
		{&victim{family: 3, groups: four}, 8}, // they have not ended yet
		{&victim{family: 3, groups: four, ended: now.Add(-time.Minute)}, 1},
		{&victim{family: 4, groups: four, ended: now}, 1},
	} {
		if got := tt.before.next(after); got != tt.want {
			t.Errorf("after %+v: %d, want %d", tt.before, got, tt.want)
		}
	}
}

// TestNap: one looks again soon, and many together not much more often.
func TestNap(t *testing.T) {
	for _, tt := range []struct {
		n    int
		want time.Duration
	}{{1, nap}, {2, nap}, {8, 4 * nap}, {200, 100 * nap}, {1 << 20, longestNap}} {
		if got := napOf(tt.n); got != tt.want {
			t.Errorf("one of %d naps %v, want %v", tt.n, got, tt.want)
		}
	}
}
