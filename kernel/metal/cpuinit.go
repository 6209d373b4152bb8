package main

import (
	"unsafe"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
)

// maxCPUs is the one place that knows how many CPUs metal runs.
const maxCPUs = 1

const (
	bootStackSize    = 32 << 10
	handlerStackSize = 32 << 10
	faultStackSize   = 16 << 10
	fatalStackSize   = 16 << 10
)

var (
	bootStack [bootStackSize]byte
	bootTLS   [2]uintptr
	zeroG     [512]byte // the g that metal's Go code runs with

	cpus [maxCPUs]percpu
	tss  [maxCPUs]taskState

	// Set by assembly.
	vectorBase uintptr
	syscallPC  uintptr
	idlePC     uintptr
	vdsoPC     uintptr
	saveX87PC  uintptr

	gdt [10]uint64
	idt [vectorCount][2]uint64
)

// pseudoDescriptor is the operand of LGDT and LIDT.
type pseudoDescriptor struct {
	_     [3]uint16
	limit uint16
	base  uint64
}

var descriptor pseudoDescriptor

// thisCPU returns the data of the CPU that metal runs on.
func thisCPU() *percpu { return &cpus[0] }

// initTables loads the descriptor tables: segments as Linux numbers them, a
// gate for every vector, and a task state segment for the IST stacks.
func initTables(c *percpu) bool {
	gdt[selKernelCode/8] = 0x00af9b000000ffff // SDM vol. 3A §3.4.5: code, L=1, DPL 0
	gdt[selKernelData/8] = 0x00cf93000000ffff // data, DPL 0
	// Where Linux has its 32-bit user code, before the user data, there is
	// nothing: the Sentry runs no 32-bit programs, and one that jumped there
	// would enter the kernel by other ways than metal has. SYSRET, which
	// counts on the place, does not read the descriptor.
	gdt[selUserData/8] = 0x00cff3000000ffff // data, DPL 3
	gdt[selUserCode/8] = 0x00affb000000ffff // code, L=1, DPL 3
	c.tss = &tss[0]
	base := uint64(uintptr(unsafe.Pointer(c.tss)))
	limit := uint64(unsafe.Sizeof(taskState{}) - 1)
	gdt[selTSS/8] = limit | base<<16&0xffffff0000 | 0x89<<40 | base>>24&0xff<<56
	gdt[selTSS/8+1] = base >> 32
	c.tss.ioMap = uint16(unsafe.Sizeof(taskState{}))
	loadDescriptor(loadGDT, unsafe.Pointer(&gdt), unsafe.Sizeof(gdt))

	for v := range idt {
		pc := uint64(vectorBase) + 16*uint64(v)
		ist := uint64(1)
		switch v {
		case cpu.VectorPageFault:
			ist = 2
		case cpu.VectorNMI, cpu.VectorDoubleFault, cpu.VectorMachineCheck:
			ist = 3
		}
		dpl := uint64(0)
		if v == cpu.VectorBreakpoint || v == cpu.VectorOverflow {
			dpl = 3 // INT3 and INTO are the program's to use
		}
		// Interrupt gate, SDM vol. 3A §6.14.1.
		idt[v][0] = pc&0xffff | selKernelCode<<16 | ist<<32 | (0x8e|dpl<<5)<<40 | pc>>16&0xffff<<48
		idt[v][1] = pc >> 32
	}
	loadDescriptor(cpu.LoadIDT, unsafe.Pointer(&idt), unsafe.Sizeof(idt))

	c.handlerStack = newStack(handlerStackSize)
	fault := newStack(faultStackSize)
	fatal := newStack(fatalStackSize)
	if c.handlerStack == 0 || fault == 0 || fatal == 0 {
		return false
	}
	c.tss.ist2, c.tss.ist2High = uint32(fault), uint32(fault>>32)
	c.tss.ist3, c.tss.ist3High = uint32(fatal), uint32(fatal>>32)
	c.tss.ist1, c.tss.ist1High = uint32(fatal), uint32(fatal>>32) // until resume
	cpu.LoadTR(selTSS)
	cpu.LoadLDT(0) // else it lies at address 0, 64 KB long
	return true
}

func loadDescriptor(load func(uintptr), base unsafe.Pointer, size uintptr) {
	descriptor.limit = uint16(size - 1)
	descriptor.base = uint64(uintptr(base))
	load(uintptr(unsafe.Pointer(&descriptor.limit)))
}

// leafExtended has in EDX what AMD added (AMD APM vol. 3 §E.4.2).
const leafExtended = 0x80000001

// initCPU turns on what protects and speeds up this CPU. It returns what the
// CPU lacks, or "".
func initCPU(c *percpu) string {
	_, _, ecx1, edx1 := cpu.CPUID(1, 0)
	maxLeaf, _, _, _ := cpu.CPUID(0, 0)
	// The stub has looked for what it needs itself, but an Intel CPU shows this
	// one in 64-bit mode only.
	if _, _, _, edx := cpu.CPUID(leafExtended, 0); edx&(1<<11) == 0 {
		return "SYSCALL"
	}
	var ebx7, ecx7 uint32
	if maxLeaf >= 7 {
		_, ebx7, ecx7, _ = cpu.CPUID(7, 0)
	}
	if ebx7&(1<<0) == 0 {
		return "FSGSBASE"
	}
	cr4 := cpu.ReadCR4() | cpu.CR4FSGSBASE | cpu.CR4OSFXSR | cpu.CR4OSXMMEXCPT
	if edx1&(1<<13) != 0 {
		cr4 |= cpu.CR4PGE
	}
	if ebx7&(1<<7) != 0 {
		cr4 |= cpu.CR4SMEP
	}
	if ebx7&(1<<20) != 0 {
		cr4 |= cpu.CR4SMAP
	}
	if ecx7&(1<<2) != 0 {
		cr4 |= cpu.CR4UMIP
	}
	entropy.HaveRDRAND = ecx1&(1<<30) != 0
	avx := ecx1&(1<<28) != 0 && ecx1&(1<<26) != 0
	cpu.WriteCR4(cr4)
	cr0 := cpu.ReadCR0()&^(cpu.CR0Emulation|cpu.CR0TaskSwitched|cpu.CR0CacheDisable|cpu.CR0NotWriteThrough) |
		cpu.CR0MonitorCoprocessor | cpu.CR0NumericError | cpu.CR0WriteProtect | cpu.CR0AlignmentMask
	cpu.WriteCR0(cr0)
	initFloatMode(c, avx)

	cpu.WriteMSR(cpu.MSRGSBase, uint64(uintptr(unsafe.Pointer(c))))
	cpu.WriteMSR(cpu.MSRKernelGSBase, 0)
	c.self = uintptr(unsafe.Pointer(c))
	cpu.WriteMSR(cpu.MSREFER, cpu.ReadMSR(cpu.MSREFER)|cpu.EFERSyscall)
	cpu.WriteMSR(cpu.MSRSTAR, selUserBase<<48|selKernelCode<<32)
	cpu.WriteMSR(cpu.MSRLSTAR, uint64(syscallPC))
	cpu.WriteMSR(cpu.MSRFMask, cpu.FlagAlignment|cpu.FlagNested|cpu.FlagIOPL|
		cpu.FlagDirection|cpu.FlagInterrupt|cpu.FlagTrap)
	return ""
}

// newStack maps a stack with an unmapped guard page below it and returns its
// top, or 0.
func newStack(size uintptr) uintptr {
	base := stackNext + frame.Size
	for p := base; p < base+size; p += frame.Size {
		f := frames.Alloc(0)
		if f == 0 || !mapKernel(p, uint64(f), pteData) {
			return 0
		}
		cpu.ClearPage(p)
	}
	stackNext = base + size
	return base + size
}

// newIdle makes the thread that halts the CPU.
func newIdle(c *percpu) bool {
	t := newThread()
	if t == nil {
		return false
	}
	t.kind = kindTrap
	t.regs.RIP = uint64(idlePC)
	t.regs.CS, t.regs.SS = selKernelCode, selKernelData
	t.regs.RFLAGS = alwaysFlags
	t.regs.RSP = uint64(newStack(frame.Size))
	t.tid = 0 // not a thread that Linux calls can name
	threads[0] = nil
	threadTop, threadLive = 0, 0
	c.idle = t
	return t.regs.RSP != 0
}

func loadGDT(pseudo uintptr) { cpu.LoadGDT(pseudo, selKernelCode, selKernelData) }
