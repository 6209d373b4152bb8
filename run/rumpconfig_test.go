package run

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kiln/image"
)

func TestReadRumprunConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rc.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`{
		"rc": [{"bin": "b", "runmode": "&"}, {"bin": "a", "argv": ["x"]}],
		"env": {"A": "1", "B": "2"}, "hostname": "h",
		"net": {"if": "vioif0", "type": "inet", "method": "static", "addr": "10.0.0.2", "mask": "24"},
		"mount": {"/data": {"source": "blk", "path": "/dev/ld0a"}, "/kern": {"source": "kernfs"}}
	}`)
	o := testOptions()
	o.Manifest = image.Manifest{Program: "/a", Programs: []string{"/a", "/b"}}
	o.Env, o.Network, o.Disks = []string{"A=3"}, Networking{}, []string{"x.img"}
	notes, err := o.ReadRumprunConfig(file)
	if err != nil || len(notes) != 1 {
		t.Fatalf("ReadRumprunConfig = %q, %v, want one note", notes, err)
	}
	p, err := newPlan(o, noKVM, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	want := image.RunConfig{
		Commands: []image.Command{{Program: "/b", Args: []string{"b"}, Mode: "&"}, {Program: "/a", Args: []string{"a", "x"}}},
		Env:      []string{"A=1", "B=2", "A=3"}, Hostname: "h",
		Network: []image.Network{{Name: "vioif0", IPv4: "static", Address: "10.0.0.2/24", IPv6: "none"}},
		Mounts:  []image.Mount{{Device: "vda", Path: "/data", Source: "/dev/ld0a"}},
	}
	p.config.StopTimeout = 0
	if !reflect.DeepEqual(p.config, want) {
		t.Errorf("run configuration = %+v, want %+v", p.config, want)
	}

	// What the machine does not have.
	for words, spoil := range map[string]func(o *Options){
		"/dev/ld0a": func(o *Options) { o.Disks = nil },
		"vioif0":    func(o *Options) { o.Network.Net = "none" },
	} {
		o := o
		spoil(&o)
		if _, err := newPlan(o, noKVM, terminal{}); !isInput(err) || !strings.Contains(err.Error(), words) {
			t.Errorf("newPlan = %v, want an input error with %q", err, words)
		}
	}

	for name, spoil := range map[string]func(o *Options){
		"no file":   func(*Options) { os.Remove(file) },
		"no JSON":   func(*Options) { write(`{"rc": [`) },
		"programs":  func(*Options) { write(`{"rc": [{"bin": "a"}, {"bin": "b"}, {"bin": "c"}]}`) },
		"arguments": func(o *Options) { write(`{"cmdline": "a"}`); o.Args = []string{"x"} },
	} {
		o := testOptions()
		o.Manifest = image.Manifest{Program: "/a"}
		spoil(&o)
		if notes, err := o.ReadRumprunConfig(file); !isInput(err) {
			t.Errorf("%s: ReadRumprunConfig = %q, %v, want an input error", name, notes, err)
		}
	}
}
