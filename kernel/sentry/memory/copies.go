package memory

import (
	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/linux"
)

// smallMachine is the memory, in bytes, below which few pages are copied at once.
const smallMachine = 128 << 20

// fewCopied has the Sentry copy few pages at a write after fork.
//
// A write to a page that is another process', too, copies the 2 MB around it as
// far as they are mapped, including what was never touched: both the original and
// the copy have all of these pages then. So a process of 3 MB that forks may need
// 12. Only for stacks the Sentry copies the page with its two neighbours, and a
// mapping is a stack's if it was made with MAP_STACK, which else does nothing,
// as in Linux. On a small machine all that programs map without a file is stacks,
// then. Not so is what brk gives, and the data of files, which the dynamic linker
// writes to from its beginning to its end.
//
// To write to all pages after a fork takes some seven times as long that way, so
// larger machines copy more at once.
func (k *Keeper) fewCopied() map[uintptr]linux.Wrapper {
	if k.total*machine.PageSize >= smallMachine {
		return nil
	}
	return map[uintptr]linux.Wrapper{unix.SYS_MMAP: func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if flags := args[3].Int(); flags&abi.MAP_ANONYMOUS != 0 && flags&abi.MAP_PRIVATE != 0 {
				args[3] = arch.SyscallArgument{Value: args[3].Value | abi.MAP_STACK}
			}
			return next(t, nr, args)
		}
	}}
}
