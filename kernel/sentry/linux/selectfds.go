package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// selectfdsCorrection: select(2) and pselect(2) with more descriptors than the
// table has.
//
// Linux looks at those that are in the table and ignores the rest
// (fs/select.c, core_sys_select). gVisor looks at all of them, or refuses more
// than a million. test/linux/src/fdtable.c.
var selectfdsCorrection = correction{
	name:  "selectfds",
	calls: map[uintptr]Wrapper{unix.SYS_SELECT: inTable, unix.SYS_PSELECT6: inTable},
}

// inTable lowers the number of descriptors, the first argument, to what the
// table has.
func inTable(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if most := t.FDTable().CurrentMaxFDs(); int(args[0].Int()) > most {
			args[0].Value = uintptr(most)
		}
		return next(t, nr, args)
	}
}
