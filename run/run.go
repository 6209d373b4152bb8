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

	"kiln/image/channel"
	"kiln/image/ending"
	"kiln/run/output"
	"kiln/run/qemu"
	"kiln/run/signals"
	"kiln/run/tty"
)

// Stdio is what the console connects to.
type Stdio struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer // the program's standard error
	Own io.Writer // our own lines; nil: Err

	// OutCopy and ErrCopy, if not nil, get what the guest's output brings to
	// Out and Err. Their writes must not fail.
	OutCopy, ErrCopy io.Writer
}

// readyTimeout is after which time a guest without a channel that has said
// nothing, and is not kept from running, is taken to have set up its serial
// port, which loses what comes before that.
const readyTimeout = 15 * time.Second

// aliveTimeout is after which time a machine is said to have started if nothing
// else shows that it has: QEMU has refused by then what it refuses, on a busy host
// too. Nothing will show it of one that is kept from running.
const aliveTimeout, pausedTimeout = 5 * time.Second, time.Second

// exitGrace is how long a machine may run on after its program's exit.
const exitGrace = 5 * time.Second

// Run runs an image to its end and returns the program's exit status. An
// error, of type *Error, means that another status than the program's is
// returned, or that there is something to say about it.
func Run(o Options, std Stdio) (int, error) {
	user := tty.Open(std.In, std.Out)
	p, err := newPlan(o, thisHost(), terminalOf(user))
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return exitCode(err), err
	}
	caught := signals.Catch(p.config.Interactive)
	defer signal.Stop(caught)
	s, err := p.start(o, std)
	if err != nil {
		return exitCode(err), err
	}
	if p.config.Interactive {
		<-s.checked // and notes were written, which a raw terminal would garble
		if err := user.MakeRaw(); err != nil {
			fmt.Fprintf(std.own(), "%s: the terminal stays as it is: %v\n", o.command(), err)
		}
		defer user.Restore()
	}
	return s.serve(caught, user)
}

// terminalOf returns what the user's terminal is like.
func terminalOf(user *tty.Terminal) terminal {
	t := terminal{present: user.Present()}
	t.rows, t.cols = user.Size()
	return t
}

// Describe returns QEMU's command line for o, for a shell, and the run
// configuration that the guest would get. module is the file that the command
// line has it in. Nothing is started.
func Describe(o Options, std Stdio, module string) (commandLine string, config []byte, err error) {
	p, err := newPlan(o, thisHost(), terminalOf(tty.Open(std.In, std.Out)))
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return "", nil, err
	}
	if config, err = p.module(); err != nil {
		return "", nil, err
	}
	p.machine.Module, p.machine.Channel = module, qemu.NoChannel
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
	link    *link
	timeout time.Duration // for the program to end when asked

	orders  <-chan Order
	proxy   bool          // the program gets the signals that we get
	started func()        // or nil: to be called when the guest lives
	paused  bool          // the processor waits for gdb or the monitor
	keys    bool          // input is typed: the escape keys count
	cancel  chan struct{} // closed when they were typed
	shown   int64         // bytes that came from the serial port; guarded by copied
	failed  chan error    // gets why output cannot be written
	copied  chan struct{} // closed when all that the guest wrote was passed on
	checked chan struct{} // closed once the image was checked
	left    chan struct{} // closed once tools have what was for them
	watched chan struct{} // closed once no more failures of disks will come
	damage  error         // what was found; guarded by checked
}

// start starts the machine and what serves its channels.
func (p *plan) start(o Options, std Stdio) (*session, error) {
	if p.machine.Channel == qemu.NoChannel {
		o.Control = "" // nobody could enter
	}
	listener, err := listenControl(o.Control)
	if err != nil {
		return nil, err
	}
	started := false
	defer func() {
		if !started {
			listener.Close()
		}
	}()
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
			fmt.Fprintf(std.own(), "%s\n", line)
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
		command: o.command(), std: std, process: process, timeout: o.StopTimeout,
		keys: p.config.Interactive, proxy: !o.NoSignals, started: o.Started, paused: o.Paused,
		orders: o.Orders,
		cancel: make(chan struct{}), failed: make(chan error, 2), copied: make(chan struct{}), checked: make(chan struct{}),
		watched: make(chan struct{}), left: make(chan struct{}),
	}
	if s.started == nil {
		s.started = func() {}
	}
	if o.Launched != nil {
		o.Launched(process.PID(), p.ports)
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
		errs := diskErrors{command: s.command, out: std.own(), disks: p.machine.Disks}
		if err := process.DiskErrors(errs.report); err != nil {
			trace("kiln run: failures of disks go unreported: " + err.Error())
		}
	}()
	s.carry(process.Channel)
	go s.serveControl(listener)
	if p.config.Interactive || p.config.Stdin {
		go s.copyInput()
	}
	started = true
	return s, nil
}

// carry passes on what the guest writes: on channel, which is nil on a machine
// that has none, and on its serial port.
func (s *session) carry(channel *os.File) {
	out, err := output.New(both(s.std.Out, s.std.OutCopy), s.failed, false), output.New(both(s.std.Err, s.std.ErrCopy), s.failed, true)
	serial := err
	s.link = newLink(nil, out, err)
	if channel == nil {
		serial = out
	} else {
		s.link.conn = channel
	}
	go s.link.serve()
	go func() {
		s.copySerial(serial)
		<-s.link.ended
		for _, o := range []*output.Output{out, err} {
			o.Close()
			<-o.Done()
		}
		close(s.copied)
	}()
}

// both returns a writer to a and b, of which b may be nil. What a fails with, b
// has got.
func both(a, b io.Writer) io.Writer {
	if b == nil {
		return a
	}
	return io.MultiWriter(b, a)
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
		fmt.Fprintf(s.std.own(), "%s: %s\n", s.command, note)
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
	stopBroken       // the guest broke the channel's rules
)

// serve waits for the machine to end.
func (s *session) serve(caught <-chan os.Signal, user *tty.Terminal) (int, error) {
	why := s.wait(caught, user)
	status := s.process.Status()
	<-s.link.ended
	<-s.watched
	select {
	case <-s.left:
	case <-time.After(abandonTime):
	}
	user.Restore()
	<-s.checked
	if s.damage != nil {
		return ExitUsage, &Error{ExitUsage, s.damage.Error(), ""}
	}
	if why == stopBroken {
		return ExitCrash, &Error{ExitCrash, fmt.Sprintf("the guest was ended: %v", s.link.broken), ""}
	}
	return outcome(status, s.link.exit, isClosed(s.link.ready) || s.shown > 0, why)
}

// abandonTime is how long output may take to be written once the machine was
// killed for what the user did, or the guest against the rules.
const abandonTime = 2 * time.Second

// wait carries out what signals ask until QEMU has ended and its output is
// passed on. It returns why it killed QEMU, if it did.
func (s *session) wait(caught <-chan os.Signal, user *tty.Terminal) stop {
	why := stopNone
	var abandon <-chan time.Time
	kill := func(reason stop) {
		if why == stopNone {
			why = reason
		}
		if reason == stopForced || reason == stopPipe || reason == stopBroken {
			abandon = time.After(abandonTime)
		}
		if err := s.process.Kill(); err != nil {
			fmt.Fprintf(s.std.own(), "%s: ending QEMU: %v\n", s.command, err)
		}
	}
	var ready <-chan time.Time
	alive := time.After(pausedTimeout)
	if !s.paused {
		ready, alive = time.After(readyTimeout), time.After(aliveTimeout)
	}
	exited, ended, cancel, live := s.link.exited, s.link.ended, s.cancel, s.link.ready
	var deadline, linger <-chan time.Time
	var hurry signals.Hurry
	for {
		select {
		case sig := <-caught:
			switch s.meaning(sig, deadline != nil, hurry.See(sig, time.Now()), user.Present()) {
			case signalResize:
				rows, cols := user.Size()
				s.link.send(channel.Request{Winsize: []uint16{rows, cols}})
			case signalPass:
				s.link.send(channel.Request{Signal: signals.Name(sig)})
			case signalEnd:
				s.link.send(channel.Request{Shutdown: true})
				deadline = time.After(s.timeout)
			case signalKill:
				kill(stopForced)
			}
		case order := <-s.orders:
			if order.Kill {
				kill(stopForced)
			} else if at := s.obey(order); at != nil {
				deadline = at
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
		case <-ended:
			ended = nil
			if s.link.broken != nil {
				kill(stopBroken)
			}
		case <-ready:
			s.link.setReady()
		case <-live:
			live, alive = nil, nil
			s.started()
		case <-alive:
			live, alive = nil, nil
			s.started()
		case <-s.failed:
			kill(stopPipe)
		case <-abandon:
			return why
		case <-s.copied:
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

// outcome tells what an ended machine means. exit is what the guest reported,
// if it did; shown whether it gave any sign of life.
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
	if why := status.CPUError(); why != "" {
		return fail(ExitUsage, "QEMU does not make that CPU: "+why, qemu.Binary+" -cpu help lists the models, and what can be added and taken away: --cpu MODEL,+FEATURE,-FEATURE")
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
	switch code := ending.Code(status.Code); code {
	case ending.Panic:
		return fail(ExitCrash, "the kernel crashed: report above", "")
	case ending.NoBoot:
		return fail(ExitCrash, "the image cannot boot on this machine: reason above", "")
	case ending.NoMemory:
		return fail(ExitCrash, "the kernel ran out of memory: report above", "give the machine more memory: -M MB")
	default:
		return code, nil
	}
}
