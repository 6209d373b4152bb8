// Package run starts an image in a virtual machine, connects its console, and
// returns its program's exit status.
package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kiln/run/qemu"
)

// Stdio is what the console connects to.
type Stdio struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer // for our own lines
}

// exitGrace is how long a machine may run on after its program's exit.
const exitGrace = 5 * time.Second

// Run runs an image to its end and returns the program's exit status. An
// error, of type *Error, means that another status than the program's is
// returned, or that there is something to say about it.
func Run(o Options, std Stdio) (int, error) {
	user := openTerminal(std)
	p, err := newPlan(o, thisHost(), user.state())
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return exitCode(err), err
	}
	signals := catchSignals(p.config.Interactive)
	defer signal.Stop(signals)
	s, err := p.start(o, std)
	if err != nil {
		return exitCode(err), err
	}
	if p.config.Interactive {
		<-s.checked // and notes were written, which a raw terminal would garble
		if err := user.makeRaw(); err != nil {
			fmt.Fprintf(std.Err, "%s: the terminal stays as it is: %v\n", o.command(), err)
		}
		defer user.restore()
	}
	return s.serve(signals, user)
}

// Describe returns QEMU's command line for o, for a shell, and the run
// configuration that the guest would get. module is the file that the command
// line has it in. Nothing is started.
func Describe(o Options, std Stdio, module string) (commandLine string, config []byte, err error) {
	p, err := newPlan(o, thisHost(), openTerminal(std).state())
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return "", nil, err
	}
	if config, err = p.module(); err != nil {
		return "", nil, err
	}
	p.machine.Module, p.machine.Control = module, qemu.NoControl
	if commandLine, err = p.machine.CommandLine(); err != nil {
		return "", nil, err
	}
	return commandLine, config, nil
}

// exitCode returns the exit status that err stands for.
func exitCode(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ExitMachine
}

// session is one machine while it runs.
type session struct {
	command string // for messages
	std     Stdio
	process *qemu.Process
	control *control
	timeout time.Duration // for the program to end when asked

	proxy   bool          // the program gets the signals that we get
	started func()        // or nil: to be called when the guest lives
	paused  bool          // the processor waits for gdb or the monitor
	keys    bool          // input is typed: the escape keys count
	cancel  chan struct{} // closed when they were typed
	shown   int64         // bytes of console output; guarded by copied
	copied  chan error    // gets the console copy's end
	checked chan struct{} // closed once the image was checked
	watched chan struct{} // closed once no more failures of disks will come
	damage  error         // what was found; guarded by checked
}

// start starts the machine and what serves its channels.
func (p *plan) start(o Options, std Stdio) (*session, error) {
	text, err := p.module()
	if err != nil {
		return nil, err
	}
	module, err := memoryFile("runconfig", text)
	if err != nil {
		return nil, err
	}
	trace := func(line string) {
		if o.Trace {
			fmt.Fprintf(std.Err, "%s\n", line)
		}
	}
	process, err := qemu.Start(p.machine, module, trace)
	if errors.Is(err, qemu.ErrMissing) {
		return nil, inputError(err.Error(), "install the package "+qemu.Package+": sudo apt-get install "+qemu.Package)
	}
	if err != nil {
		return nil, &Error{ExitMachine, err.Error(), ""}
	}
	s := &session{
		command: o.command(), std: std, process: process, control: newControl(std.Err), timeout: o.StopTimeout,
		keys: p.config.Interactive, proxy: !o.NoSignals, started: o.Started, paused: o.Paused,
		cancel: make(chan struct{}), copied: make(chan error, 1), checked: make(chan struct{}),
		watched: make(chan struct{}),
	}
	if s.started == nil {
		s.started = func() {}
	}
	go func() {
		if err := process.DeepenBacklog(p.listeners()); err != nil {
			trace("kiln run: many connections at once to a published port may stall: " + err.Error())
		}
	}()
	go func() {
		defer close(s.checked)
		s.damage = s.check(o.Check, p.notes)
	}()
	go func() {
		defer close(s.watched)
		errs := diskErrors{command: s.command, out: std.Err, disks: p.machine.Disks}
		if err := process.DiskErrors(errs.report); err != nil {
			trace("kiln run: failures of disks go unreported: " + err.Error())
		}
	}()
	go s.control.read(process.Control)
	go s.control.write(process.Control)
	go s.copyOutput()
	if p.config.Interactive || p.config.Stdin {
		go s.copyInput()
	}
	return s, nil
}

// check has QEMU killed if the image is damaged. QEMU reads the whole image
// before the guest begins, no faster than this, so nothing of a damaged image's
// program will have run. notes are for the user of a sound one.
func (s *session) check(check func() error, notes []string) error {
	if check != nil {
		if err := check(); err != nil {
			return errors.Join(err, s.process.Kill())
		}
	}
	for _, note := range notes {
		fmt.Fprintf(s.std.Err, "%s: %s\n", s.command, note)
	}
	return nil
}

// memoryFile returns a file without a name that holds data. QEMU opens it
// through /proc, so that nothing is left behind on disk.
func memoryFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// stop is why a machine was made to end.
type stop int

const (
	stopNone    stop = iota
	stopTimeout      // the program did not end when asked
	stopForced       // asked again, or by the keys
	stopPipe         // nobody reads the output
	stopLinger       // the program had ended, the machine had not
)

// serve waits for the machine to end.
func (s *session) serve(signals <-chan os.Signal, user *userTerminal) (int, error) {
	why := s.wait(signals, user)
	status := s.process.Status()
	<-s.control.ended
	<-s.watched
	user.restore()
	<-s.checked
	if s.damage != nil {
		return ExitUsage, &Error{ExitUsage, s.damage.Error(), ""}
	}
	return outcome(status, s.control.exit, s.shown > 0, why)
}

// wait carries out what signals ask until QEMU has ended and its output is
// shown. It returns why it killed QEMU, if it did.
func (s *session) wait(signals <-chan os.Signal, user *userTerminal) stop {
	why := stopNone
	kill := func(reason stop) {
		if why == stopNone {
			why = reason
		}
		if err := s.process.Kill(); err != nil {
			fmt.Fprintf(s.std.Err, "%s: ending QEMU: %v\n", s.command, err)
		}
	}
	var ready <-chan time.Time
	if !s.paused {
		ready = time.After(readyTimeout)
	}
	alive := time.After(aliveTimeout)
	exited, cancel, live := s.control.exited, s.cancel, s.control.ready
	var deadline, linger <-chan time.Time
	var hurry hurry
	for {
		select {
		case sig := <-signals:
			switch s.meaning(sig, deadline != nil, hurry.see(sig, time.Now()), user.state().present) {
			case signalResize:
				t := user.state()
				s.control.send(request{Winsize: []uint16{t.rows, t.cols}})
			case signalPass:
				s.control.send(request{Signal: signalName(sig)})
			case signalEnd:
				s.control.send(request{Shutdown: true})
				deadline = time.After(s.timeout)
			case signalKill:
				kill(stopForced)
			}
		case <-deadline:
			kill(stopTimeout)
		case <-cancel:
			cancel = nil
			kill(stopForced)
		case <-exited:
			exited = nil
			linger = time.After(exitGrace)
		case <-linger:
			kill(stopLinger)
		case <-ready:
			s.control.setReady()
		case <-live:
			live, alive = nil, nil
			s.started()
		case <-alive:
			live, alive = nil, nil
			s.started()
		case err := <-s.copied:
			if err != nil {
				kill(stopPipe)
			}
			<-s.process.Done()
			if live != nil && isClosed(live) { // it ended soon, but it lived
				s.started()
			}
			return why
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// What metal passes to the debug exit device when it is not the kernel
// program's exit code, see kernel/metal/fatal.go.
const (
	codePanic    = 0x7e
	codeNoMemory = 0x7d
)

// outcome tells what an ended machine means. exit is what the guest reported,
// if it did; shown whether it wrote anything on the console.
func outcome(status qemu.Status, exit *int, shown bool, why stop) (int, error) {
	fail := func(code int, msg, hint string) (int, error) { return code, &Error{code, msg, hint} }
	if exit != nil {
		return *exit & 0xff, nil
	}
	switch why {
	case stopTimeout:
		return fail(ExitKilled, "the program did not end when asked, and was killed", "--stop-timeout says how long to wait")
	case stopForced:
		return fail(ExitKilled, "killed", "")
	case stopPipe:
		return 128 + int(unix.SIGPIPE), nil
	}
	if name := status.Locked(); name != "" {
		return fail(ExitMachine, name+" is in use by another machine", "end that one first, or give it to both to only read: ,ro behind a disk, :ro behind a volume")
	}
	complaints := status.Complaints()
	text := strings.Join(complaints, "; ")
	switch {
	case status.Signal != "":
		return fail(ExitMachine, strings.TrimSuffix(fmt.Sprintf("QEMU was ended by signal: %s: %s", status.Signal, text), ": "), "")
	case status.Code == 0:
		return fail(ExitCrash, "the kernel crashed: the machine reset itself without a report", "")
	case status.Code == 1 && !shown && len(complaints) > 0, status.Code&1 == 0:
		// QEMU's own failures are status 1, which is also what the debug
		// exit device makes of code 0; but QEMU says why.
		return fail(ExitMachine, "QEMU failed: "+text, "")
	}
	switch code := status.Code >> 1; code {
	case codePanic:
		return fail(ExitCrash, "the kernel crashed: report above", "")
	case codeNoMemory:
		return fail(ExitCrash, "the kernel ran out of memory: report above", "give the machine more memory: -M MB")
	default:
		return code, nil
	}
}
