package bounds

import (
	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/limits"

	"kiln/kernel/sentry/linux"
)

// Limits sets the limits that Linux computes for process 1 (include/asm-generic/
// resource.h; fork_init in kernel/fork.c), on a machine with at most so many
// tasks.
func Limits(ls *limits.LimitSet, threads int) {
	half := limits.Limit{Cur: uint64(threads / 2), Max: uint64(threads / 2)}
	ls.SetUnchecked(limits.ProcessCount, half)
	ls.SetUnchecked(limits.SignalsPending, half)
	ls.SetUnchecked(limits.MemoryLocked, limits.Limit{Cur: lockedBytes, Max: lockedBytes})
}

// lockedBytes is MLOCK_LIMIT in include/uapi/linux/resource.h.
const lockedBytes = 8 << 20

// unset are limits that gVisor has but nobody may set.
var unset = map[int32]limits.LimitType{
	abi.RLIMIT_SIGPENDING: limits.SignalsPending,
	abi.RLIMIT_MSGQUEUE:   limits.MessageQueueBytes,
	abi.RLIMIT_NICE:       limits.Nice,
	abi.RLIMIT_RTTIME:     limits.Rttime,
	abi.RLIMIT_LOCKS:      limits.Locks,
}

// limitCalls are setrlimit(2) and prlimit(2) for those limits.
var limitCalls = map[uintptr]linux.Wrapper{
	unix.SYS_SETRLIMIT: func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			kind, ours := unset[args[0].Int()]
			if !ours {
				return next(t, nr, args)
			}
			l, err := readLimit(t, args[1].Pointer())
			if err != nil {
				return 0, nil, err
			}
			return 0, nil, setLimit(t, t, kind, l)
		}
	},
	unix.SYS_PRLIMIT64: func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			kind, ours := unset[args[1].Int()]
			if !ours || args[2].Pointer() == 0 {
				return next(t, nr, args)
			}
			l, err := readLimit(t, args[2].Pointer())
			if err != nil {
				return 0, nil, err
			}
			target := t
			if pid := kernel.ThreadID(args[0].Int()); pid > 0 {
				target = t.PIDNamespace().TaskWithID(pid)
			}
			// Without a new limit, gVisor finds the process, checks the rights,
			// and gives the old one.
			args[2] = arch.SyscallArgument{}
			if n, ctrl, err := next(t, nr, args); err != nil || target == nil {
				return n, ctrl, err
			}
			return 0, nil, setLimit(t, target, kind, l)
		}
	},
}

// readLimit reads a struct rlimit64.
func readLimit(t *kernel.Task, addr hostarch.Addr) (limits.Limit, error) {
	var words [2]uint64
	if _, err := primitive.CopyUint64SliceIn(t, addr, words[:]); err != nil {
		return limits.Limit{}, err
	}
	if words[0] > words[1] {
		return limits.Limit{}, linuxerr.EINVAL
	}
	return limits.Limit{Cur: limits.FromLinux(words[0]), Max: limits.FromLinux(words[1])}, nil
}

// setLimit sets target's limit, for t.
func setLimit(t, target *kernel.Task, kind limits.LimitType, l limits.Limit) error {
	_, err := target.ThreadGroup().Limits().Set(kind, l, t.HasRootCapability(abi.CAP_SYS_RESOURCE))
	return err
}
