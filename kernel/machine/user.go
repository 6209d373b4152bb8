package machine

import (
	"syscall"
	"unsafe"

	"kiln/kernel/metal/abi"
)

// Exit says why User.Enter returned: a CPU exception vector (0–31) or one of
// the values below.
type Exit uint64

const (
	ExitSyscall   Exit = abi.ExitSyscall   // the program executed SYSCALL
	ExitInterrupt Exit = abi.ExitInterrupt // Interrupt, a signal for the thread, or a device interrupt
	ExitNoMemory  Exit = abi.ExitNoMemory  // no page frame for a page that the program touched
)

// Exception vectors, Intel SDM vol. 3A §6.15.
const (
	ExitDivide     Exit = 0
	ExitDebug      Exit = 1
	ExitBreakpoint Exit = 3
	ExitOverflow   Exit = 4
	ExitBound      Exit = 5
	ExitInvalidOp  Exit = 6
	ExitNotPresent Exit = 11 // a segment
	ExitStack      Exit = 12
	ExitProtection Exit = 13
	ExitPageFault  Exit = 14
	ExitX87        Exit = 16
	ExitAlignment  Exit = 17
	ExitSIMD       Exit = 19
)

// DebugStep is set in DR6 after a single step, Intel SDM vol. 3B §17.2.3.
const DebugStep = 1 << 14

// Page fault error code bits, Intel SDM vol. 3A §4.7.
const (
	FaultProtection = 1 << 0 // the page was present
	FaultWrite      = 1 << 1
	FaultUser       = 1 << 2
	FaultExec       = 1 << 4
)

// User is one ring-3 context. It must be heap allocated and is used by one
// goroutine at a time, except for Interrupt.
type User struct {
	ctx  abi.UserContext
	regs *Registers
	fp   *byte
}

// Enter runs the program in page table pt from regs until it traps and
// returns why. regs then hold the program's registers: after ExitSyscall RIP
// is past the SYSCALL instruction and RAX still the call's number.
//
// fp is an XSAVE area in standard format, 64-byte aligned. SSE and AVX state
// is written to it before Enter returns; x87 state may stay in the CPU until
// SaveFP.
//
// While Enter runs, the goroutine keeps its M and P.
func (u *User) Enter(pt PageTable, regs *Registers, fp *byte) Exit {
	u.regs, u.fp = regs, fp // keep them reachable
	u.ctx.Regs = uintptr(unsafe.Pointer(regs))
	u.ctx.FP = uintptr(unsafe.Pointer(fp))
	u.ctx.PT = uintptr(pt)
	enterUser(&u.ctx)
	return Exit(u.ctx.Vector)
}

// enterUser is the EnterUser hostcall. Metal preserves only RSP, RBP and R14
// across it.
//
//go:noescape
func enterUser(ctx *abi.UserContext)

// Fault returns the error code of the exception that ended the last Enter, DR6
// for ExitDebug; and the address of a page fault.
func (u *User) Fault() (errorCode, addr uint64) { return u.ctx.ErrorCode, u.ctx.Addr }

// Interrupt makes a running Enter, or else the next one, return ExitInterrupt.
// It may be called from any goroutine.
func (u *User) Interrupt() {
	syscall.RawSyscall(abi.SysInterrupt, uintptr(unsafe.Pointer(&u.ctx)), 0, 0)
}

// SaveFP writes the state that is still in the CPU, of any User, to the area
// that the User last passed to Enter, so that the areas hold the programs'
// whole floating point state. The caller may then use the x87 unit itself.
func SaveFP() { syscall.RawSyscall(abi.SysFPSave, 0, 0, 0) }

// DropFP makes the area passed to the next Enter count as the whole floating
// point state, whatever the CPU still holds. Call it when the area was
// changed, and before the area or u is given up.
func (u *User) DropFP() {
	syscall.RawSyscall(abi.SysFPDrop, uintptr(unsafe.Pointer(&u.ctx)), 0, 0)
}
