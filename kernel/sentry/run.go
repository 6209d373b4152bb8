package sentry

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/sentry/platform"
)

// Run starts the program and waits for init to end. Requests of the host come
// in, and nothing is written, through control, which may be nil.
func (s *Sentry) Run(control io.Reader) (Exit, error) {
	init, err := s.createInit()
	if err != nil {
		return Exit{}, err
	}
	if err := s.awaitNetwork(); err != nil {
		return Exit{}, err
	}
	if err := s.kernel.Start(); err != nil {
		return Exit{}, err
	}
	s.console.start()
	if control != nil {
		go s.serveControl(control, init)
	}
	init.WaitExited()
	s.console.drain()
	return describeExit(init.ExitStatus(), s.faultOf(init)), nil
}

// faultOf returns the exception that init died of, or nil.
func (s *Sentry) faultOf(init *kernel.ThreadGroup) *platform.Fault {
	f := s.platform.LastFault()
	if f == nil {
		return nil
	}
	t := kernel.TaskFromContext(f.Ctx)
	if t == nil || t.ThreadGroup() != init {
		return nil
	}
	return f
}

// describeExit says how a process with status ws ended. fault is the exception
// that ended it, if one did.
func describeExit(ws linux.WaitStatus, fault *platform.Fault) Exit {
	if !ws.Signaled() {
		return Exit{Code: int(ws.ExitStatus())}
	}
	sig := ws.TerminationSignal()
	e := Exit{
		Code:   128 + int(sig),
		Reason: "program killed by " + signalName(sig),
	}
	if fault != nil && linux.Signal(fault.Signal) == sig {
		e.Reason += fmt.Sprintf(" (address %#x, instruction %#x)", fault.Addr, fault.IP)
	}
	return e
}

// signalName returns a signal's name as in signal(7).
func signalName(sig linux.Signal) string {
	if name := unix.SignalName(unix.Signal(sig)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}

// signal sends sig to init as from the kernel.
func (s *Sentry) signal(init *kernel.ThreadGroup, sig linux.Signal) error {
	return s.kernel.SendExternalSignalThreadGroup(init, &linux.SignalInfo{
		Signo: int32(sig),
		Code:  linux.SI_KERNEL,
	})
}

// shutdown asks init to end, and after the grace period makes it.
func (s *Sentry) shutdown(init *kernel.ThreadGroup) error {
	if err := s.signal(init, linux.SIGTERM); err != nil {
		return err
	}
	time.AfterFunc(s.config.Grace, func() {
		// Run returns before this if SIGTERM was enough. A failure means
		// that init has just gone.
		_ = s.signal(init, linux.SIGKILL)
	})
	return nil
}
