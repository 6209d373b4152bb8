package platform

import (
	"math"
	"testing"
)

// TestReserve: what is promised must stay free for as long as it is, and what is
// promised for a moment does not count for those that free memory.
func TestReserve(t *testing.T) {
	r := NewReserve(100, 0, 0)
	p := promise{call: 30, moment: 7}
	if !r.keep(p, 10) {
		t.Fatal("no promise although there is no end of frames")
	}
	if got := r.Frames(); got != 130 {
		t.Errorf("frames that must stay free = %d, want 130", got)
	}
	if r.keep(promise{call: 1}, math.MaxInt) {
		t.Error("frames were promised that do not exist")
	}
	end := r.Promise(5)
	if got := r.Frames(); got != 135 {
		t.Errorf("with 5 more promised: %d, want 135", got)
	}
	end()
	r.end(p)
	if got := r.Frames(); got != 100 || r.promised.Load() != 0 || r.soon.Load() != 0 {
		t.Errorf("in the end: %d frames, %d promised, %d of them for a moment; want 100, 0, 0", got, r.promised.Load(), r.soon.Load())
	}
}

// TestBlocks: a task that blocks keeps only what its call will take.
func TestBlocks(t *testing.T) {
	c := &taskContext{platform: New(Hooks{}, NewReserve(0, 0, 0)), held: promise{call: 30, moment: 7}}
	c.platform.reserve.keep(c.held, 0)
	c.PrepareSleep()
	if got := c.platform.reserve.promised.Load(); got != 30 {
		t.Errorf("promised to a task that sleeps: %d frames, want 30", got)
	}
	c.unhold()
	if got := c.platform.reserve.promised.Load(); got != 0 {
		t.Errorf("promised after the call: %d frames, want 0", got)
	}
}
