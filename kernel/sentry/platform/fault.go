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
	illIllOpn   = 2
	fpeIntDiv   = 1
	fpeFltDiv   = 3
	fpeFltOvf   = 4
	fpeFltUnd   = 5
	fpeFltRes   = 6
	fpeFltInv   = 7
	busAdrAln   = 1
	trapBrkpt   = 1
	trapTrace   = 2
	kernelOwned = linux.SI_KERNEL
)

// exceptions says which signal an exception becomes, and with which code,
// those aside whose code depends on more. Codes and addresses are those of
// Linux's arch/x86/kernel/traps.c.
var exceptions = map[machine.Exit]struct {
	signal unix.Signal
	code   int32
	addr   bool // the signal carries the instruction's address
}{
	machine.ExitDivide:     {unix.SIGFPE, fpeIntDiv, true},
	machine.ExitBreakpoint: {unix.SIGTRAP, kernelOwned, false},
	machine.ExitOverflow:   {unix.SIGSEGV, kernelOwned, false},
	machine.ExitBound:      {unix.SIGSEGV, kernelOwned, false},
	machine.ExitInvalidOp:  {unix.SIGILL, illIllOpn, true},
	machine.ExitNotPresent: {unix.SIGBUS, kernelOwned, false},
	machine.ExitStack:      {unix.SIGBUS, kernelOwned, false},
	machine.ExitProtection: {unix.SIGSEGV, kernelOwned, false},
	machine.ExitAlignment:  {unix.SIGBUS, busAdrAln, false},
}

// exception fills c.info for an exception of the program, whose floating point
// area is at fp. code and addr are what machine.User.Fault says of it. It
// returns what the program tried if that was a page fault. Vectors that a
// program cannot raise end up as SIGSEGV.
func (c *taskContext) exception(exit machine.Exit, regs *machine.Registers, fp *byte, code, addr uint64) hostarch.AccessType {
	switch exit {
	case machine.ExitPageFault:
		return c.pageFault(code, addr)
	case machine.ExitDebug:
		cause := int32(trapBrkpt)
		if code&machine.DebugStep != 0 {
			cause = trapTrace
		}
		c.signal(unix.SIGTRAP, cause, regs.RIP)
		return hostarch.NoAccess
	case machine.ExitX87:
		machine.SaveFP()
		c.signal(unix.SIGFPE, x87Code(fxsaveArea(fp)), regs.RIP)
		return hostarch.NoAccess
	case machine.ExitSIMD:
		c.signal(unix.SIGFPE, simdCode(fxsaveArea(fp)), regs.RIP)
		return hostarch.NoAccess
	}
	e, ok := exceptions[exit]
	if !ok {
		e = exceptions[machine.ExitProtection]
	}
	var at uint64
	if e.addr {
		at = regs.RIP
	}
	c.signal(e.signal, e.code, at)
	return hostarch.NoAccess
}

// pageFault fills c.info for a page fault and returns what the program tried.
func (c *taskContext) pageFault(code, addr uint64) hostarch.AccessType {
	sig := int32(segvMapErr)
	// Linux does not tell what is mapped in the kernel's half.
	if code&machine.FaultProtection != 0 && addr < maxUserAddress {
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
