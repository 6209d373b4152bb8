package run

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kiln/image"
	"kiln/run/qemu"
)

// noKVM is a host without KVM.
var noKVM = host{openKVM: func() error { return nil }}

// testOptions are for a small image.
func testOptions() Options {
	return Options{Image: "x.img", ImageEnd: 30 << 20, Network: Networking{Net: "none"}, StopTimeout: DefaultStopTimeout}
}

func TestPlanConfig(t *testing.T) {
	user := terminal{present: true, rows: 24, cols: 80}
	tests := []struct {
		name string
		set  func(*Options)
		term terminal
		want string // the run configuration
	}{
		{"default", func(*Options) {}, user, `{}`},
		{"all", func(o *Options) {
			o.Args, o.Env, o.Cwd, o.Hostname = []string{"-c", "x"}, []string{"A=b"}, "/tmp", "h"
			o.Verbose, o.Processes, o.Faults, o.StopTimeout = true, 9, 70, time.Second
		}, terminal{}, `{"args":["-c","x"],"env":["A=b"],"cwd":"/tmp","hostname":"h","verbose":true,"processes":9,"faults":70,"stopTimeout":1000}`},
		{"-i on a terminal", func(o *Options) { o.Interactive = true }, user, `{"interactive":true,"rows":24,"cols":80}`},
		{"-i on a pipe", func(o *Options) { o.Interactive = true }, terminal{}, `{"stdin":true}`},
		{"network", func(o *Options) { o.Network = Networking{Addresses: []string{"if,inet,dhcp"}} }, user,
			`{"network":[{"name":"if","ipv4":"dhcp","ipv6":"auto"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions()
			tt.set(&o)
			p, err := newPlan(o, noKVM, tt.term)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(p.config)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("configuration = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestPlanMemory(t *testing.T) {
	tests := []struct {
		asked, stored int
		end           uint64
		want          int // 0: too little
	}{
		{0, 0, 30 << 20, 64},
		{0, 128, 30 << 20, 128},
		{48, 128, 30 << 20, 48},
		{36, 0, 30 << 20, 36},
		{35, 0, 30 << 20, 0},
		{8, 0, 30 << 20, 0},
		{0, 0, 100 << 20, 0},
		{-1, 0, 1 << 20, 0},
	}
	for _, tt := range tests {
		o := testOptions()
		o.Memory, o.ImageEnd, o.Manifest = tt.asked, tt.end, image.Manifest{Memory: tt.stored}
		got, err := memoryFor(o)
		if tt.want == 0 {
			if !isInput(err) {
				t.Errorf("memoryFor(%+v) = %d, %v, want an input error", tt, got, err)
			}
			continue
		}
		if got != tt.want || err != nil {
			t.Errorf("memoryFor(%+v) = %d, %v, want %d", tt, got, err, tt.want)
		}
	}
	o := testOptions()
	o.Memory = 8
	if _, err := memoryFor(o); err == nil || !strings.Contains(err.(*Error).Hint, "-M 64") {
		t.Errorf("hint for -M 8 = %+v, want one that names -M 64", err)
	}
}

func TestMachineFor(t *testing.T) {
	for _, tt := range []struct{ config, asked, want string }{
		{"hw_generic", "", qemu.Microvm},
		{"hw_generic", qemu.Q35, qemu.Q35},
		{"hw_virtio", "", qemu.PC},
		{"hw_virtio", qemu.Q35, qemu.Q35},
		{"hw_virtio", qemu.Microvm, ""},
		{"microvm", "", qemu.Microvm},
		{"microvm", qemu.Q35, ""},
		{"microvm", qemu.PC, ""},
		{"", qemu.PC, qemu.PC},
		{"", "", qemu.Microvm},
		{"microvm", "isapc", ""},
	} {
		o := testOptions()
		o.Manifest.Config, o.Machine = tt.config, tt.asked
		got, err := machineFor(o)
		if tt.want == "" && !isInput(err) || tt.want != "" && (err != nil || got != tt.want) {
			t.Errorf("machineFor(%+v) = %q, %v", tt, got, err)
		}
	}
}

// TestFolderConfig: folders of the host need a kernel that knows them.
func TestFolderConfig(t *testing.T) {
	for config, want := range map[string]bool{"": true, "hw_generic": true, "hw_virtio": false, "microvm": false} {
		o := testOptions()
		o.Manifest.Config, o.Volumes = config, []string{t.TempDir() + ":/mnt"}
		if _, err := newPlan(o, noKVM, terminal{}); (err == nil) != want || err != nil && !isInput(err) {
			t.Errorf("%q: newPlan = %v, want success %v", config, err, want)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	for name, spoil := range map[string]func(*Options){
		"accelerator": func(o *Options) { o.Accel = "xen" },
		"machine":     func(o *Options) { o.Machine = "isapc" },
		"environment": func(o *Options) { o.Env = []string{"A"} },
		"memory":      func(o *Options) { o.Memory = 1 },
		"network":     func(o *Options) { o.Network.Net = "x" },
	} {
		o := testOptions()
		spoil(&o)
		if _, err := newPlan(o, noKVM, terminal{}); !isInput(err) {
			t.Errorf("%s: newPlan = %v, want an input error", name, err)
		}
	}
}
