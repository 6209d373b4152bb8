package rumpconfig

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"kiln/image"
)

// The example of Rumprun's doc/config.md, with its mistakes corrected.
const documented = `{
  "net": {
    "interfaces": {
      "vioif0": { "addrs": [ { "type": "inet", "method": "static", "addr": "10.0.120.10/24" } ] }
    },
    "gateways": [ { "type": "inet", "addr": "10.0.120.1" } ],
    "dns": { "nameservers": [ "10.0.120.1" ] }
  },
  "mount": {
    "/etc": { "source": "blk", "path": "/dev/ld0a" },
    "/data": { "source": "blk", "path": "/dev/ld1a" },
    "/tmp": { "source": "tmpfs", "options": { "size": "1M" } }
  },
  "rc": [ { "bin": "mathopd", "args": [ "-n", "-t", "-f", "/data/mathopd.conf" ] } ],
  "env": { "FOO": "BAR", "BAZ": "QUUX" }
}`

// What Rumprun's launcher writes for the notes' second command, without the
// commas too many.
const launched = `{
	"net" : {
		"if": "vioif0", "type": "inet", "method": "static", "addr": "10.0.120.100", "mask": "24"
	},
	"blk" : { "source": "dev", "path": "/dev/ld0a", "fstype": "blk", "mountpoint": "/data" },
	"blk" : { "source": "dev", "path": "/dev/ld1a", "fstype": "blk", "mountpoint": "/backup" },
	"env": "A=b c", "env": "D",
	"cmdline": "bin/redis-server.bin /data/conf/redisaof.conf",
	"hostname": "oven"
}`

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Config
	}{
		{"documented", documented, Config{
			Programs: []Program{{Bin: "mathopd", Args: []string{"mathopd", "-n", "-t", "-f", "/data/mathopd.conf"}}},
			Env:      []string{"FOO=BAR", "BAZ=QUUX"},
			Networks: []image.Network{{Name: "vioif0", IPv4: "static", Address: "10.0.120.10/24", Gateway: "10.0.120.1", IPv6: "none", DNS: []string{"10.0.120.1"}}},
			Mounts: []image.Mount{{Device: "vda", Path: "/etc", Source: "/dev/ld0a"}, {Device: "vdb", Path: "/data", Source: "/dev/ld1a"},
				{Path: "/tmp", Type: "tmpfs", Size: "1m"}},
		}},
		{"launched", launched, Config{
			Programs: []Program{{Args: []string{"bin/redis-server.bin", "/data/conf/redisaof.conf"}}},
			Env:      []string{"A=b c", "D="}, Hostname: "oven",
			Networks: []image.Network{{Name: "vioif0", IPv4: "static", Address: "10.0.120.100/24", IPv6: "none"}},
			Mounts:   []image.Mount{{Device: "vda", Path: "/data", Source: "/dev/ld0a"}, {Device: "vdb", Path: "/backup", Source: "/dev/ld1a"}},
		}},
		{"Xen", `{"blk": {"xbd0": {"type": "etfs", "path": "blkfront:xvdb"}}, "mount": {"/t": {"source": "blk", "path": "/dev/xbd0"}, "/kern": {"source": "kernfs"}}}`, Config{
			Mounts: []image.Mount{{Device: "vdb", Path: "/t", Source: "/dev/xbd0"}},
			Notes:  []string{"/kern: there is no kernfs; /proc says what the kernel has to say"},
		}},
		{"two interfaces, mask as a number", `{"net": {"if": "vioif1", "type": "inet", "method": "static", "addr": "10.0.0.2", "mask": 8, "gw": "10.0.0.1"}, "net": {"interfaces": {"vioif0": {"create": true, "addrs": [{"type": "inet6", "method": "auto"}, {"type": "inet", "method": "dhcp"}]}}}}`, Config{
			Networks: []image.Network{
				{Name: "vioif0", IPv4: "dhcp", IPv6: "auto"},
				{Name: "vioif1", IPv4: "static", Address: "10.0.0.2/8", Gateway: "10.0.0.1", IPv6: "none"},
			},
		}},
		{"run modes", `{"rc": [{"bin": "a", "argv": ["1"], "runmode": "&"}, {"bin": "b", "runmode": "|"}, {"bin": "c", "runmode": ""}]}`, Config{
			Programs: []Program{{"a", []string{"a", "1"}, "&"}, {"b", []string{"b"}, "|"}, {"c", []string{"c"}, ""}},
		}},
		{"empty", ` {} `, Config{}},
	} {
		got, err := Parse([]byte(tt.in))
		if err != nil || !reflect.DeepEqual(*got, tt.want) {
			t.Errorf("%s: Parse = %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
		if len(tt.want.Programs)+len(tt.want.Mounts)+len(tt.want.Networks) > 0 && !Is([]byte(tt.in)) {
			t.Errorf("%s: Is = false", tt.name)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, words := range map[string]string{
		``:                                       "ends too early",
		`[]`:                                     "no JSON object",
		`{"rc": [}`:                              "line 1",
		"{\n\"env\": \"A=b\",\n}":                "line 3",
		`{} x`:                                   "something follows",
		`{"rcs": []}`:                            "rcs",
		`{"rc": {}}`:                             "rc",
		`{"rc": [{}]}`:                           "entry 1 has no bin",
		`{"rc": [{"bin": "a", "runmode": "x"}]}`: `runmode "x"`,
		`{"rc": [{"bin": "a", "runmode": "|"}]}`: "behind it",
		`{"rc": [{"bin": "a", "argv": [], "args": []}]}`:              "both",
		`{"rc": [{"bin": "a", "cwd": "/"}]}`:                          "cwd",
		`{"rc": [{"bin": "a", "argv": [1]}]}`:                         "argv",
		`{"cmdline": "a \"b"}`:                                        "quotation",
		`{"cmdline": 1}`:                                              "cmdline",
		`{"env": 1}`:                                                  "env",
		`{"env": "=b"}`:                                               "=b",
		`{"env": {"A": 1}}`:                                           "A",
		`{"hostname": []}`:                                            "hostname",
		`{"net": []}`:                                                 "net",
		`{"net": {"nets": {}}}`:                                       "nets",
		`{"net": {"if": "vioif", "type": "inet"}}`:                    "vioif",
		`{"net": {"if": "vioif99", "type": "inet"}}`:                  "vioif99",
		`{"net": {"if": "vioif0", "type": "ipx"}}`:                    "ipx",
		`{"net": {"if": "vioif0", "type": "inet", "method": "auto"}}`: "auto",
		`{"net": {"if": "vioif0", "type": "inet", "method": "static", "addr": "10.0.0.1"}}`:               "10.0.0.1",
		`{"net": {"if": "vioif0", "type": "inet", "method": "static", "addr": "::1", "mask": "64"}}`:      "::1",
		`{"net": {"if": "vioif0", "type": "inet", "method": "static", "addr": "10.0.0.1", "mask": true}}`: "10.0.0.1",
		`{"net": {"gateways": [{"type": "inet", "addr": "10.0.0.1"}]}}`:                                   "no interface",
		`{"net": {"gateways": [{"type": "inet", "addr": "x"}]}}`:                                          `"x"`,
		`{"net": {"dns": {"nameservers": ["x"]}}}`:                                                        `"x"`,
		`{"net": {"dns": {"search": ["x"]}}}`:                                                             "search",
		`{"net": {"dns": {"nameservers": ["1.1.1.1"]}}}`:                                                  "no interface",
		`{"blk": 1}`: "blk",
		`{"blk": {"source": "vnd", "path": "images/x"}}`:                                        "vnd",
		`{"blk": {"source": "nfs", "path": "x"}}`:                                               "nfs",
		`{"blk": {"source": "dev", "path": "x", "fstype": "blk", "mountpoint": "/x"}}`:          `"x"`,
		`{"blk": {"source": "dev", "path": "/dev/ld0a", "fstype": "ffs", "mountpoint": "/x"}}`:  "ffs",
		`{"blk": {"source": "dev", "path": "/dev/ld99a", "fstype": "blk", "mountpoint": "/x"}}`: "ld99a",
		`{"mount": {"x": {"source": "blk", "path": "/dev/ld0a"}}}`:                              "absolute",
		`{"mount": {"/x": {"source": "tmpfs", "options": {"size": "big"}}}}`:                    `"big"`,
		`{"mount": {"/x": {"source": "nfs"}}}`:                                                  "nfs",
	} {
		got, err := Parse([]byte(in))
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%s) = %+v, %v, want an error with %q", in, got, err, words)
		}
	}
}

func TestSplit(t *testing.T) {
	for in, want := range map[string][]string{
		``:                     nil,
		` a  b	c `:             {"a", "b", "c"},
		`a "b c" d"e f"g`:      {"a", "b c", "de fg"},
		`a 'b "c' "d 'e"`:      {"a", `b "c`, "d 'e"},
		`a \"b \\ "c\"d" 'e\'`: {"a", `"b`, `\`, `c"d`, `e\`},
		`"" ''`:                {"", ""},
	} {
		if got, ok := split(in); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("split(%s) = %q, %v, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{`"`, `'a`, `a\`} {
		if got, ok := split(in); ok {
			t.Errorf("split(%s) = %q, want a failure", in, got)
		}
	}
}

func TestCommands(t *testing.T) {
	m := &image.Manifest{Program: "/w/a", Programs: []string{"/w/a", "/w/b", "/w/c"}}
	for _, tt := range []struct {
		name string
		in   string
		want []image.Command
	}{
		{"nothing", `{}`, nil},
		{"command line", `{"cmdline": "x.bin y"}`, []image.Command{{Program: "/w/a", Args: []string{"x.bin", "y"}}}},
		{"in order", `{"rc": [{"bin": "x"}, {"bin": "y", "runmode": "&"}]}`, []image.Command{
			{Program: "/w/a", Args: []string{"x"}}, {Program: "/w/b", Args: []string{"y"}, Mode: "&"}}},
		{"by name", `{"rc": [{"bin": "c"}, {"bin": "/w/b"}, {"bin": "c"}, {"bin": "a"}]}`, []image.Command{
			{Program: "/w/c", Args: []string{"c"}}, {Program: "/w/b", Args: []string{"/w/b"}},
			{Program: "/w/c", Args: []string{"c"}}, {Program: "/w/a", Args: []string{"a"}}}},
	} {
		c, err := Parse([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Commands(m); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: Commands = %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	c, err := Parse([]byte(`{"rc": [{"bin": "a"}, {"bin": "z"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Commands(&image.Manifest{Program: "/w/a"}); err == nil || !strings.Contains(err.Error(), "z") {
		t.Errorf("Commands with a program too many = %+v, %v, want an error", got, err)
	}
}

// TestIs: a run configuration of Kiln's own is none of Rumprun's.
func TestIs(t *testing.T) {
	for _, in := range []string{``, `{}`, `{"args":["x"],"env":["A=b"],"network":[],"mounts":[]}`, `{"commands":[]}`, `[`} {
		if Is([]byte(in)) {
			t.Errorf("Is(%s) = true", in)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(launched))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("Parse(%q) = %v, not an *Error", b, err)
			}
			return
		}
		for _, p := range c.Programs {
			if len(p.Args) == 0 {
				t.Errorf("Parse(%q) has a program without argv", b)
			}
		}
		for _, m := range c.Mounts {
			if m.Path == "" || m.Path[0] != '/' || m.Device == "" && m.Type != image.MemoryFS {
				t.Errorf("Parse(%q) mounts %+v", b, m)
			}
		}
	})
}
