package main

import "kiln/kernel/metal/abi"

// The structures below are read and written by assembly through go_asm.h, so
// their fields are retyped nowhere.

// registers is abi.Registers, with offsets that assembly can name. It is also
// what the CPU pushes: SS down to RIP by hardware, the rest by the trap entry.
type registers struct {
	R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8,
	RAX, RCX, RDX, RSI, RDI, OrigRAX, RIP, CS, RFLAGS, RSP, SS,
	FSBase, GSBase, DS, ES, FS, GS uint64
}

// userContext is abi.UserContext.
type userContext struct {
	Regs      uintptr
	FP        uintptr
	PT        uintptr
	Vector    uint64
	ErrorCode uint64
	Addr      uint64
	Pending   uint64
	Owner     uint64
}

// The conversions do not compile if a field differs.
var (
	_ = registers(abi.Registers{})
	_ = userContext(abi.UserContext{})
)

// What a thread's saved registers are, and so how it is resumed.
const (
	// kindCall: the thread made a hostcall. RCX and R11 are dead, the FPU
	// holds nothing of the thread's.
	kindCall = 0
	// kindTrap: the thread was interrupted in ring 0; its SSE and AVX
	// state is in its FP area.
	kindTrap = 1
	// kindUser: the thread was interrupted in ring 3; the program's
	// floating point state is in userContext.FP.
	kindUser = 2
)

// Numbers for assembly, which sees this package's constants only.
const (
	sysEnterUser  = abi.SysEnterUser
	exitSyscall   = abi.ExitSyscall
	exitInterrupt = abi.ExitInterrupt
	exitNoMemory  = abi.ExitNoMemory

	vectorPageFault  = 14
	vectorProtection = 13

	// Selectors, the same as Linux's, which programs and gVisor may see.
	selKernelCode = 0x10
	selKernelData = 0x18
	selUserBase   = 0x23 // SYSRET: SS = base+8, CS = base+16
	selUserData   = 0x2b
	selUserCode   = 0x33
	selTSS        = 0x40

	// userFlags are the RFLAGS bits that a program may set: CF PF AF ZF SF
	// TF DF OF RF AC ID.
	userFlags   = 0x250dd5
	alwaysFlags = 0x202 // IF and the bit that reads as one

	fxMXCSR = 24  // offset of MXCSR in an FXSAVE image
	fxXMM   = 160 // offset of XMM0
	// xsaveBV is the offset of XSTATE_BV, Intel SDM vol. 1 §13.4.2.
	xsaveBV = 512
)

// percpu is a CPU's own data; GS points to it in ring 0.
type percpu struct {
	self         uintptr
	cur          *thread
	handlerStack uintptr // top
	scratch      uint64
	inHandler    uint64 // 1 while the CPU runs metal on handlerStack
	irqPending   uint64 // a device interrupt fired since the last epoll_pwait
	tss          *taskState
	fsLoaded     uint64 // FS base in the CPU, for ring 0 threads

	user     *userContext // what runs in ring 3, nil in ring 0
	userRegs uintptr      // user.Regs
	userFP   uintptr      // user.FP
	userGS   uint64       // GS base that SWAPGS gives ring 3
	cr3      uintptr
	x87      *userContext // whose x87 state the CPU holds; SSE mode only

	xsave      uint64 // 1: XSAVE mode, 0: SSE mode; see float.go
	xcr0       uint64 // in XSAVE mode, the state components in use
	kernelXCR0 uint64 // xcr0 without x87
	mxcsr      uint64 // default MXCSR, a memory operand for LDMXCSR
	fxScratch  uintptr

	idle     *thread
	needPick bool       // the running thread should give way
	inFault  bool       // in the page fault handler, which must not fault
	faulting *registers // what the page fault handler interrupted, while inFault
	noMemory bool       // the last program's fault found no page frame
}

// taskState is the 64-bit TSS, Intel SDM vol. 3A §8.7. The IST fields lie at
// 4 bytes past a multiple of 8, so they are halves.
type taskState struct {
	_        uint32
	rsp      [6]uint32
	_        [2]uint32
	ist1     uint32 // low half; the current thread's registers
	ist1High uint32
	ist2     uint32 // page faults
	ist2High uint32
	ist3     uint32 // NMI, double fault, machine check
	ist3High uint32
	_        [8]uint32
	_        [2]uint32
	_        uint16
	ioMap    uint16
}
