package platform

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/platform"

	"kiln/kernel/machine"
)

// Fault is an exception that a task raised.
type Fault struct {
	Ctx    context.Context // the task's
	Signal unix.Signal
	Addr   uint64 // that the signal carries: the data for a page fault, else the instruction
	IP     uint64
}

// Signal codes, Linux's include/uapi/asm-generic/siginfo.h.
const (
	segvMapErr  = 1
	segvAccErr  = 2
	illIllOpc   = 1
	fpeIntDiv   = 1
	fpeIntOvf   = 2
	fpeFltInv   = 7
	busAdrAln   = 1
	trapBrkpt   = 1
	trapTrace   = 2
	eflagsTrap  = 1 << 8 // EFLAGS.TF
	kernelOwned = linux.SI_KERNEL
)

// exceptions says which signal an exception becomes. Page faults are not here;
// codes and addresses are those of Linux's arch/x86/kernel/traps.c.
var exceptions = map[machine.Exit]struct {
	signal unix.Signal
	code   int32
	addr   bool // the signal carries the instruction's address
}{
	machine.ExitDivide:     {unix.SIGFPE, fpeIntDiv, true},
	machine.ExitBreakpoint: {unix.SIGTRAP, kernelOwned, false},
	machine.ExitOverflow:   {unix.SIGSEGV, kernelOwned, false},
	machine.ExitBound:      {unix.SIGSEGV, kernelOwned, false},
	machine.ExitInvalidOp:  {unix.SIGILL, illIllOpc, true},
	machine.ExitProtection: {unix.SIGSEGV, kernelOwned, false},
	machine.ExitX87:        {unix.SIGFPE, fpeFltInv, true},
	machine.ExitAlignment:  {unix.SIGBUS, busAdrAln, false},
	machine.ExitSIMD:       {unix.SIGFPE, fpeFltInv, true},
}

// exception fills c.info for an exception other than a page fault. Vectors
// that a program cannot raise, or only through segment registers, end up as
// SIGSEGV.
func (c *taskContext) exception(exit machine.Exit, regs *machine.Registers) {
	if exit == machine.ExitDebug {
		code := int32(trapBrkpt)
		if regs.RFLAGS&eflagsTrap != 0 {
			code = trapTrace
		}
		c.signal(unix.SIGTRAP, code, regs.RIP)
		return
	}
	e, ok := exceptions[exit]
	if !ok {
		e = exceptions[machine.ExitProtection]
	}
	var addr uint64
	if e.addr {
		addr = regs.RIP
	}
	c.signal(e.signal, e.code, addr)
}

// pageFault fills c.info for a page fault and returns what the program tried.
func (c *taskContext) pageFault(code, addr uint64) hostarch.AccessType {
	sig := int32(segvMapErr)
	if code&machine.FaultProtection != 0 {
		sig = segvAccErr
	}
	c.signal(unix.SIGSEGV, sig, addr)
	return hostarch.AccessType{
		Execute: code&machine.FaultExec != 0,
		Write:   code&machine.FaultWrite != 0,
		Read:    code&(machine.FaultExec|machine.FaultWrite) == 0,
	}
}

// signal sets c.info.
func (c *taskContext) signal(sig unix.Signal, code int32, addr uint64) {
	c.info = linux.SignalInfo{Signo: int32(sig), Code: code}
	c.info.SetAddr(addr)
}

// faulted returns from Switch with c.info.
func (c *taskContext) faulted(ctx context.Context, regs *machine.Registers, at hostarch.AccessType) (*linux.SignalInfo, hostarch.AccessType, error) {
	regs.OrigRAX = noSyscall
	c.fault, c.faultCtx, c.faultIP = true, ctx, regs.RIP
	return &c.info, at, platform.ErrContextSignal
}
