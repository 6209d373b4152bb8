package run

import (
	"net/netip"
	"strings"
	"testing"

	"kiln/image"
	"kiln/run/qemu"
)

func TestAvoidHost(t *testing.T) {
	own := []hostAddress{
		{"tap0", netip.MustParseAddr("10.0.120.100")}, {"br0", netip.MustParseAddr("10.0.120.101")},
		{"tap1", netip.MustParseAddr("10.0.0.254")}, {"tap2", netip.MustParseAddr("10.9.0.1")},
		{"tap0", netip.MustParseAddr("2001:db8::1")}, {"tap3", netip.MustParseAddr("10.8.0.1")},
	}
	tap := qemu.NIC{Backend: "tap"}
	for _, tt := range []struct {
		name       string
		nic        qemu.NIC
		in         image.Network
		want, note string // address, part of the note
	}{
		// The notes' own: the host has it, and the next one, too.
		{"taken", tap, image.Network{Address: "10.0.120.100/24"}, "10.0.120.102/24", "the guest gets 10.0.120.102"},
		{"free", tap, image.Network{Address: "10.0.120.5/24"}, "10.0.120.5/24", ""},
		{"not the gateway's", tap, image.Network{Address: "10.0.120.100/24", Gateway: "10.0.120.102"}, "10.0.120.103/24", "on tap0"},
		{"around the end", tap, image.Network{Address: "10.0.0.254/24"}, "10.0.0.1/24", "10.0.0.1"},
		{"user networking", qemu.NIC{Backend: "user"}, image.Network{Address: "10.0.120.100/24"}, "10.0.120.100/24", ""},
	} {
		i := iface{tt.nic, tt.in}
		notes, err := i.avoidHost(own)
		if err != nil || i.config.Address != tt.want {
			t.Errorf("%s: address = %s, %v, want %s", tt.name, i.config.Address, err, tt.want)
		}
		if note := strings.Join(notes, "\n"); (note == "") != (tt.note == "") || !strings.Contains(note, tt.note) {
			t.Errorf("%s: notes = %q, want %q", tt.name, notes, tt.note)
		}
	}
	six := iface{tap, image.Network{Addr6: "2001:db8::1/64"}}
	if notes, err := six.avoidHost(own); err != nil || len(notes) != 1 || six.config.Addr6 != "2001:db8::2/64" {
		t.Errorf("IPv6: %s, %q, %v, want 2001:db8::2/64 and a note", six.config.Addr6, notes, err)
	}
	full := iface{tap, image.Network{Address: "10.9.0.1/32"}}
	if _, err := full.avoidHost(own); !isInput(err) {
		t.Errorf("a network of one address: %v, want an input error", err)
	}
	pair := iface{tap, image.Network{Address: "10.8.0.1/30"}}
	if _, err := pair.avoidHost(own); err != nil || pair.config.Address != "10.8.0.2/30" {
		t.Errorf("a /30: %s, %v, want 10.8.0.2/30", pair.config.Address, err)
	}
}

// TestNextFree ends for every network.
func TestNextFree(t *testing.T) {
	for _, p := range []string{"0.0.0.1/0", "255.255.255.255/0", "10.0.0.0/31", "10.0.0.0/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/0", "::1/128"} {
		prefix := netip.MustParsePrefix(p)
		if a, ok := nextFree(prefix, func(netip.Addr) bool { return true }); ok {
			t.Errorf("nextFree(%s) = %v with all taken", p, a)
		}
		if a, ok := nextFree(prefix, func(netip.Addr) bool { return false }); ok && (!prefix.Contains(a) || a == prefix.Addr()) {
			t.Errorf("nextFree(%s) = %v", p, a)
		}
	}
}
