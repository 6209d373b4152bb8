package run

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestParsePort(t *testing.T) {
	tests := []struct{ in, want, hostfwd string }{
		{"8080:80", "127.0.0.1:8080:80/tcp", "hostfwd=tcp:127.0.0.1:8080-:80"},
		{"8080:80/tcp", "127.0.0.1:8080:80/tcp", "hostfwd=tcp:127.0.0.1:8080-:80"},
		{"53:53/udp", "127.0.0.1:53:53/udp", "hostfwd=udp:127.0.0.1:53-:53"},
		{"0.0.0.0:1:65535", "0.0.0.0:1:65535/tcp", "hostfwd=tcp:0.0.0.0:1-:65535"},
	}
	for _, tt := range tests {
		p, err := ParsePort(tt.in)
		if err != nil {
			t.Errorf("ParsePort(%q): %v", tt.in, err)
			continue
		}
		if got := p.String(); got != tt.want {
			t.Errorf("ParsePort(%q) = %s, want %s", tt.in, got, tt.want)
		}
		if got := p.hostfwd(); got != tt.hostfwd {
			t.Errorf("hostfwd of %q = %s, want %s", tt.in, got, tt.hostfwd)
		}
	}
	for _, in := range []string{
		"", "80", ":80", "80:", "0:80", "80:0", "65536:80", "x:80", "80:80/sctp", "80:80/",
		"1.2.3:80:80", "::1:80:80", "[::1]:80:80", "localhost:80:80", "-1:80", "+1:80", "80:80:80:80", "8080:80,id=x",
	} {
		p, err := ParsePort(in)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != ExitUsage || e.Hint == "" {
			t.Errorf("ParsePort(%q) = %v, %v, want an input error with a hint", in, p, err)
		}
	}
}

// TestPortCheck asks for ports that something else listens at.
func TestPortCheck(t *testing.T) {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Port{
		{"tcp", defaultHostIP, uint16(tcp.Addr().(*net.TCPAddr).Port), 80},
		{"udp", defaultHostIP, uint16(udp.LocalAddr().(*net.UDPAddr).Port), 80},
	} {
		err := p.check()
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != ExitUsage || !strings.Contains(e.Msg, "in use") {
			t.Errorf("check of %v, in use = %v", p, err)
		}
	}
	free := Port{"tcp", defaultHostIP, uint16(tcp.Addr().(*net.TCPAddr).Port), 80}
	if err := tcp.Close(); err != nil {
		t.Fatal(err)
	}
	if err := free.check(); err != nil {
		t.Errorf("check of %v, free = %v", free, err)
	}
	if err := udp.Close(); err != nil {
		t.Fatal(err)
	}
	foreign, err := ParsePort("192.0.2.1:8080:80") // RFC 5737: nobody's
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.check(); err == nil || !strings.Contains(err.Error(), "no address of this machine") {
		t.Errorf("check of %v = %v", foreign, err)
	}
}
