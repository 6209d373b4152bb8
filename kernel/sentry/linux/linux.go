// Package linux corrects the Sentry where it differs from Linux.
//
// gVisor is an unmodified module. Where it is wrong, a file of this package
// replaces or wraps entries of its system call table, or methods that it lets
// others replace: one file a correction, whose comment says what Linux does,
// with the man page or the file of Linux 6.1 that says so, what gVisor does,
// and which program of test/linux shows that the file can go. docs/linux.md
// lists the corrections; TestDocumented compares.
//
// A wrapped entry costs every call of it. Calls that programs make without end
// (getppid, read, write, open, close) are wrapped only where a comment says
// what that costs.
package linux

import (
	"fmt"

	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
)

// correction is one difference between gVisor and Linux, and its mend.
type correction struct {
	name  string               // of its file, and of its row in docs/linux.md
	calls map[uintptr]Wrapper  // by system call number
	apply func(*kernel.Kernel) // what else it needs, or nil
}

// A Wrapper returns what answers a system call instead of next. A system call
// that gVisor does not know has a next that returns ENOSYS.
type Wrapper func(next kernel.SyscallFn) kernel.SyscallFn

// corrections are all of them. Where two wrap a call, the later is asked first.
var corrections = []correction{
	aioCorrection,
	bindconnectCorrection,
	clocksCorrection,
	closeCorrection,
	corkCorrection,
	deadlockCorrection,
	emptyCorrection,
	epollctlCorrection,
	fallocateCorrection,
	ftruncateCorrection,
	holesCorrection,
	inflightCorrection,
	initsignalsCorrection,
	interfacesCorrection,
	locksCorrection,
	loopbackCorrection,
	netlinkCorrection,
	noatimeCorrection,
	nofollowCorrection,
	notifyCorrection,
	outqCorrection,
	priorityCorrection,
	prlimitCorrection,
	readonlyCorrection,
	rebootCorrection,
	recvCorrection,
	removedCorrection,
	renameCorrection,
	robustCorrection,
	schedCorrection,
	selectfdsCorrection,
	sendfileCorrection,
	signalfdCorrection,
	slashesCorrection,
	spliceCorrection,
	statxCorrection,
	tcpeventsCorrection,
	textbusyCorrection,
	tmpfileCorrection,
	unixinqCorrection,
	xattrCorrection,
}

// Correct applies all corrections to the system call table of k's programs, which
// has them from Install on.
// Call it once, before the first of them runs.
func Correct(k *kernel.Kernel) {
	for _, c := range corrections {
		for sysno, wrap := range c.calls {
			replace(sysno, c.name, wrap)
		}
		if c.apply != nil {
			c.apply(k)
		}
	}
}

// Wrap has calls, by system call number, answered by what their wrappers return,
// from Install on. No task may run yet.
func Wrap(calls map[uintptr]Wrapper) {
	for sysno, wrap := range calls {
		replace(sysno, "", wrap)
	}
}

// Install has the system call table of programs take over what Correct and Wrap
// changed. It is called once, after them: it goes over the whole table, which takes
// a hundred thousand instructions.
func Install() { linux.AMD64.Init() }

// replace changes an entry of the table, which Install then takes over.
func replace(sysno uintptr, name string, wrap Wrapper) {
	entry, ok := linux.AMD64.Table[sysno]
	if !ok {
		entry = kernel.Syscall{Name: fmt.Sprintf("%s (%d)", name, sysno), Fn: missing, SupportLevel: kernel.SupportFull}
	}
	entry.Fn = wrap(entry.Fn)
	linux.AMD64.Table[sysno] = entry
}

// missing answers a call that is not in gVisor's table.
func missing(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	n, err := linux.AMD64.Missing(t, sysno, args)
	return n, nil, err
}

// instead returns the wrapper of a correction that never asks gVisor.
func instead(fn kernel.SyscallFn) Wrapper {
	return func(kernel.SyscallFn) kernel.SyscallFn { return fn }
}
