package sentry

import "testing"

// TestProc: /proc has the keeper's files among gVisor's.
func TestProc(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	if got := readGuestFile(t, s, "/proc/sys/kernel/threads-max"); got != "512\n" {
		t.Errorf("threads-max of 64 MB = %q, want 512", got)
	}
	if got := readGuestFile(t, s, "/proc/sys/kernel/hostname"); got != "oven\n" {
		t.Errorf("hostname = %q: a neighbour of the keeper's files changed", got)
	}
}
