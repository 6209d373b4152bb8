package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"kiln/run/rumprun"
)

// statusFD is where a guest's process says that its guest has started, by a
// byte.
const statusFD = 3

// detach starts a process of its own for the guest that rumprun's args
// describe, and prints its cookie once the guest has started.
func (a *app) detach(args []string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return exitFailure, err
	}
	statusRead, statusWrite, err := os.Pipe()
	if err != nil {
		return exitFailure, err
	}
	defer statusRead.Close()
	defer statusWrite.Close()
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return exitFailure, err
	}
	defer errRead.Close()
	defer errWrite.Close()
	cmd := &exec.Cmd{
		Path: self, Args: append([]string{guestName}, args...), Env: a.env,
		Stderr:      errWrite,
		ExtraFiles:  []*os.File{statusWrite},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // no terminal's signals
	}
	if err := cmd.Start(); err != nil {
		return exitFailure, err
	}
	errWrite.Close()
	statusWrite.Close()
	// The guest's process lets go of both once the guest has started.
	if _, err := io.Copy(a.stderr, errRead); err != nil {
		return exitFailure, err
	}
	if _, err := io.ReadFull(statusRead, make([]byte, 1)); err == nil {
		_, err := fmt.Fprintf(a.stdout, "%s%d\n", cookieScheme, cmd.Process.Pid)
		return 0, err
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return exitFailure, err
}

// guest is the process that detach starts.
func (a *app) guest(args []string) (int, error) {
	a.name = "rumprun"
	c, err := rumprun.Parse(args)
	if err != nil {
		return 0, err
	}
	done, err := makeDir(c)
	if err != nil {
		return 0, err
	}
	defer done()
	output := os.DevNull
	if c.Dir != "" {
		output = filepath.Join(c.Dir, fileConsole)
	}
	console, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return exitFailure, err
	}
	defer console.Close()
	a.stdout = console
	var started error
	c.Options.Started = func() { started = letGo(console) }
	code, err := a.runGuest(c)
	if err == nil {
		err = started
	}
	return code, err
}

// letGo tells the process that waits for the start, and leaves it: from now on
// messages go where the console's output goes.
func letGo(console *os.File) error {
	if err := unix.Dup2(int(console.Fd()), int(os.Stderr.Fd())); err != nil {
		return err
	}
	status := os.NewFile(statusFD, "status")
	if _, err := status.Write([]byte{1}); err != nil {
		return fmt.Errorf("the process that waits for the start: %w", err)
	}
	return status.Close()
}
