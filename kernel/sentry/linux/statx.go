package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// statxCorrection: statx(2) that asks for little.
//
// A mask only says what must be right: Linux fills in all that costs nothing
// (vfs_getattr in fs/stat.c), so that programs find a size without STATX_SIZE.
// gVisor's overlay leaves out what was not asked for. test/linux/src/files.c.
var statxCorrection = correction{
	name: "statx",
	calls: map[uintptr]Wrapper{unix.SYS_STATX: func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if args[3].Uint()&linux.STATX__RESERVED == 0 {
				args[3].Value |= linux.STATX_BASIC_STATS
			}
			return next(t, sysno, args)
		}
	}},
}
