package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"kiln/bake"
	"kiln/bake/trace"
)

// checkTrace takes the command of kiln bake --trace from o.Args: its program,
// which is looked for as a shell does, and its arguments. args are those before
// the dashes.
func checkTrace(o *bake.Options, args []string, kernel bool) error {
	if len(args) > 0 || len(o.Args) == 0 {
		return usageError{"--trace runs the command that stands behind --", "kiln bake --trace [FLAGS] -- COMMAND [ARGUMENT…]"}
	}
	if kernel || o.OCI != "" || o.Root != "" {
		return usageError{"--trace runs a program of this machine: it does not go with --kernel, --oci or --root", ""}
	}
	program, err := exec.LookPath(o.Args[0])
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return usageError{fmt.Sprintf("%s: %v", o.Args[0], errors.Unwrap(err)), ""}
	}
	o.Program, o.Args = program, o.Args[1:]
	return nil
}

// trace runs the program of o with its arguments and environment, and has what
// it finds added. The image's program begins in the same directory.
func (a *app) trace(o *bake.Options) error {
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	// The terminal's interrupt is for the command, which may be a server
	// that ends by it.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT)
	defer signal.Stop(interrupts)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	paths, status, err := trace.Run(ctx, trace.Command{
		Path: o.Program, Args: o.Args, Env: slices.Concat(os.Environ(), o.Env),
		Stdio: trace.Stdio{In: a.stdin, Out: a.stdout, Err: a.stderr},
	})
	if errors.Is(err, trace.ErrNoStrace) {
		return usageError{"--trace: " + err.Error(), "Debian has it in the package strace"}
	}
	if err != nil {
		return fmt.Errorf("--trace %s: %w", o.Program, err)
	}
	if status != 0 {
		a.note([]string{fmt.Sprintf("the command ended with status %d; what it found until then is added", status)})
	}
	o.Traced = paths
	if o.Cwd == "" {
		o.Cwd, o.Traced = cwd, append(o.Traced, cwd)
	}
	a.note([]string{fmt.Sprintf("the command found %d files and directories: kiln inspect shows those that are added as traced", len(paths))})
	return nil
}
