// Package abi is the contract between metal and the kernel program above the
// Linux system calls that metal answers: the private hostcalls, the files
// that metal serves, and the structures that cross between the two.
//
// A private hostcall is made like a Linux system call: SYSCALL with the number
// in RAX, arguments in RDI, RSI, RDX, R10, R8, R9, the result in RAX, a
// negative errno on failure. The numbers lie where Linux has none, so that on
// Linux each returns -ENOSYS.
package abi

// Private hostcalls.
const (
	// EnterUser(*UserContext): run ring 3 until it traps. Returns 0.
	SysEnterUser = 0x4b000001
	// PTNew() → page table handle (the physical address of a PML4).
	SysPTNew = 0x4b000002
	// PTFree(pt): free the table and its lower-half page tables.
	SysPTFree = 0x4b000003
	// PTMap(pt, addr, kernelVA, length, prot): map what backs kernelVA.
	SysPTMap = 0x4b000004
	// PTUnmap(pt, addr, length).
	SysPTUnmap = 0x4b000005
	// DMAAlloc(pages, *phys) → kernel virtual address of contiguous,
	// zeroed page frames.
	SysDMAAlloc = 0x4b000006
	// DMAFree(virtual address, pages).
	SysDMAFree = 0x4b000007
	// MMIOMap(phys, length) → kernel virtual address, uncached.
	SysMMIOMap = 0x4b000009
	// IRQOpen() → event file descriptor with a vector of its own, to which
	// IRQRoute or IRQMSI leads a device.
	SysIRQOpen = 0x4b00000a
	// IRQRoute(fd, gsi, level): route an I/O APIC input to fd's vector.
	SysIRQRoute = 0x4b00000b
	// IRQMSI(fd, *[2]uint64): the message address and data for fd's vector.
	SysIRQMSI = 0x4b00000c
	// IRQAck(fd): unmask a level-triggered input after its device is quiet.
	SysIRQAck = 0x4b00000d
	// FPSave(): write the state of any context that is still in the CPU to
	// its ctx.FP. The kernel program may then use the x87 unit.
	SysFPSave = 0x4b00000e
	// FPDrop(*UserContext): forget state that is still in the CPU: ctx.FP
	// was changed or is no longer wanted.
	SysFPDrop = 0x4b00000f
	// Interrupt(*UserContext): end a current or the next EnterUser.
	SysInterrupt = 0x4b000010
	// MemInfo(*MemInfo).
	SysMemInfo = 0x4b000011
	// PTLookup(pt, addr) → the page table entry that maps addr, 0 if none.
	SysPTLookup = 0x4b000012
	// PowerOff(code): end the virtual machine; the program's exit status
	// is code. Unlike exit_group, no code means that the kernel crashed.
	SysPowerOff = 0x4b000013
	// PhysPages(virtual address, pages, *[pages]uint64): the physical
	// address of each page, which gets a frame if it has none. -ENOMEM if
	// only the reserve is left, -EFAULT for what is not mapped.
	SysPhysPages = 0x4b000014
	// ClockInfo(*ClockInfo).
	SysClockInfo = 0x4b000015
	// Populate(virtual address, length): give frames to the pages of a
	// range. -ENOMEM when only what programs cannot have is left.
	SysPopulate = 0x4b000016
	// FreeCounter() → kernel virtual address of the number of free frames, a
	// uint64 that metal alone writes.
	SysFreeCounter = 0x4b000017
	// PTCount(pt) → how many frames the lower half of a page table maps, or
	// would if it were touched, and takes for its tables; pages of the image
	// do not count. In the upper 32 bits, how many pages it maps, with or
	// without a frame, the image's too.
	SysPTCount = 0x4b000018
	// Promised() → kernel virtual address of the number of frames that ring 3
	// cannot have beyond LowWater, a uint64 that the kernel program writes.
	SysPromised = 0x4b000019
)

// Files that metal serves to open(2).
const (
	PathManifest  = "/kiln/manifest"  // the image's manifest, JSON
	PathRootFS    = "/kiln/rootfs"    // the root file system; may be mmapped
	PathRunConfig = "/kiln/runconfig" // what `kiln run` passed, JSON; absent if nothing
	PathCmdline   = "/kiln/cmdline"   // the boot command line
	PathACPI      = "/kiln/rsdp"      // physical address of the RSDP, hex; absent if none
)

// Protection bits for PTMap, the same as mmap's.
const (
	ProtRead  = 1
	ProtWrite = 2
	ProtExec  = 4
)

// Exit reasons in UserContext.Vector beside the CPU's exception vectors 0–31.
const (
	ExitSyscall   = 0x100 // the program executed SYSCALL
	ExitInterrupt = 0x101 // Interrupt, a signal to the thread, or a device interrupt
	ExitNoMemory  = 0x102 // no page frame for the page at Addr
)

// UserContext is one ring-3 context. It must not move while EnterUser runs.
type UserContext struct {
	Regs uintptr // *Registers
	FP   uintptr // XSAVE area in standard format, 64-byte aligned
	PT   uintptr // page table handle

	// Set by EnterUser when it returns.
	Vector    uint64 // exception vector or Exit…
	ErrorCode uint64 // of the exception
	Addr      uint64 // CR2 for a page fault

	Pending uint64 // set by Interrupt; EnterUser returns at once if it is
	Owner   uint64 // metal's: where the context's lazy state lives
}

// Registers has the layout of Linux's struct user_regs_struct.
type Registers struct {
	R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8,
	RAX, RCX, RDX, RSI, RDI, OrigRAX, RIP, CS, RFLAGS, RSP, SS,
	FSBase, GSBase, DS, ES, FS, GS uint64
}

// MemInfo is the state of physical memory. All counts are page frames of
// 4096 bytes.
type MemInfo struct {
	Total      uint64 // frames that the page allocator manages
	Free       uint64
	PageTables uint64 // frames that hold page tables
	Image      uint64 // frames that hold the image
	Peak       uint64 // the most that were in use at once
	LowWater   uint64 // frames that programs cannot have
	Floor      uint64 // of these, frames for the kernel's own heap
	Programs   uint64 // frames of memory files: of programs, files in memory, cached ones
	Below      uint64 // frames that the kernel took for programs' pages below Floor
}

// ClockInfo says how metal's clocks follow from the time stamp counter. It
// stays as it is.
//
//	CLOCK_MONOTONIC = (TSC - Base) * Rate >> 32, in 128 bits
//	CLOCK_REALTIME  = CLOCK_MONOTONIC + Wall
type ClockInfo struct {
	Base uint64 // ticks
	Rate uint64 // ns per tick, 32.32 fixed point
	Wall uint64 // ns since the Unix epoch
}
