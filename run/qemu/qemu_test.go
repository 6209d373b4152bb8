package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestArgs compares command lines with those in testdata, one argument a line.
// Each was seen to boot; -update after a change that was seen to boot, too.
func TestArgs(t *testing.T) {
	user := NIC{Backend: "user", Options: []string{"hostfwd=tcp:127.0.0.1:8080-:80"}}
	tap := NIC{Backend: "tap", Options: []string{"ifname=tap0", "script=no", "downscript=no", "vhost=off"}}
	tests := []struct {
		name    string
		machine Machine
	}{
		{"microvm", Machine{Type: Microvm, Accel: TCG, Memory: 64, Image: "hello.img", Module: "/proc/self/fd/4", Channel: 3, NICs: []NIC{user}}},
		{"microvm-kvm-tap", Machine{Type: Microvm, Accel: KVM, Memory: 8192, Image: "a,b c.img", Channel: 3, NICs: []NIC{tap}}},
		{"microvm-cpu", Machine{Type: Microvm, Accel: TCG, CPU: "IvyBridge,-rdrand", Memory: 64, Image: "hello.img", Channel: 3}},
		{"pc", Machine{Type: PC, Accel: TCG, Memory: 64, Image: "hello.img", Module: "/proc/self/fd/4", Channel: 3, NICs: []NIC{user, tap}}},
		{"microvm-disks", Machine{Type: Microvm, Accel: TCG, Memory: 64, Image: "hello.img", Channel: 3, Disks: []Disk{{File: "data.iso", Format: Raw, ReadOnly: true}, {File: "a,b.img", Format: QCOW2}}}},
		{"pc-disk", Machine{Type: PC, Accel: TCG, Memory: 64, Image: "hello.img", Channel: 3, Disks: []Disk{{File: "x.img", Format: Raw}, {Socket: "/tmp/nbd", Format: Raw}}}},
		{"microvm-folders", Machine{Type: Microvm, Accel: TCG, Memory: 64, Image: "hello.img", Channel: 3, Folders: []Folder{{"/a", "share0", true}, {"/b,c", "share1", false}}}},
		{"q35-folder", Machine{Type: Q35, Accel: TCG, Memory: 64, Image: "hello.img", Channel: 3, Folders: []Folder{{"/a", "share0", false}}}},
		{"q35", Machine{Type: Q35, Accel: KVM, Memory: 64, Image: "hello.img", Module: "/proc/self/fd/4", Channel: 3}},
		{"debug", Machine{Type: Microvm, Accel: TCG, Memory: 64, Image: "hello.img", Module: "run.json", Channel: NoChannel,
			GDB: "1234", Paused: true, Extra: []string{"-vga", "none"}}},
		{"debug-socket", Machine{Type: Microvm, Accel: TCG, Memory: 64, Image: "hello.img", Channel: 3, GDB: "/tmp/a,b.sock"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args, err := tt.machine.Args()
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(args, "\n") + "\n"
			golden := filepath.Join("testdata", tt.name+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("Args() =\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestArgsErrors(t *testing.T) {
	good := Machine{Type: PC, Accel: TCG, Memory: 64, Image: "x"}
	for name, spoil := range map[string]func(*Machine){
		"type":  func(m *Machine) { m.Type = "isapc" },
		"accel": func(m *Machine) { m.Accel = "hvf" },
		"image": func(m *Machine) { m.Image = "" },
	} {
		m := good
		spoil(&m)
		if args, err := m.Args(); err == nil {
			t.Errorf("%s: Args() = %q, want an error", name, args)
		}
	}
	if _, err := good.Args(); err != nil {
		t.Errorf("Args() of a good machine: %v", err)
	}
}

// TestMAC checks that interfaces which may share a link differ.
func TestMAC(t *testing.T) {
	tap := func(name string) NIC { return NIC{Backend: "tap", Options: []string{"ifname=" + name}} }
	seen := map[string]string{}
	for who, mac := range map[string]string{
		"tap0 first":  tap("tap0").mac(0),
		"tap0 second": tap("tap0").mac(1),
		"tap1":        tap("tap1").mac(0),
		"user":        NIC{Backend: "user"}.mac(0),
	} {
		if other, ok := seen[mac]; ok {
			t.Errorf("%s and %s both have the address %s", who, other, mac)
		}
		seen[mac] = who
	}
	if got, want := tap("tap0").mac(0), tap("tap0").mac(0); got != want {
		t.Errorf("mac() = %s, then %s", got, want)
	}
}

func TestComplaints(t *testing.T) {
	s := Status{Stderr: Binary + ": warning: TCG doesn't support requested feature\n\n" + Binary + ": -netdev tap: could not configure\nslirp: x\n"}
	got := strings.Join(s.Complaints(), "|")
	want := Binary + ": -netdev tap: could not configure|slirp: x"
	if got != want {
		t.Errorf("Complaints() = %q, want %q", got, want)
	}
}

// TestCPUError: as QEMU 7.2 words it.
func TestCPUError(t *testing.T) {
	for stderr, want := range map[string]string{
		"unable to find CPU model 'nonsense'":                                               "unable to find CPU model 'nonsense'",
		"can't apply global max-x86_64-cpu.foo=on: Property 'max-x86_64-cpu.foo' not found": "can't apply global max-x86_64-cpu.foo=on: Property 'max-x86_64-cpu.foo' not found",
		"Property 'max-x86_64-cpu.foo' not found":                                           "Property 'max-x86_64-cpu.foo' not found",
		"CPU model 'host' requires KVM or HVF":                                              "CPU model 'host' requires KVM or HVF",
		"-cpu option cannot be empty":                                                       "-cpu option cannot be empty",
		"warning: TCG doesn't support requested feature: CPUID.01H:ECX.x [bit 1]":           "",
		"-netdev tap: could not configure":                                                  "",
	} {
		if got := (Status{Stderr: Binary + ": " + stderr + "\n"}).CPUError(); got != want {
			t.Errorf("CPUError of %q = %q, want %q", stderr, got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	got := shellQuote([]string{"-kernel", "it's.img", "", "a=b,c:d/e"})
	if want := `-kernel 'it'\''s.img' '' a=b,c:d/e`; got != want {
		t.Errorf("shellQuote = %s, want %s", got, want)
	}
}
