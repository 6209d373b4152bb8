package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// controlFD is the descriptor that Start gives QEMU for the control channel.
const controlFD = 3

// moduleFD is the descriptor of the boot module, when there is one.
const moduleFD = 4

// Process is a running QEMU.
type Process struct {
	Console io.Reader // what the guest writes to COM1
	Input   io.Writer // what it reads from there
	Control *os.File  // the other end of COM2

	cmd     *exec.Cmd
	stderr  bytes.Buffer  // guarded by done
	done    chan struct{} // closed when QEMU has ended
	waitErr error         // guarded by done
}

// Status is how QEMU ended.
type Status struct {
	Code   int    // exit status, -1 if a signal ended it
	Signal string // that signal
	Stderr string // what QEMU had to say
}

// ErrMissing says that QEMU is not installed.
var ErrMissing = errors.New(Binary + ": not found in PATH")

// Start runs m. module, if not nil, becomes its boot module, and Start closes
// it, as it sets m.Control and m.Module. trace gets the command line.
//
// QEMU does not outlive this process, whatever ends it.
func Start(m Machine, module *os.File, trace func(line string)) (*Process, error) {
	path, err := exec.LookPath(Binary)
	if err != nil {
		return nil, ErrMissing
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	files := []*os.File{theirs}
	m.Control = controlFD
	if module != nil {
		defer module.Close()
		files = append(files, module)
		m.Module = fmt.Sprintf("/proc/self/fd/%d", moduleFD)
	}
	args, err := m.Args()
	if err != nil {
		ours.Close()
		return nil, err
	}
	trace(Binary + " " + shellQuote(args))
	p := &Process{Control: ours, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.ExtraFiles = files
	p.cmd.Stderr = &p.stderr
	if err := p.start(); err != nil {
		ours.Close()
		return nil, err
	}
	return p, nil
}

// start starts the process with pipes for the console, and waits for it from
// then on.
func (p *Process) start() error {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return errors.Join(err, inRead.Close(), inWrite.Close())
	}
	p.cmd.Stdin, p.cmd.Stdout = inRead, outWrite
	p.Input, p.Console = inWrite, outRead
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C is ours to pass on
		Pdeathsig: syscall.SIGKILL,
	}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread ends that started
		// the process: keep it.
		runtime.LockOSThread()
		err := p.cmd.Start()
		inRead.Close()
		outWrite.Close()
		started <- err
		if err == nil {
			p.waitErr = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return errors.Join(err, inWrite.Close(), outRead.Close())
	}
	return nil
}

// Kill ends QEMU at once.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Done is closed when QEMU has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status returns how QEMU ended. It waits for that.
func (p *Process) Status() Status {
	<-p.done
	s := Status{Code: p.cmd.ProcessState.ExitCode(), Stderr: p.stderr.String()}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		s.Signal = ws.Signal().String()
	}
	var exit *exec.ExitError
	if p.waitErr != nil && !errors.As(p.waitErr, &exit) {
		s.Stderr += fmt.Sprintf("%s: %v\n", Binary, p.waitErr)
	}
	return s
}

// Complaints returns the lines of stderr that are more than a warning.
func (s Status) Complaints() []string {
	var lines []string
	for line := range strings.Lines(s.Stderr) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, Binary+": warning: ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// socketPair returns two connected stream sockets.
func socketPair() (ours, theirs *os.File, err error) {
	// Against a fork in between, which would leak them to another child.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("control channel: %w", os.NewSyscallError("socketpair", err))
	}
	// Non-blocking: a read must end when another goroutine closes the file.
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, syscall.Close(fds[0]), syscall.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// shellQuote joins args so that a shell would take them apart again.
func shellQuote(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if a == "" || strings.ContainsFunc(a, func(r rune) bool { return !strings.ContainsRune(shellSafe, r) }) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%"
