package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"kiln/debug/gdb"
	"kiln/run"
)

// defaultGDB is the port of --gdb where none is named, QEMU's own for it.
const defaultGDB = "1234"

var gdbCommand = command{
	name:  "gdb",
	usage: "[--at PORT|SOCKET] IMAGE [-- GDB-ARGUMENT…]",
	short: "look into a guest with gdb",
	long: `
Starts IMAGE in a machine that waits, connects gdb, and loads the symbols of
both programs of the kernel. Those of the guest's programs and libraries follow
when the guest loads them, also of programs that can be loaded anywhere, so that
breakpoints in them can be set by name before they start. The machine ends with
gdb.

With --at, gdb looks into a machine that runs already: IMAGE's, started with

  kiln run --gdb[=PORT|SOCKET] [--wait] IMAGE …

In gdb, a backtrace goes on from the kernel to the program that it serves; gdb
shows what lies between as "signal handler called". These commands are added:

  kiln tasks               the programs' threads
  kiln task N [COMMAND]    gdb's COMMAND, or backtrace, in one of them
  kiln goroutines          the kernel's goroutines
  kiln goroutine N [COMMAND]
  kiln threads             metal's threads, on which they run
  kiln symbols             load what programs have loaded since`,
	flags: func(fs *pflag.FlagSet) action {
		at := fs.String("at", "", "the machine's gdb server: `PORT` of 127.0.0.1, or the path of a socket")
		return func(a *app, args []string, dash int) (int, error) {
			if dash < 0 {
				dash = len(args)
			}
			if dash != 1 {
				return 0, usageError{fmt.Sprintf("%d images are named, want 1", dash), "kiln gdb IMAGE -- GDB-ARGUMENTS"}
			}
			return a.gdb(args[0], *at, args[1:])
		}
	},
}

// gdb runs gdb on the machine whose gdb server is at at, or if that is "", on one
// that it starts, with the image of that name.
func (a *app) gdb(name, at string, args []string) (int, error) {
	path, err := a.imageAt(name)
	if err != nil {
		return exitFailure, err
	}
	if _, err := exec.LookPath(gdb.Binary); err != nil {
		return 0, usageError{gdb.ErrMissing.Error(), "install it: sudo apt-get install " + gdb.Package}
	}
	if at != "" {
		if err := gdb.CheckTarget(at); err != nil {
			return 0, usageError{"--at: " + err.Error(), "it is where kiln run --gdb[=PORT|SOCKET] listens"}
		}
	}
	dir, err := os.MkdirTemp("", "kiln-gdb-")
	if err != nil {
		return exitFailure, err
	}
	defer os.RemoveAll(dir)
	s := gdb.Session{Symbols: filepath.Join(dir, "kernel"), Files: filepath.Join(dir, "files"), Target: at, Args: args}
	if s.Source, err = sourceFolder(); err != nil {
		return exitFailure, err
	}
	if err := a.writeDebugFile(path, s.Symbols); err != nil {
		return exitFailure, err
	}
	if err := os.Mkdir(s.Files, 0o700); err != nil {
		return exitFailure, err
	}
	if err := gdb.Extract(path, s.Files); err != nil {
		return exitFailure, err
	}
	// Control-C is gdb's.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	if at == "" {
		s.Target = filepath.Join(dir, "gdb.sock")
		machine, err := a.startWaiting(path, s.Target)
		if err != nil {
			return exitFailure, err
		}
		defer machine.end()
		if err := machine.await(s.Target); err != nil {
			return exitFailure, err
		}
	}
	cmd, err := s.Command(dir)
	if err != nil {
		return exitFailure, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// sourceFolder returns the folder of the source that this command was built in,
// "" if it is elsewhere.
func sourceFolder() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	return gdb.Source(self), err
}

// A waitingMachine is a kiln run of ours that waits for gdb.
type waitingMachine struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// startWaiting starts the image at path in a machine that waits for gdb at
// socket. What it prints is this command's output. It has a process group of its
// own, so that a Control-C for gdb does not end it.
func (a *app) startWaiting(path, socket string) (*waitingMachine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "run", "--gdb="+socket, "--wait", path)
	cmd.Env, cmd.Stdout, cmd.Stderr = a.env, a.stdout, a.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m := &waitingMachine{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its status is the guest's, which gdb has seen
		close(m.ended)
	}()
	return m, nil
}

// socketTimeout is how long QEMU may take to listen, on a busy machine.
const socketTimeout = time.Minute

// await waits until the machine listens at socket.
func (m *waitingMachine) await(socket string) error {
	for deadline := time.Now().Add(socketTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-m.ended:
			return &run.Error{Code: run.ExitMachine, Msg: "the machine has not started"}
		default:
		}
	}
	return &run.Error{Code: run.ExitMachine, Msg: "the machine does not listen for gdb"}
}

// end ends the machine: asked twice, kiln run does not wait for the guest.
func (m *waitingMachine) end() {
	for {
		select {
		case <-m.ended:
			return
		default:
		}
		if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			<-m.ended
			return
		}
		select {
		case <-m.ended:
		case <-time.After(200 * time.Millisecond):
		}
	}
}
