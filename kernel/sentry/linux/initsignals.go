package linux

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// initsignalsCorrection: signals to process 1.
//
// Other processes send the first process of a PID namespace only signals that it
// handles or blocks (pid_namespaces(7); sig_task_ignored in kernel/signal.c): else a
// stray signal, even SIGKILL, would end the namespace, here the machine. gVisor
// delivers them. test/linux/src/initsignals.c.
//
// Signals that process 1 sends itself act, unlike on Linux: one that calls abort(3)
// is then reported as such. So do the owner's, which come from the host
// (kernel/sentry/control.go).
var initsignalsCorrection = correction{
	name: "initsignals",
	calls: map[uintptr]Wrapper{
		unix.SYS_KILL:              sparingAll,
		unix.SYS_TKILL:             sparing(byThread(0, 1)),
		unix.SYS_TGKILL:            sparing(byThread(1, 2)),
		unix.SYS_RT_SIGQUEUEINFO:   sparing(byThread(0, 1)),
		unix.SYS_RT_TGSIGQUEUEINFO: sparing(byThread(1, 2)),
		unix.SYS_PIDFD_SEND_SIGNAL: sparing(byPIDFD),
		unix.SYS_RT_SIGTIMEDWAIT:   awaiting,
	},
}

// A receiver returns to whom a call sends which signal, nil if it is nobody.
type receiver func(t *kernel.Task, args arch.SyscallArguments) (*kernel.Task, linux.Signal)

// byThread is the receiver of calls that name a thread and the signal in arguments.
func byThread(thread, signal int) receiver {
	return func(t *kernel.Task, args arch.SyscallArguments) (*kernel.Task, linux.Signal) {
		return t.PIDNamespace().TaskWithID(kernel.ThreadID(args[thread].Int())), linux.Signal(args[signal].Int())
	}
}

// byPIDFD is the receiver of pidfd_send_signal(2).
func byPIDFD(t *kernel.Task, args arch.SyscallArguments) (*kernel.Task, linux.Signal) {
	file := t.GetFile(args[0].Int())
	if file == nil {
		return nil, 0
	}
	defer file.DecRef(t)
	target, err := kernel.PIDFDTask(file)
	if err != nil {
		return nil, 0
	}
	return target, linux.Signal(args[1].Int())
}

// sparing has a call that would end an init process do nothing.
func sparing(to receiver) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if target, sig := to(t, args); target != nil && spared(t, target, sig) {
				if !t.MayKill(target, sig) {
					return 0, nil, linuxerr.EPERM
				}
				return 0, nil, nil
			}
			return next(t, sysno, args)
		}
	}
}

// sparingAll is sparing for kill(2), which may name a group of processes: the
// others in it get the signal. gVisor leaves out init itself where all processes
// are meant.
func sparingAll(next kernel.SyscallFn) kernel.SyscallFn {
	one := sparing(byThread(0, 1))(next)
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		pid, sig := args[0].Int(), linux.Signal(args[1].Int())
		switch {
		case pid > 0:
			return one(t, sysno, args)
		case pid == -1:
			return next(t, sysno, args)
		}
		group := kernel.ProcessGroupID(-pid)
		if pid == 0 {
			group = t.PIDNamespace().IDOfProcessGroup(t.ThreadGroup().ProcessGroup())
		}
		init := t.PIDNamespace().TaskWithID(initTID)
		if init == nil || t.PIDNamespace().IDOfProcessGroup(init.ThreadGroup().ProcessGroup()) != group || !spared(t, init, sig) {
			return next(t, sysno, args)
		}
		return 0, nil, killOthers(t, init.ThreadGroup(), group, sig)
	}
}

// killOthers sends sig to the processes of a group but one, which counts as having
// got it.
func killOthers(t *kernel.Task, but *kernel.ThreadGroup, group kernel.ProcessGroupID, sig linux.Signal) error {
	allowed := t.MayKill(but.Leader(), sig)
	for _, tg := range t.PIDNamespace().ThreadGroups() {
		if tg == but || t.PIDNamespace().IDOfProcessGroup(tg.ProcessGroup()) != group || !t.MayKill(tg.Leader(), sig) {
			continue
		}
		allowed = true
		info := &linux.SignalInfo{Signo: int32(sig), Code: linux.SI_USER}
		info.SetPID(int32(tg.PIDNamespace().IDOfTask(t)))
		info.SetUID(int32(t.Credentials().RealKUID.In(tg.Leader().UserNamespace()).OrOverflow()))
		if err := tg.SendSignal(info); err != nil && !linuxerr.Equals(linuxerr.ESRCH, err) { // ended since
			return err
		}
	}
	if !allowed {
		return linuxerr.EPERM
	}
	return nil
}

// spared reports whether target is the first process of a PID namespace and would
// end, stop or do nothing by sig, which it neither handles nor waits for, and which
// another process sends. Only from outside of its namespace, SIGKILL and SIGSTOP
// act.
func spared(t, target *kernel.Task, sig linux.Signal) bool {
	tg, ns := target.ThreadGroup(), target.PIDNamespace()
	if tg == t.ThreadGroup() || !sig.IsValid() || sig == linux.SIGCONT || !tg.IsInitIn(ns) {
		return false
	}
	if t.PIDNamespace() != ns && (sig == linux.SIGKILL || sig == linux.SIGSTOP) {
		return false
	}
	if linux.SignalSetOf(sig)&target.SignalMask() != 0 || awaited[sig].Load() != 0 {
		return false
	}
	action, err := tg.SetSigAction(sig, nil)
	return err != nil || action.Handler == linux.SIG_DFL // of SIGKILL and SIGSTOP nobody asks
}

// awaited counts, by signal, the threads that wait for it with sigwait(3) and its
// like. They have it unblocked meanwhile.
var awaited [linux.SignalMaximum + 1]atomic.Int32

// awaiting counts who waits.
func awaiting(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		var set linux.SignalSet
		if _, err := set.CopyIn(t, args[0].Pointer()); err != nil {
			return next(t, sysno, args)
		}
		linux.ForEachSignal(set, func(sig linux.Signal) { awaited[sig].Add(1) })
		defer linux.ForEachSignal(set, func(sig linux.Signal) { awaited[sig].Add(-1) })
		return next(t, sysno, args)
	}
}
