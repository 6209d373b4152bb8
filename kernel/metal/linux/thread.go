package linux

// clone(2) flags, include/uapi/linux/sched.h.
const (
	CLONE_VM     = 0x100
	CLONE_THREAD = 0x10000
	CLONE_SETTLS = 0x80000
)

// arch_prctl(2), arch/x86/include/uapi/asm/prctl.h.
const (
	ARCH_SET_FS = 0x1002
	ARCH_GET_FS = 0x1003
)

// futex(2) operations, include/uapi/linux/futex.h.
const (
	FUTEX_WAIT         = 0
	FUTEX_WAKE         = 1
	FUTEX_WAIT_BITSET  = 9
	FUTEX_WAKE_BITSET  = 10
	FUTEX_PRIVATE_FLAG = 128
)

// membarrier(2) commands, include/uapi/linux/membarrier.h.
const (
	MEMBARRIER_CMD_QUERY                      = 0
	MEMBARRIER_CMD_GLOBAL                     = 1 << 0
	MEMBARRIER_CMD_GLOBAL_EXPEDITED           = 1 << 1
	MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED  = 1 << 2
	MEMBARRIER_CMD_PRIVATE_EXPEDITED          = 1 << 3
	MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4
)

// Clocks, include/uapi/linux/time.h.
const (
	CLOCK_REALTIME           = 0
	CLOCK_MONOTONIC          = 1
	CLOCK_PROCESS_CPUTIME_ID = 2
	CLOCK_THREAD_CPUTIME_ID  = 3
	CLOCK_MONOTONIC_RAW      = 4
	CLOCK_REALTIME_COARSE    = 5
	CLOCK_MONOTONIC_COARSE   = 6
	CLOCK_BOOTTIME           = 7

	TIMER_ABSTIME = 1 // flag of clock_nanosleep(2)
)

// Types of auxiliary vector entries, include/uapi/linux/auxvec.h and
// arch/x86/include/uapi/asm/auxvec.h.
const (
	AT_NULL         = 0
	AT_PAGESZ       = 6
	AT_ENTRY        = 9
	AT_UID          = 11
	AT_EUID         = 12
	AT_GID          = 13
	AT_EGID         = 14
	AT_SECURE       = 23
	AT_RANDOM       = 25
	AT_SYSINFO_EHDR = 33
)
