package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// prlimitCorrection: prlimit(2) of a process that is not there.
//
// Linux reads the new limit first (EFAULT), then looks for the process, also by
// negative numbers (ESRCH), then at the limit's number (kernel/sys.c, prlimit64).
// gVisor says EINVAL of unknown limits first, and of negative processes.
// test/linux/src/prlimit.c.
var prlimitCorrection = correction{name: "prlimit", calls: map[uintptr]Wrapper{unix.SYS_PRLIMIT64: processFirst}}

func processFirst(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		pid := kernel.ThreadID(args[0].Int())
		if pid == 0 || pid > 0 && t.PIDNamespace().TaskWithID(pid) != nil {
			return next(t, nr, args)
		}
		if at := args[2].Pointer(); at != 0 {
			var limit [16]byte // struct rlimit64
			if _, err := t.CopyInBytes(at, limit[:]); err != nil {
				return 0, nil, linuxerr.EFAULT
			}
		}
		return 0, nil, linuxerr.ESRCH
	}
}
