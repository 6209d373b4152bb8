package machine

import "testing"

// TestFaults: about one look in so many begins a fault, and sees no frames.
func TestFaults(t *testing.T) {
	const looks, every = 100000, 50
	FailFrames(every)
	defer FailFrames(0)
	none := 0
	for range looks {
		if FreeFrames() == 0 {
			none++
		}
	}
	if want := looks * faultLooks / (every + faultLooks); none < want/2 || none > want*2 {
		t.Errorf("%d looks of %d see no frames, want about %d", none, looks, want)
	}
	FailFrames(0)
	if FreeFrames() == 0 {
		t.Error("no frames without faults")
	}
}
