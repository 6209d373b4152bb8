// Command profile samples the guest kernel of a running machine and writes the
// samples as a profile that go build -pgo and go tool pprof read.
//
//	go run ./bench/profile [-seconds 60] [-load COMMAND] -o kernel/default.pgo -- bin/kiln run …
//
// It starts the command after --, whose QEMU it gives a monitor, stops the
// machine two hundred times a second for a look at its registers and stack,
// and ends it. The kernel with symbols must be the one that runs:
// ./build.sh makes both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type options struct {
	seconds float64
	load    string
	kernel  string
	out     string
}

func main() {
	var o options
	flag.Float64Var(&o.seconds, "seconds", 60, "how long to take samples")
	flag.StringVar(&o.load, "load", "", "shell `command` that gives the machine work, run again whenever it ends; it may fail while the machine starts")
	flag.StringVar(&o.kernel, "kernel", "build/kernel-hw_generic.elf", "the kernel's `ELF` with symbols")
	flag.StringVar(&o.out, "o", "kernel.pgo", "`file` to write")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "profile: error: no command that starts a machine")
		os.Exit(2)
	}
	if err := run(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "profile: error:", err)
		os.Exit(1)
	}
}

func run(o options, argv []string) (err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	symbols, err := openSymbols(o.kernel)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kiln-profile-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	machine, err := start(ctx, dir, argv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.stop()) }()
	m, err := dial(ctx, filepath.Join(dir, "qmp"))
	if err != nil {
		return err
	}
	defer m.close()
	loadCtx, endLoad := context.WithCancel(ctx)
	defer endLoad()
	if o.load != "" {
		go repeat(loadCtx, o.load)
	}
	stacks, err := sample(ctx, m, filepath.Join(dir, "stack"), time.Duration(o.seconds*float64(time.Second)))
	if err != nil {
		return err
	}
	return writeProfile(o.out, symbols, stacks)
}

// machine is the running command.
type machine struct{ cmd *exec.Cmd }

// start runs argv with a qemu-system-x86_64 first on its PATH that adds a
// monitor at dir/qmp.
func start(ctx context.Context, dir string, argv []string) (machine, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return machine{}, err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" -qmp unix:%s,server,nowait\n", qemu, filepath.Join(dir, "qmp"))
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
		return machine{}, err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	return machine{cmd}, cmd.Start()
}

// stop ends the machine. How it ends says nothing: it was told to.
func (m machine) stop() error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the machine ended before the samples were taken: %w", err)
	}
	var exit *exec.ExitError
	if err := m.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// repeat runs a shell command until ctx ends.
func repeat(ctx context.Context, command string) {
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		if err := cmd.Run(); err != nil {
			time.Sleep(time.Second)
		}
	}
}
