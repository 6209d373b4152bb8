package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"kiln/test/outcomes"
)

// testArgs are the test binary's own flags, the same on both sides.
func testArgs(p pkg, timeout time.Duration) []string {
	args := []string{"-test.v=test2json", "-test.short", "-test.timeout=" + timeout.String()}
	if p.run != "" {
		args = append(args, "-test.run="+p.run)
	}
	if len(p.skip) > 0 {
		args = append(args, "-test.skip="+skipPattern(p.skip))
	}
	return args
}

// onLinux runs the binary on one CPU of this machine, as the guest has one.
func onLinux(ctx context.Context, p pkg, bin string, timeout time.Duration) ([]byte, error) {
	dir, err := sourceDir(ctx, p)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"--cpu-list", "0", bin}, testArgs(p, timeout)...)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOMAXPROCS=1", "GODEBUG="+p.godebug)
	return outcomes.Output(cmd)
}

// A machine says how to start guests.
type machine struct {
	kiln   string // the kiln command
	memory int    // MB
	accel  string // kvm, qemu or auto
}

// onMetal bakes the binary as an image's kernel program and boots it.
func (m machine) onMetal(ctx context.Context, p pkg, bin string, timeout time.Duration) ([]byte, error) {
	img := filepath.Join(filepath.Dir(bin), "metal.img")
	args := []string{"bake", "--kernel", bin, "-o", img, "-e", "GODEBUG=" + p.godebug, "--"}
	bake := exec.CommandContext(ctx, m.kiln, append(args, testArgs(p, timeout)...)...)
	if out, err := bake.CombinedOutput(); err != nil {
		return out, fmt.Errorf("kiln bake: %w\n%s", err, out)
	}
	return outcomes.Output(exec.CommandContext(ctx, m.kiln, "run", m.accel, "-M", strconv.Itoa(m.memory), img))
}
