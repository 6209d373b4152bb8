package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
)

// Process is a running QEMU.
type Process struct {
	Console io.Reader // what the guest writes to COM1
	Input   io.Writer // what it reads from there
	Channel *os.File  // our end of the channel; nil for NoChannel

	monitor *os.File // or nil: see DiskErrors
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

// Start runs m, with a channel unless m.Channel is NoChannel; else it sets the
// descriptor. module, if not nil, becomes its boot module, and Start closes it,
// as it sets m.Module. trace gets the command line.
//
// QEMU does not outlive this process, whatever ends it.
func Start(m Machine, module *os.File, trace func(line string)) (_ *Process, err error) {
	path, err := exec.LookPath(Binary)
	if err != nil {
		return nil, ErrMissing
	}
	if module != nil {
		defer module.Close()
	}
	p := &Process{cmd: exec.Command(path), done: make(chan struct{})}
	give := func(f *os.File) (fd int) {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f)
		return 2 + len(p.cmd.ExtraFiles) // behind the standard ones
	}
	defer func() {
		if err != nil {
			p.closeChannels()
		}
	}()
	if m.Channel != NoChannel {
		ours, theirs, err := socketPair("channel")
		if err != nil {
			return nil, err
		}
		defer theirs.Close()
		p.Channel, m.Channel = ours, give(theirs)
	}
	monitor, theirMonitor, err := connectMonitor(m)
	if err != nil {
		return nil, err
	}
	if theirMonitor != nil {
		defer theirMonitor.Close()
		p.monitor, m.Monitor = monitor, give(theirMonitor)
	}
	if module != nil {
		m.Module = fmt.Sprintf("/proc/self/fd/%d", give(module))
	}
	// A limit of file sizes is an error that QEMU reports, not its end.
	signal.Ignore(syscall.SIGXFSZ)
	args, err := m.Args()
	if err == nil {
		trace(Binary + " " + shellQuote(args))
		p.cmd.Args = append(p.cmd.Args, args...)
		p.cmd.Stderr = &p.stderr
		err = p.start()
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// closeChannels closes our ends of what QEMU was to be connected to.
func (p *Process) closeChannels() {
	for _, f := range []*os.File{p.Channel, p.monitor} {
		if f != nil {
			f.Close()
		}
	}
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

// PID returns the number of QEMU's process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

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

// CPUError returns why QEMU would not make the CPU that it was asked for, "" if
// that was not why it failed (target/i386/cpu.c, cpu-target.c).
func (s Status) CPUError() string {
	for _, line := range s.Complaints() {
		if strings.Contains(line, "CPU model") || strings.Contains(line, "-x86_64-cpu.") || strings.Contains(line, "-cpu option") {
			return strings.TrimPrefix(line, Binary+": ")
		}
	}
	return ""
}

// socketPair returns two connected stream sockets, both called name.
func socketPair(name string) (ours, theirs *os.File, err error) {
	// Against a fork in between, which would leak them to another child.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, os.NewSyscallError("socketpair", err))
	}
	// Non-blocking: a read must end when another goroutine closes the file.
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, syscall.Close(fds[0]), syscall.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
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
