package run

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"kiln/image"
	"kiln/run/qemu"
)

// isInput reports whether err is what a user sees for bad input.
func isInput(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == ExitUsage && e.Msg != "" && !strings.Contains(e.Msg, "\n")
}

func TestParseInterface(t *testing.T) {
	tests := []struct {
		in, name, backend string
	}{
		// As in the notes on Rumprun.
		{"if,vioif,-net tap,script=no,ifname=tap0", "if", "tap,script=no,ifname=tap0,downscript=no,vhost=off"},
		{"if,vioif,-netdev tap,ifname=tap0,vhost=on", "if", "tap,ifname=tap0,vhost=on,script=no,downscript=no"},
		{"if,vioif,tap,ifname=tap0,script=/etc/ifup", "if", "tap,ifname=tap0,script=/etc/ifup,downscript=no,vhost=off"},
		{"eth7", "eth7", "user"},
		{"if,vioif", "if", "user"},
		{"if,,-net user,hostfwd=tcp::80-:80", "if", "user,hostfwd=tcp::80-:80"},
		{"if,virtio,-net bridge,br=br0", "if", "bridge,br=br0"},
	}
	for _, tt := range tests {
		name, nic, err := ParseInterface(tt.in)
		got := strings.Join(append([]string{nic.Backend}, nic.Options...), ",")
		if err != nil || name != tt.name || got != tt.backend {
			t.Errorf("ParseInterface(%q) = %q, %s, %v, want %q, %s", tt.in, name, got, err, tt.name, tt.backend)
		}
	}
	for _, in := range []string{
		"", ",vioif", "a b", "a/b", "averyveryverylong", "if,e1000", "if,vioif,-net nic,model=x",
		"if,vioif,-net tap,id=x", "if,vioif,-net tap,ifname", "if,vioif,-net tap,=x", "if,vioif,-device x",
	} {
		if name, nic, err := ParseInterface(in); !isInput(err) {
			t.Errorf("ParseInterface(%q) = %q, %v, %v, want an input error", in, name, nic, err)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	tests := []struct {
		in   string // separated by spaces
		want []image.Network
	}{
		{"", nil},
		{"if,inet,static,10.0.120.101/24", []image.Network{{Name: "if", IPv4: "static", Address: "10.0.120.101/24"}}},
		{"if,inet,static,10.0.120.101/24,10.0.120.1", []image.Network{{Name: "if", IPv4: "static", Address: "10.0.120.101/24", Gateway: "10.0.120.1"}}},
		{"if,inet,dhcp if,inet6,auto", []image.Network{{Name: "if", IPv4: "dhcp", IPv6: "auto"}}},
		{"if,inet6,static,2001:db8::2/64,fe80::1 b,inet,none", []image.Network{
			{Name: "if", IPv6: "static", Addr6: "2001:db8::2/64", Gate6: "fe80::1"}, {Name: "b", IPv4: "none"}}},
		{"if,dns,1.1.1.1,2001:db8::53 if,inet,none", []image.Network{{Name: "if", IPv4: "none", DNS: []string{"1.1.1.1", "2001:db8::53"}}}},
	}
	for _, tt := range tests {
		got, err := ParseAddresses(strings.Fields(tt.in))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParseAddresses(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"if", "if,inet", ",inet,dhcp", "if,inet,auto", "if,inet6,dhcp", "if,ipx,dhcp", "if,inet,dhcp,1.2.3.4",
		"if,inet,static", "if,inet,static,10.0.0.1", "if,inet,static,10.0.0.1/33", "if,inet,static,2001:db8::1/64",
		"if,inet6,static,10.0.0.1/8", "if,inet6,static,::ffff:10.0.0.1/96", "if,inet,static,0.0.0.0/0",
		"if,inet,static,10.0.0.1/24,10.0.1.1", "if,inet,static,10.0.0.1/24,x", "if,inet,static,10.0.0.1/24,10.0.0.2,10.0.0.3",
		"if,inet,dhcp if,inet,dhcp", "if,dns,example.org",
	} {
		if got, err := ParseAddresses(strings.Fields(in)); !isInput(err) {
			t.Errorf("ParseAddresses(%q) = %+v, %v, want an input error", in, got, err)
		}
	}
}

func FuzzParseAddresses(f *testing.F) {
	f.Add("if,inet,static,10.0.120.101/24,10.0.120.1", "if,inet6,auto")
	f.Add("if,inet,dhcp", "if,dns,1.1.1.1")
	f.Fuzz(func(t *testing.T, a, b string) {
		configs, err := ParseAddresses([]string{a, b})
		if err != nil {
			if !isInput(err) {
				t.Errorf("ParseAddresses(%q, %q) = %v, want an input error", a, b, err)
			}
			return
		}
		for _, c := range configs {
			if !validName(c.Name) || (c.IPv4 == "static") != (c.Address != "") || (c.IPv6 == "static") != (c.Addr6 != "") {
				t.Errorf("ParseAddresses(%q, %q) has %+v", a, b, c)
			}
		}
	})
}

func FuzzParseInterface(f *testing.F) {
	f.Add("if,vioif,-net tap,script=no,ifname=tap0")
	f.Add("if")
	f.Fuzz(func(t *testing.T, s string) {
		name, nic, err := ParseInterface(s)
		if err != nil {
			if !isInput(err) {
				t.Errorf("ParseInterface(%q) = %v, want an input error", s, err)
			}
			return
		}
		if !validName(name) || strings.Contains(nic.Backend, ",") || nic.Option("id") != "" {
			t.Errorf("ParseInterface(%q) = %q, %+v", s, name, nic)
		}
	})
}

func FuzzParsePort(f *testing.F) {
	f.Add("127.0.0.1:8080:80/udp")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePort(s)
		if err != nil {
			if !isInput(err) {
				t.Errorf("ParsePort(%q) = %v, want an input error", s, err)
			}
			return
		}
		if again, err := ParsePort(p.String()); err != nil || again != p {
			t.Errorf("ParsePort(%q) = %v, but ParsePort(%q) = %v, %v", s, p, p.String(), again, err)
		}
	})
}

// describe renders interfaces so that a table can show them.
func describe(ifaces []iface) string {
	var lines []string
	for _, i := range ifaces {
		c := i.config
		lines = append(lines, fmt.Sprintf("%s: %s; %s %s %s; %s %s %s; %s",
			c.Name, strings.Join(append([]string{i.nic.Backend}, i.nic.Options...), ","),
			c.IPv4, c.Address, c.Gateway, c.IPv6, c.Addr6, c.Gate6, strings.Join(c.DNS, " ")))
	}
	return strings.Join(lines, "\n")
}

func TestResolve(t *testing.T) {
	const userDefault = "static 10.0.2.15/24 10.0.2.2; auto  ; 10.0.2.3"
	stored := []image.Network{{Name: "x", IPv4: "static", Address: "10.1.1.1/24", IPv6: "none"}}
	tests := []struct {
		name     string
		in       Networking
		defaults []image.Network
		ports    []string
		want     string
	}{
		{"default", Networking{}, nil, nil, ": user; " + userDefault},
		{"none", Networking{Net: "none"}, stored, []string{"80:80"}, ""},
		{"tap", Networking{Net: "tap:tap0"}, nil, []string{"80:80"}, ": tap,ifname=tap0,script=no,downscript=no,vhost=off; dhcp  ; auto  ; "},
		{"ports", Networking{Ports: []string{"1:2", "3:4/udp"}}, nil, []string{"80:80"},
			": user,hostfwd=tcp:127.0.0.1:1-:2,hostfwd=udp:127.0.0.1:3-:4; " + userDefault},
		{"stored ports", Networking{}, nil, []string{"80:81"}, ": user,hostfwd=tcp:127.0.0.1:80-:81; " + userDefault},
		{"stored addresses", Networking{}, stored, nil, "x: user; static 10.1.1.1/24 ; none  ; "},
		{"-W beats stored", Networking{Addresses: []string{"if,inet,dhcp"}}, stored, nil, "if: user; dhcp  ; auto  ; "},
		{"-W inet6 alone", Networking{Net: "tap:t", Addresses: []string{"if,inet6,static,2001:db8::2/64"}}, nil, nil,
			"if: tap,ifname=t,script=no,downscript=no,vhost=off; none  ; static 2001:db8::2/64 ; "},
		{"-W inet6 alone, user", Networking{Addresses: []string{"if,inet6,none"}}, nil, nil,
			"if: user; static 10.0.2.15/24 10.0.2.2; none  ; 10.0.2.3"},
		{"two", Networking{
			Interfaces: []string{"a,vioif,-net tap,ifname=t0", "b"},
			Addresses:  []string{"a,inet,static,10.0.0.2/24", "a,dns,10.0.0.1"},
			Ports:      []string{"1:2"},
		}, nil, nil,
			"a: tap,ifname=t0,script=no,downscript=no,vhost=off; static 10.0.0.2/24 ; auto  ; 10.0.0.1\n" +
				"b: user,hostfwd=tcp:127.0.0.1:1-:2; " + userDefault},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ifaces, _, err := tt.in.resolve(tt.defaults, tt.ports)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(ifaces); got != tt.want {
				t.Errorf("resolve =\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestResolveErrors(t *testing.T) {
	for name, n := range map[string]Networking{
		"no such net":        {Net: "wifi"},
		"tap without name":   {Net: "tap"},
		"tap with bad name":  {Net: "tap:a b"},
		"-I and --net":       {Net: "user", Interfaces: []string{"if"}},
		"name twice":         {Interfaces: []string{"if", "if"}},
		"-W without -I":      {Interfaces: []string{"if"}, Addresses: []string{"other,inet,dhcp"}},
		"-W for two":         {Addresses: []string{"a,inet,dhcp", "b,inet,dhcp"}},
		"-W without network": {Net: "none", Addresses: []string{"a,inet,dhcp"}},
		"-p on a tap":        {Net: "tap:tap0", Ports: []string{"80:80"}},
		"-p twice":           {Ports: []string{"80:80", "80:81"}},
		"-p nonsense":        {Ports: []string{"http"}},
	} {
		if ifaces, _, err := n.resolve(nil, nil); !isInput(err) {
			t.Errorf("%s: resolve = %v, %v, want an input error", name, ifaces, err)
		}
	}
}

func TestCheckTap(t *testing.T) {
	if err := checkTap(tapDefaults(qemu.NIC{Backend: "tap", Options: []string{"ifname=kilnnone7"}})); !isInput(err) {
		t.Errorf("checkTap of a missing interface = %v, want an input error", err)
	}
	if err := checkTap(qemu.NIC{Backend: "tap", Options: []string{"ifname=lo"}}); err != nil {
		t.Errorf("checkTap(lo) = %v", err)
	}
}
