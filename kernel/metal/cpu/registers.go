package cpu

// CR0, Intel SDM vol. 3A §2.5.
const (
	CR0MonitorCoprocessor = 1 << 1
	CR0Emulation          = 1 << 2
	CR0TaskSwitched       = 1 << 3
	CR0NumericError       = 1 << 5
	CR0WriteProtect       = 1 << 16
	CR0AlignmentMask      = 1 << 18 // RFLAGS.AC counts in ring 3
	CR0CacheDisable       = 1 << 30
	CR0NotWriteThrough    = 1 << 29
)

// CR4, Intel SDM vol. 3A §2.5.
const (
	CR4PGE        = 1 << 7  // global pages
	CR4OSFXSR     = 1 << 9  // FXSAVE and SSE
	CR4OSXMMEXCPT = 1 << 10 // #XM for SSE exceptions
	CR4UMIP       = 1 << 11 // no SGDT, SIDT, SLDT, SMSW, STR in ring 3
	CR4FSGSBASE   = 1 << 16
	CR4OSXSAVE    = 1 << 18
	CR4SMEP       = 1 << 20 // ring 0 does not execute user pages
	CR4SMAP       = 1 << 21 // ring 0 does not touch user pages
)

// DR6Initial is what DR6 holds before a debug exception (Intel SDM vol. 3B
// §17.2.3): the CPU sets bits and leaves it to others to clear them.
const DR6Initial = 0xffff0ff0

// Model-specific registers, Intel SDM vol. 4 and AMD APM vol. 2 appendix A.
const (
	MSRAPICBase     = 0x1b
	MSREFER         = 0xc0000080
	MSRSTAR         = 0xc0000081
	MSRLSTAR        = 0xc0000082
	MSRFMask        = 0xc0000084
	MSRFSBase       = 0xc0000100
	MSRGSBase       = 0xc0000101
	MSRKernelGSBase = 0xc0000102
	MSRTSCDeadline  = 0x6e0
	MSRX2APIC       = 0x800 // register n of the x2APIC is MSR 0x800+n/16
)

// EFER.
const (
	EFERSyscall   = 1 << 0
	EFERNoExecute = 1 << 11
)

// RFLAGS.
const (
	FlagReserved  = 1 << 1
	FlagTrap      = 1 << 8
	FlagInterrupt = 1 << 9
	FlagDirection = 1 << 10
	FlagIOPL      = 3 << 12
	FlagNested    = 1 << 14
	FlagResume    = 1 << 16
	FlagAlignment = 1 << 18
)

// Exception vectors, Intel SDM vol. 3A §6.15.
const (
	VectorDivide        = 0
	VectorDebug         = 1
	VectorNMI           = 2
	VectorBreakpoint    = 3
	VectorOverflow      = 4
	VectorBound         = 5
	VectorInvalidOpcode = 6
	VectorNoDevice      = 7
	VectorDoubleFault   = 8
	VectorTSS           = 10
	VectorNotPresent    = 11
	VectorStack         = 12
	VectorProtection    = 13
	VectorPageFault     = 14
	VectorX87           = 16
	VectorAlignment     = 17
	VectorMachineCheck  = 18
	VectorSIMD          = 19
)

// Page fault error code, Intel SDM vol. 3A §4.7.
const (
	FaultPresent = 1 << 0
	FaultWrite   = 1 << 1
	FaultUser    = 1 << 2
	FaultFetch   = 1 << 4
)
