package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kiln/instance"
	"kiln/run"
	"kiln/run/rumprun"
)

// supervisorName is argv[0] of the process that looks after an instance in the
// background. Its argument is the instance's identifier.
const supervisorName = "kiln-instance"

// What a supervisor in the background inherits beside the standard files.
const (
	statusFD = 3 // where it says that its guest has started, by a byte
	lockFD   = 4 // the instance's lock
)

// runDetached runs what c says as instance h, in the background, and prints its
// name.
func (a *app) runDetached(h *instance.Held, c *runCall) (int, error) {
	// If there is something to bake, it is done while the user can see and stop
	// it. The image stays in the instance's folder.
	o, done, err := a.openImage(c.options, "", h.Folder())
	if err != nil {
		return exitFailure, abandon(h, err)
	}
	done()
	if err := h.SetProgram(programOf(o)); err != nil {
		return exitFailure, abandon(h, err)
	}
	started, code, err := a.launch(h)
	if started {
		_, err = fmt.Fprintln(a.stdout, h.Name)
	}
	return code, err
}

// launch starts a supervisor for h in the background, which takes over the lock,
// and waits until its guest has started, or has failed to: then code is the
// supervisor's exit status. It sets h.State.PID to the supervisor's number.
func (a *app) launch(h *instance.Held) (started bool, code int, err error) {
	supervisor, status, err := a.startSupervisor(h)
	// From now on the lock is the supervisor's, or nobody's.
	if err := errors.Join(err, h.Release()); err != nil {
		return false, exitFailure, err
	}
	defer status.Close()
	h.State.PID = supervisor.Process.Pid
	if _, err := io.ReadFull(status, make([]byte, 1)); err == nil {
		return true, 0, nil
	}
	err = supervisor.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return false, exit.ExitCode(), nil
	}
	if err == nil {
		err = errors.New("the supervisor ended before the guest had started")
	}
	return false, exitFailure, err
}

// startSupervisor starts the supervisor, and copies what it has to say until its
// guest has started. status is where it says that.
func (a *app) startSupervisor(h *instance.Held) (_ *exec.Cmd, status *os.File, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	status, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cmd := &exec.Cmd{
		Path: self, Args: []string{supervisorName, h.ID}, Env: a.env, Dir: h.Dir,
		ExtraFiles:  []*os.File{statusFD - 3: theirs, lockFD - 3: h.LockFile()},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // no terminal's signals
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, status.Close())
	}
	defer errRead.Close()
	cmd.Stderr = errWrite
	err = cmd.Start()
	errWrite.Close()
	if err != nil {
		return nil, nil, errors.Join(err, status.Close())
	}
	theirs.Close()
	// The supervisor lets go of it once the guest has started.
	if _, err := io.Copy(a.stderr, errRead); err != nil {
		return nil, nil, errors.Join(err, status.Close())
	}
	return cmd, status, nil
}

// supervisor is the process that launch starts.
func (a *app) supervisor(args []string) (int, error) {
	if len(args) != 1 {
		return 0, usageError{supervisorName + " is started by kiln run -d", ""}
	}
	syscall.CloseOnExec(statusFD)
	store, err := instance.Open(a.getenv)
	if err != nil {
		return exitFailure, err
	}
	h, err := store.Inherit(args[0], lockFD)
	if err != nil {
		return exitFailure, err
	}
	log, err := h.OpenLog()
	if err != nil {
		return exitFailure, abandon(h, err)
	}
	defer log.Close()
	out, errs := log.Stream("stdout"), log.Stream("stderr")
	std := run.Stdio{In: eof{}, Out: out, Err: errs}
	own := &lines{to: a.stderr}
	a.stderr, std.Own = own, own
	started := func() error {
		own.switchTo(errs)
		return letGo(h.CrashFile())
	}
	if h.Command == rumprunName {
		return a.superviseRumprun(h, std, started)
	}
	a.name = "kiln " + h.Command
	c := &runCall{}
	if err := c.reparse(h.Args); err != nil {
		return 0, abandon(h, err)
	}
	if h.HasImage() {
		c.options.Image = h.ImageFile()
	}
	o, done, err := a.openImage(c.options, c.config, h.Folder())
	if err != nil {
		return exitFailure, abandon(h, err)
	}
	defer done()
	var in *input
	if o.Interactive {
		in = &input{}
	}
	return a.lookAfter(h, o, std, in, started)
}

// reparse parses args, those of kiln run.
func (c *runCall) reparse(args []string) error {
	fs := pflag.NewFlagSet(runName, pflag.ContinueOnError)
	fs.SetInterspersed(!runCommand.argsEnd)
	c.addFlags(fs)
	if err := fs.Parse(args); err != nil {
		return usageError{err.Error(), ""}
	}
	return c.parse(fs, fs.Args())
}

// superviseRumprun looks after a guest of rumprun's.
func (a *app) superviseRumprun(h *instance.Held, std run.Stdio, started func() error) (int, error) {
	a.name = rumprunName
	c, err := rumprun.Parse(h.Args)
	if err != nil {
		return 0, abandon(h, err)
	}
	done, err := makeDir(c)
	if err != nil {
		return 0, abandon(h, err)
	}
	defer done()
	c.Options.Image = c.App
	o, cleanUp, err := a.openImage(c.Options, c.Config, c.Dir)
	if err != nil {
		return exitFailure, abandon(h, err)
	}
	defer cleanUp()
	if c.Dir != "" {
		console, err := os.OpenFile(filepath.Join(c.Dir, fileConsole), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return exitFailure, abandon(h, err)
		}
		defer console.Close()
		std.Out, std.Err = io.MultiWriter(std.Out, console), io.MultiWriter(std.Err, console)
	}
	return a.lookAfter(h, o, std, nil, started)
}

// letGo tells the process that waits for the start, and leaves it: what the Go
// runtime has to say from now on, at a crash of this process, goes to the file
// crash.
func letGo(crash string) error {
	f, err := os.OpenFile(crash, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Dup2(int(f.Fd()), int(os.Stderr.Fd())); err != nil {
		return err
	}
	status := os.NewFile(statusFD, "status")
	defer status.Close()
	if _, err := status.Write([]byte{1}); err != nil && !errors.Is(err, unix.EPIPE) { // nobody waits any more
		return fmt.Errorf("the process that waits for the start: %w", err)
	}
	return nil
}

// eof is an input that has ended.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
