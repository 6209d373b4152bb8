package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// spliceCorrection: splice(2) to files that are appended to, and from directories.
//
// Linux refuses both with EINVAL (do_splice in fs/splice.c). gVisor appends, and
// says EISDIR. test/linux/src/copies.c.
var spliceCorrection = correction{
	name: "splice",
	calls: map[uintptr]Wrapper{unix.SYS_SPLICE: func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if out := t.GetFile(args[2].Int()); out != nil {
				defer out.DecRef(t)
				if out.IsWritable() && out.StatusFlags()&linux.O_APPEND != 0 && args[4].SizeT() != 0 {
					return 0, nil, linuxerr.EINVAL
				}
			}
			n, ctrl, err := next(t, sysno, args)
			if linuxerr.Equals(linuxerr.EISDIR, err) {
				err = linuxerr.EINVAL
			}
			return n, ctrl, err
		}
	}},
}
