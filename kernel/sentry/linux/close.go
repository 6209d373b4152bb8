package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// closeCorrection: close(2) of a descriptor that is beyond the table.
//
// Linux says EBADF (fs/file.c, file_close_fd_locked). gVisor makes the table as
// large as the number wants, 32 MB for INT_MAX, and then says so
// (FDTable.Remove). The look at the table's size is one atomic load.
// test/linux/src/fdtable.c.
var closeCorrection = correction{
	name: "close",
	calls: map[uintptr]Wrapper{
		unix.SYS_CLOSE: func(next kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				if int(args[0].Int()) >= t.FDTable().CurrentMaxFDs() {
					return 0, nil, linuxerr.EBADF
				}
				return next(t, nr, args)
			}
		},
	},
}
