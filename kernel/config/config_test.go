package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"kiln/image"
	"kiln/kernel/sentry"
	"kiln/kernel/sentry/network"
)

func TestMerge(t *testing.T) {
	m := image.Manifest{Program: "/bin/p", Args: []string{"p", "a", "b"}, Env: []string{"A=1", "B=2"}, Cwd: "/srv", Hostname: "oven"}
	for _, tt := range []struct {
		name     string
		manifest image.Manifest
		run      image.RunConfig
		args     []string
		env      []string
		cwd      string
	}{
		{"nothing passed", m, image.RunConfig{}, []string{"p", "a", "b"}, []string{"A=1", "B=2"}, "/srv"},
		{"arguments", m, image.RunConfig{Args: []string{"x"}}, []string{"p", "x"}, []string{"A=1", "B=2"}, "/srv"},
		{"environment", m, image.RunConfig{Env: []string{"A=3", "C=4"}, Cwd: "/"}, []string{"p", "a", "b"}, []string{"B=2", "A=3", "C=4"}, "/"},
		{"fixed arguments", image.Manifest{Program: "/bin/p", Args: []string{"p", "a", "b"}, FixedArgs: 2}, image.RunConfig{Args: []string{"x"}}, []string{"p", "a", "x"}, nil, ""},
		{"command", image.Manifest{Program: "/bin/p", Args: []string{"p", "a"}, ReplaceProgram: true}, image.RunConfig{Args: []string{"/bin/sh", "x"}}, []string{"/bin/sh", "x"}, nil, ""},
		{"command, nothing passed", image.Manifest{Program: "/bin/p", Args: []string{"p", "a"}, ReplaceProgram: true}, image.RunConfig{}, []string{"p", "a"}, nil, ""},
		{"no argv", image.Manifest{Program: "/bin/p"}, image.RunConfig{}, []string{"/bin/p"}, nil, ""},
	} {
		c, err := merge(tt.manifest, tt.run)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		programs := []sentry.Program{{Path: "/bin/p", Args: tt.args}}
		if tt.manifest.ReplaceProgram && len(tt.run.Args) > 0 {
			programs[0].Path = "" // what the first argument leads to
		}
		if !reflect.DeepEqual(c.Programs, programs) || !reflect.DeepEqual(c.Env, tt.env) || c.Cwd != tt.cwd {
			t.Errorf("%s: %+v %q in %q, want %+v %q in %q", tt.name, c.Programs, c.Env, c.Cwd, programs, tt.env, tt.cwd)
		}
	}
}

// TestCommands: a run's commands take the place of the image's program.
func TestCommands(t *testing.T) {
	m := image.Manifest{Program: "/bin/p", Programs: []string{"/bin/p", "/bin/q"}, Args: []string{"p", "a"}}
	c, err := merge(m, image.RunConfig{Args: []string{"ignored"}, Commands: []image.Command{
		{Program: "/bin/q", Args: []string{"q", "x"}, Mode: image.ModePipe}, {Program: "/bin/p", Args: []string{"p"}},
	}})
	want := []sentry.Program{{Path: "/bin/q", Args: []string{"q", "x"}, Mode: "|"}, {Path: "/bin/p", Args: []string{"p"}}}
	if err != nil || !reflect.DeepEqual(c.Programs, want) {
		t.Errorf("programs = %+v, %v, want %+v", c.Programs, err, want)
	}
}

func TestReadRunConfig(t *testing.T) {
	m := &image.Manifest{Program: "/bin/p", Programs: []string{"/bin/p", "/bin/q"}}
	for _, tt := range []struct {
		in   string
		want image.RunConfig
	}{
		{`{"args":["x"],"env":["A=b"],"stdin":true}`, image.RunConfig{Args: []string{"x"}, Env: []string{"A=b"}, Stdin: true}},
		{`{"rc":[{"bin":"q","args":["x"]}],"env":{"A":"b"},"hostname":"h"}`, image.RunConfig{
			Commands: []image.Command{{Program: "/bin/q", Args: []string{"q", "x"}}}, Env: []string{"A=b"}, Hostname: "h"}},
		// Not as plain as DecodePlain has it.
		{`{"args":["a\tb"],"cwd":"/\u0061","unknown":1}`, image.RunConfig{Args: []string{"a	b"}, Cwd: "/a"}},
		{`{"rows":9,"hostname":"ö"}`, image.RunConfig{Rows: 9, Hostname: "ö"}},
	} {
		if got, err := readRunConfig([]byte(tt.in), m); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("readRunConfig(%s) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{`{"rc":1}`, `{"args":1}`, `x`, `{"rc":[{"bin":"a"},{"bin":"b"},{"bin":"c"}]}`} {
		if got, err := readRunConfig([]byte(in), m); err == nil {
			t.Errorf("readRunConfig(%s) = %+v, want an error", in, got)
		}
	}
}

func TestInterfaces(t *testing.T) {
	prefix, gateway := netip.MustParsePrefix("10.0.120.101/24"), netip.MustParseAddr("10.0.120.1")
	for _, tt := range []struct {
		name string
		in   []image.Network
		want []network.Interface
		ok   bool
	}{
		{"default", nil, []network.Interface{
			{Name: "eth0", IPv4: network.Family{Mode: network.ModeDHCP}, IPv6: network.Family{Mode: network.ModeAuto}},
		}, true},
		{"static and none", []image.Network{
			{Name: "if", IPv4: "static", Address: "10.0.120.101/24", Gateway: "10.0.120.1", IPv6: "none", DNS: []string{"10.0.120.1"}},
			{IPv4: "none"},
		}, []network.Interface{
			{Name: "eth0", IPv4: network.Family{Mode: network.ModeStatic, Address: prefix, Gateway: gateway}, DNS: []netip.Addr{gateway}},
			{Name: "eth1"},
		}, true},
		{"no address", []image.Network{{IPv4: "static"}}, nil, false},
		{"bad gateway", []image.Network{{IPv4: "static", Address: "10.0.0.2/24", Gateway: "x"}}, nil, false},
		{"bad mode", []image.Network{{IPv4: "bootp"}}, nil, false},
		{"bad name server", []image.Network{{IPv4: "dhcp", DNS: []string{"dns"}}}, nil, false},
	} {
		got, err := interfaces(tt.in)
		if (err == nil) != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: interfaces = %+v, %v, want %+v, success %v", tt.name, got, err, tt.want, tt.ok)
		}
	}
}

// TestGrace: the guest gives up on its program before the host gives up on it.
func TestGrace(t *testing.T) {
	for ms, want := range map[int]time.Duration{0: 8 * time.Second, 20000: 16 * time.Second, 5: 4 * time.Millisecond} {
		if got := grace(image.RunConfig{StopTimeout: ms}); got != want {
			t.Errorf("grace with a stop timeout of %d ms = %v, want %v", ms, got, want)
		}
	}
}

// TestMounts: what a run asks for comes after what the image does.
func TestMounts(t *testing.T) {
	a, b := image.Mount{Tag: "a", Path: "/a"}, image.Mount{Device: "vda", Path: "/a/b"}
	c, err := merge(image.Manifest{Mounts: []image.Mount{a}}, image.RunConfig{Mounts: []image.Mount{b}})
	if err != nil || len(c.Mounts) != 2 || c.Mounts[0] != a || c.Mounts[1] != b {
		t.Errorf("mounts = %+v, %v, want %+v", c.Mounts, err, []image.Mount{a, b})
	}
}
