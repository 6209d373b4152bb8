package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// noatimeCorrection: open(2) with O_NOATIME.
//
// Linux lets the owner and root have it, others get EPERM (may_open in fs/namei.c).
// gVisor asks nobody but fcntl(2). test/linux/src/noatime.c.
var noatimeCorrection = correction{
	name: "noatime",
	calls: map[uintptr]Wrapper{
		unix.SYS_OPEN:    noatimeWrapper(openArguments),
		unix.SYS_OPENAT:  noatimeWrapper(openatArguments),
		unix.SYS_OPENAT2: noatimeWrapper(openat2Arguments),
	},
}

func noatimeWrapper(request func(*kernel.Task, arch.SyscallArguments) openRequest) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			r := request(t, args)
			if r.flags&linux.O_NOATIME != 0 && r.flags&linux.O_PATH == 0 {
				if err := r.mayHideAccess(t); err != nil {
					return 0, nil, err
				}
			}
			return next(t, sysno, args)
		}
	}
}

// mayHideAccess returns EPERM if r opens a file that exists and is another's.
func (r openRequest) mayHideAccess(t *kernel.Task) error {
	f, ok := r.existing(t)
	if !ok {
		return nil
	}
	defer f.at.DecRef(t)
	if vfs.CanActAsOwner(t.Credentials(), auth.KUID(f.stat.UID)) {
		return nil
	}
	return linuxerr.EPERM
}
