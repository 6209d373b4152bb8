package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// signalfdCorrection: a signalfd whose mask is replaced.
//
// Linux returns the descriptor that it was given (signalfd(2); do_signalfd4 in
// fs/signalfd.c). gVisor returns 0. test/linux/src/signalfd.c.
var signalfdCorrection = correction{
	name: "signalfd",
	calls: map[uintptr]Wrapper{
		unix.SYS_SIGNALFD:  returnDescriptor,
		unix.SYS_SIGNALFD4: returnDescriptor,
	},
}

func returnDescriptor(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, sysno, args)
		if fd := args[0].Int(); err == nil && fd != -1 {
			return uintptr(fd), ctrl, nil
		}
		return n, ctrl, err
	}
}
