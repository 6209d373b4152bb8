package sentry

import "testing"

// TestProc: /proc has the keeper's and the network's files among gVisor's.
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
	for path, want := range map[string]string{
		"ipv4/tcp_mem":                "768\t1024\t1536\n",
		"ipv4/tcp_max_tw_buckets":     "256\n",
		"ipv4/tcp_congestion_control": "cubic\n", // gVisor's own says reno
		"core/rmem_max":               "212992\n",
	} {
		if got := readGuestFile(t, s, "/proc/sys/net/"+path); got != want {
			t.Errorf("net/%s of 64 MB = %q, want %q", path, got, want)
		}
	}
}
