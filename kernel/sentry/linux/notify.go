package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// notifyCorrection: F_NOTIFY without events, fcntl(2).
//
// Linux takes that as the end of what was asked for before, and returns 0 also if
// that was nothing (fs/notify/dnotify/dnotify.c, fcntl_dirnotify). gVisor refuses
// all of F_NOTIFY with EINVAL, so there is nothing to end. test/linux/src/locks.c.
var notifyCorrection = correction{name: "notify", calls: map[uintptr]Wrapper{unix.SYS_FCNTL: endOfNothing}}

// multishot is DN_MULTISHOT, which changes how often events are told.
const multishot = 1 << 31

func endOfNothing(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if args[1].Int() != unix.F_NOTIFY || args[2].Uint64()&^multishot != 0 {
			return next(t, nr, args)
		}
		file := t.GetFile(args[0].Int())
		if file == nil {
			return 0, nil, linuxerr.EBADF
		}
		defer file.DecRef(t)
		if file.StatusFlags()&unix.O_PATH != 0 {
			return 0, nil, linuxerr.EBADF
		}
		return 0, nil, nil
	}
}
