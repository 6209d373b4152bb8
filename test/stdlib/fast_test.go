package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestFastThird is the fast third of the table, a subtest for each package.
func TestFastThird(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines, which -short excludes")
	}
	kiln, err := filepath.Abs("../../bin/kiln")
	if err != nil {
		t.Fatal(err)
	}
	if name := os.Getenv("KILN"); name != "" {
		kiln = name
	}
	if _, err := os.Stat(kiln); err != nil {
		t.Fatalf("no kiln command: %v; build it with ./build.sh", err)
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatalf("%v; install the package qemu-system-x86", err)
	}
	skips, err := parseSkips(skipsText)
	if err != nil {
		t.Fatal(err)
	}
	o := options{machine: machine{kiln: kiln, memory: 1024, accel: "auto"}, timeout: 5 * time.Minute}
	chosen, _ := choose(nil, true)
	for _, p := range chosen {
		p.skip = skips[p.path]
		t.Run(p.path, func(t *testing.T) {
			r, err := both(p, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			if got := r.verdict(); got != "same" {
				t.Errorf("outcomes are %s", got)
			}
		})
	}
}
