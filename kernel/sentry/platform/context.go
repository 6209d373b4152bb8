package platform

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/platform"

	"kiln/kernel/machine"
)

// taskContext is one task's ring 3. It implements platform.Context.
type taskContext struct {
	platform.NoCPUNumbers
	platform *Platform
	user     machine.User
	info     linux.SignalInfo // what Switch returns; the task reads it before the next Switch

	entered bool // user has run: there may be state in the CPU
	pulled  bool // see Platform.pulled
	held    promise
	exits   bool // it has the place in Platform.exit

	// fault is set when the last Switch ended with an exception, with the
	// context of the task that raised it.
	fault    bool
	faultCtx context.Context
	faultIP  uint64

	// interrupted is set by Interrupt and makes Switch return.
	interrupted atomic.Bool
}

// Switch implements platform.Context.
func (c *taskContext) Switch(ctx context.Context, mm platform.MemoryManager, ac *arch.Context64, _ int32) (*linux.SignalInfo, hostarch.AccessType, error) {
	table := mm.AddressSpace().(*space).table
	regs := registers(&ac.StateData().Regs.PtraceRegs)
	fp := ac.FloatingPointData().BytePointer()
	c.fault = false
	c.unpull()
	c.unhold()
	for {
		if !enterable(regs) {
			return c.faulted(ctx, regs, c.refuse(regs))
		}
		if c.interrupted.Load() && c.interrupted.Swap(false) {
			return nil, hostarch.NoAccess, platform.ErrContextInterrupt
		}
		c.entered = true
		exit := c.user.Enter(table, regs, fp)
		if c.platform.pulled.Load() != 0 {
			machine.SaveFP()
		}
		switch exit {
		case machine.ExitSyscall:
			if !c.hold(ctx, regs) {
				regs.RIP -= syscallLength // not yet made
				return nil, hostarch.NoAccess, platform.ErrContextInterrupt
			}
			if resetsFP(regs.RAX) {
				c.pull()
			}
			regs.OrigRAX = regs.RAX
			regs.RAX = negENOSYS
			return nil, hostarch.NoAccess, nil

		case machine.ExitInterrupt:
			// Interrupt, seen at the top of the loop; or a signal to this
			// thread or a device interrupt: let others run.
			c.platform.hooks.Poll()
			runtime.Gosched()

		case machine.ExitPageFault:
			code, addr := c.user.Fault()
			if !c.holdForFault(ctx, code) {
				return nil, hostarch.NoAccess, platform.ErrContextInterrupt
			}
			if supervisorAccess(code, addr) {
				t := transfer{ctx: ctx, mem: mm, regs: regs}
				if exit = t.run(); exit == transferDone {
					continue
				}
				code, addr = t.code, t.addr
			}
			return c.faulted(ctx, regs, c.exception(exit, regs, fp, code, addr))

		case machine.ExitNoMemory:
			c.platform.hooks.NoMemory(ctx)
			return nil, hostarch.NoAccess, platform.ErrContextInterrupt

		default:
			code, addr := c.user.Fault()
			return c.faulted(ctx, regs, c.exception(exit, regs, fp, code, addr))
		}
	}
}

// negENOSYS is what a system call returns unless it says otherwise. The
// Sentry relies on the platform for it.
const negENOSYS = ^uint64(unix.ENOSYS) + 1

// syscallLength is the length of the SYSCALL instruction in bytes.
const syscallLength = 2

// noSyscall in OrigRAX tells the Sentry that there is no system call to
// restart.
const noSyscall = ^uint64(0)

// enterable reports whether the CPU can load regs in ring 3. A program can
// bring about other values through sigreturn, ptrace and a far transfer; IRET
// and WRMSR would then fault in ring 0.
func enterable(regs *machine.Registers) bool {
	return regs.RIP < 1<<47 && canonical(regs.FSBase) && canonical(regs.GSBase)
}

// refuse fills c.info for registers that are not enterable, as if the CPU had
// gone on with them in ring 3: an address of the kernel's half is a page fault.
func (c *taskContext) refuse(regs *machine.Registers) hostarch.AccessType {
	if regs.RIP >= 1<<47 && canonical(regs.RIP) {
		return c.pageFault(machine.FaultUser|machine.FaultExec, regs.RIP)
	}
	c.signal(unix.SIGSEGV, linux.SI_KERNEL, 0)
	return hostarch.NoAccess
}

// canonical reports whether bits 63 to 47 of an address are equal, as the CPU
// requires (Intel SDM vol. 1 §3.3.7.1).
func canonical(addr uint64) bool { return uint64(int64(addr<<16)>>16) == addr }

// Interrupt implements platform.Context.
func (c *taskContext) Interrupt() {
	// If Switch consumes the flag before user.Interrupt, the next Enter ends
	// for nothing, which does no harm. The other way round would lose it.
	if !c.interrupted.Swap(true) {
		c.user.Interrupt()
	}
}

// Preempt implements platform.Context: Switch yields to other goroutines. It
// does not return, for the task has nothing to look at.
func (c *taskContext) Preempt() { c.user.Interrupt() }

// pull brings the floating point state of all contexts to memory, until the
// task comes back to Switch.
func (c *taskContext) pull() {
	if !c.pulled {
		c.pulled = true
		c.platform.pulled.Add(1)
	}
	machine.SaveFP()
}

// unpull ends the effect of pull.
func (c *taskContext) unpull() {
	if c.pulled {
		c.pulled = false
		c.platform.pulled.Add(-1)
	}
}

// resetsFP reports whether the Sentry makes a fresh floating point state in
// system call nr. Other than these it does so for a signal handler, after
// PullFullState.
func resetsFP(nr uint64) bool {
	return nr == unix.SYS_EXECVE || nr == unix.SYS_RT_SIGRETURN || nr == unix.SYS_EXECVEAT
}

// PullFullState implements platform.Context.
func (c *taskContext) PullFullState(platform.AddressSpace, *arch.Context64) error {
	c.pull()
	return nil
}

// FullStateChanged implements platform.Context.
func (c *taskContext) FullStateChanged() {
	if c.entered {
		c.user.DropFP()
	}
}

// Release implements platform.Context.
func (c *taskContext) Release() {
	c.unpull()
	c.unhold()
	c.endExit()
	c.platform.reserve.leave()
	c.FullStateChanged()
}

// PrepareSleep implements platform.Context.
func (c *taskContext) PrepareSleep() { c.blocks() }

// PrepareUninterruptibleSleep implements platform.Context.
func (c *taskContext) PrepareUninterruptibleSleep() { c.blocks() }

// PrepareStop implements platform.Context.
func (*taskContext) PrepareStop() {}

// PrepareExecve implements platform.Context.
func (*taskContext) PrepareExecve() {}

// PrepareExit implements platform.Context. If an exception was the last that
// the task did, it is what the task dies of.
func (c *taskContext) PrepareExit() {
	if c.fault {
		c.platform.fatal.Store(&Fault{
			Ctx:    c.faultCtx,
			Signal: unix.Signal(c.info.Signo),
			Addr:   c.info.Addr(),
			IP:     c.faultIP,
		})
	}
	c.faultCtx = nil
	c.beginExit()
}
