package sentry

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/machine"
	"kiln/kernel/notice"
	calls "kiln/kernel/sentry/linux"
	"kiln/kernel/sentry/platform"
	"kiln/kernel/sentry/tracing"
)

// Run starts the program and waits for it to end, or runs several one after
// the other.
func (s *Sentry) Run() (Exit, error) {
	defer s.unmount()
	exit, err := s.runPrograms()
	if s.tracer != nil {
		s.tracer.Summary()
	}
	if err == nil && exit.Code != 0 {
		for _, line := range s.missing.Lines() {
			notice.Printf("%s", line)
		}
	}
	return exit, err
}

// runPrograms is Run, but for what is said in the end and the file systems.
func (s *Sentry) runPrograms() (Exit, error) {
	if len(s.config.Programs) > 1 {
		return s.runSequence()
	}
	if len(s.config.Programs) == 0 {
		return Exit{}, errors.New("the image names no program")
	}
	init, err := s.createInit(s.config.Programs[0])
	if err != nil {
		return Exit{}, err
	}
	if err := s.awaitNetwork(); err != nil {
		return Exit{}, err
	}
	if err := s.startKernel(); err != nil {
		return Exit{}, err
	}
	s.console.start()
	s.running.add(init)
	if s.config.Link != nil {
		go s.serveRequests(s.config.Link.Requests())
		go s.serveSessions(s.config.Link.Sessions())
	}
	init.WaitExited()
	s.logMemory()
	s.console.drain()
	return s.exitOf(init), nil
}

// startKernel lets tasks run.
func (s *Sentry) startKernel() error {
	s.networks.releaseLater()
	s.networks.countWrites()
	if s.config.Faults != 0 {
		machine.FailFrames(s.config.Faults)
		s.memory.Reserve().NeverAmple()
	}
	calls.Install()
	if s.tracer != nil {
		tracing.Start()
	}
	if err := s.kernel.Start(); err != nil {
		return err
	}
	s.started = true
	return nil
}

// logMemory logs how many frames were taken for programs' pages that were not
// promised: none, if the invariant of docs/memory.md holds.
func (s *Sentry) logMemory() {
	m, err := machine.Memory()
	if err != nil {
		log.Warningf("memory: %v", err)
		return
	}
	log.Infof("memory: %d frames for programs' pages below the floor of %d", m.Below, m.Floor)
}

// exitOf says how process tg, which has ended, did so.
func (s *Sentry) exitOf(tg *kernel.ThreadGroup) Exit {
	return describeExit(tg.ExitStatus(), s.faultOf(tg))
}

// faultOf returns the exception that process tg died of, or nil.
func (s *Sentry) faultOf(tg *kernel.ThreadGroup) *platform.Fault {
	f := s.platform.LastFault()
	if f == nil {
		return nil
	}
	t := kernel.TaskFromContext(f.Ctx)
	if t == nil || t.ThreadGroup() != tg {
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

// signal sends sig to what runs, as from the kernel.
func (s *Sentry) signal(sig linux.Signal) error {
	var errs []error
	for _, tg := range s.running.list() {
		err := s.kernel.SendExternalSignalThreadGroup(tg, &linux.SignalInfo{
			Signo: int32(sig),
			Code:  linux.SI_KERNEL,
		})
		if !linuxerr.Equals(linuxerr.ESRCH, err) { // else it has just ended
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// stopSignal is what asks a program to end.
func (s *Sentry) stopSignal() linux.Signal {
	if sig := signalNumber(s.config.Stop); sig != 0 {
		return sig
	}
	return linux.SIGTERM
}

// shutdown asks what runs to end, and after the grace period makes it. Nothing
// more is started.
func (s *Sentry) shutdown() error {
	s.running.end()
	if err := s.signal(s.stopSignal()); err != nil {
		return err
	}
	time.AfterFunc(s.config.Grace, func() {
		// Run returns before this if the request was enough.
		if err := s.signal(linux.SIGKILL); err != nil {
			notice.Printf("killing what did not end: %v", err)
		}
	})
	return nil
}
