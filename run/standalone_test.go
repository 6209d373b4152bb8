package run

import (
	"strings"
	"testing"

	"kiln/image"
)

func TestStandalone(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want string // "" if it is refused
	}{
		{"nothing", Options{}, `{}`},
		{"program", Options{Args: []string{"x"}, Env: []string{"A=b"}, Hostname: "h"}, `{"args":["x"],"env":["A=b"],"hostname":"h"}`},
		{"static", Options{Network: Networking{Interfaces: []string{"if,vioif"}, Addresses: []string{"if,inet,static,10.0.0.2/24,10.0.0.1"}}},
			`{"network":[{"name":"if","ipv4":"static","address":"10.0.0.2/24","gateway":"10.0.0.1","ipv6":"auto"}]}`},
		{"unconfigured", Options{Network: Networking{Interfaces: []string{"a", "b"}, Addresses: []string{"b,inet,none"}}},
			`{"network":[{"name":"a","ipv4":"dhcp","ipv6":"auto"},{"name":"b","ipv4":"none","ipv6":"auto"}]}`},
		{"by configuration", Options{Networks: []image.Network{{Name: "vioif0", IPv4: "dhcp", IPv6: "none"}}, Network: Networking{Interfaces: []string{"a"}}},
			`{"network":[{"name":"a","ipv4":"dhcp","ipv6":"none"}]}`},
		{"no such interface", Options{Network: Networking{Interfaces: []string{"a"}, Addresses: []string{"b,inet,dhcp"}}}, ""},
		{"nonsense", Options{Network: Networking{Interfaces: []string{"a"}, Addresses: []string{"a,inet"}}}, ""},
		{"no PCI", Options{Manifest: image.Manifest{Config: "microvm"}}, ""},
	} {
		got, err := Standalone(tt.o)
		if tt.want == "" {
			if !isInput(err) {
				t.Errorf("%s: %s, %v, want an input error", tt.name, got, err)
			}
			continue
		}
		if err != nil || strings.ReplaceAll(string(got), " ", "") != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}
