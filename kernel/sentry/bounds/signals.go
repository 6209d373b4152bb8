package bounds

import (
	"math"

	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/limits"

	"kiln/kernel/sentry/linux"
)

// signalCalls bounds signals that wait, and timers, which have a signal allotted:
// RLIMIT_SIGPENDING in getrlimit(2), __sigqueue_alloc in kernel/signal.c. Real-time
// signals fail; others are sent without what else is known of them, and the Sentry
// keeps one of each only.
func (b *Bounds) signalCalls() map[uintptr]linux.Wrapper {
	return map[uintptr]linux.Wrapper{
		unix.SYS_TIMER_CREATE: failing(func(t *kernel.Task, _ arch.SyscallArguments) error {
			return b.takeSignal(t, t)
		}),
		unix.SYS_RT_SIGQUEUEINFO: failing(func(t *kernel.Task, args arch.SyscallArguments) error {
			return b.queueSignal(t, args[0].Int(), abi.Signal(args[1].Int()))
		}),
		unix.SYS_RT_TGSIGQUEUEINFO: failing(func(t *kernel.Task, args arch.SyscallArguments) error {
			return b.queueSignal(t, args[1].Int(), abi.Signal(args[2].Int()))
		}),
	}
}

// queueSignal is takeSignal for a signal to a task with a number.
func (b *Bounds) queueSignal(t *kernel.Task, tid int32, sig abi.Signal) error {
	target := t.PIDNamespace().TaskWithID(kernel.ThreadID(tid))
	if !sig.IsRealtime() || target == nil || !t.MayKill(target, sig) {
		return nil // the call says what is wrong
	}
	return b.takeSignal(t, target)
}

// takeSignal adds a signal to what target's user has.
func (b *Bounds) takeSignal(t, target *kernel.Task) error {
	most := target.ThreadGroup().Limits().Get(limits.SignalsPending).Cur
	if !b.take(t, target, pendingSignals, 1, int64(min(most, math.MaxInt64))) {
		return linuxerr.EAGAIN
	}
	return nil
}
