package network

import (
	"errors"
	"testing"

	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// setting returns the setting of a name.
func (s *Stack) setting(t testing.TB, name string) Setting {
	t.Helper()
	for _, r := range s.Settings() {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no setting %s", name)
	return Setting{}
}

// TestSettings: what Linux has on a machine of 64 MB, and what may be written.
func TestSettings(t *testing.T) {
	tests := []struct{ name, is, write, becomes string }{
		{"ipv4/tcp_mem", "768\t1024\t1536", "10 20 30\n", "10\t20\t30"},
		{"ipv4/tcp_mem", "768\t1024\t1536", "700", "700\t1024\t1536"},
		{"ipv4/tcp_mem", "768\t1024\t1536", "many", ""},
		{"ipv4/udp_mem", "1536\t2048\t3072", "1 2 3", "1\t2\t3"},
		{"ipv4/tcp_max_orphans", "256", "5", "5"},
		{"ipv4/tcp_max_orphans", "256", "-1", ""},
		{"ipv4/tcp_max_syn_backlog", "128", "1000", "1000"},
		{"ipv4/tcp_max_tw_buckets", "256", "7", "7"},
		{"ipv4/tcp_fin_timeout", "60", "15", "15"},
		{"ipv4/tcp_syn_retries", "6", "2", "2"},
		{"ipv4/tcp_syn_retries", "6", "128", ""},
		{"ipv4/tcp_retries2", "15", "8", "8"},
		{"ipv4/tcp_congestion_control", "cubic", "reno\n", "reno"},
		{"ipv4/tcp_congestion_control", "cubic", "hope", ""},
		{"core/rmem_max", "212992", "1048576", "1048576"},
		{"core/wmem_max", "212992", "8192", "8192"},
		{"core/rmem_default", "212992", "4096", "4096"},
	}
	for _, tt := range tests {
		s := newStack(t, Options{Memory: 64 << 20})
		r := s.setting(t, tt.name)
		if got := r.Get(); got != tt.is {
			t.Errorf("%s is %q, want %q", tt.name, got, tt.is)
		}
		err := r.Set(tt.write)
		if tt.becomes == "" {
			if err == nil {
				t.Errorf("%s: %q is taken", tt.name, tt.write)
			}
			tt.becomes = tt.is
		} else if err != nil {
			t.Errorf("%s: %q: %v", tt.name, tt.write, err)
		}
		if got := s.setting(t, tt.name).Get(); got != tt.becomes {
			t.Errorf("%s is %q after %q, want %q", tt.name, got, tt.write, tt.becomes)
		}
	}
}

// TestSettingsOfConnections: what is written bounds the connections that there
// are.
func TestSettingsOfConnections(t *testing.T) {
	s := newStack(t, Options{Memory: 64 << 20})
	p := newPairs(t, s, s, localhost)
	for range 20 {
		client, server := p.connect()
		closeInTurn(t, client, server)
	}
	eventually(t, "connections are in TIME-WAIT", func() bool { return s.closing.count() == 20 })
	if err := s.setting(t, "ipv4/tcp_max_tw_buckets").Set("5"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "five are in TIME-WAIT", func() bool { return s.inState(tcp.StateTimeWait) == 5 })
	// One that the program closes waits for its peer's end, counted, and not long.
	if err := s.setting(t, "ipv4/tcp_fin_timeout").Set("1"); err != nil {
		t.Fatal(err)
	}
	client, server := p.connect()
	defer server.Close()
	client.Close()
	eventually(t, "the connection is in FIN-WAIT-2, and counted", func() bool {
		return s.inState(tcp.StateFinWait2) == 1 && s.closing.count() == 5 && s.settle(t).orphans == 0
	})
	eventually(t, "it is gone", func() bool { return s.inState(tcp.StateFinWait2) == 0 })
	if err := s.setting(t, "ipv4/tcp_mem").Set("0 0 x"); !errors.Is(err, linuxerr.EINVAL) {
		t.Errorf("tcp_mem: %v, want EINVAL", err)
	}
}
