package linux

// Signals, arch/x86/include/uapi/asm/signal.h.
const (
	SIGILL   = 4
	SIGTRAP  = 5
	SIGBUS   = 7
	SIGFPE   = 8
	SIGKILL  = 9
	SIGSEGV  = 11
	SIGCHLD  = 17
	SIGURG   = 23
	SIGWINCH = 28

	SignalMaximum = 64 // the largest number of a signal
)

// Handlers that are not functions, and sigaction(2) flags,
// arch/x86/include/uapi/asm/signal.h.
const (
	SIG_DFL = 0
	SIG_IGN = 1

	SA_ONSTACK = 0x08000000
	SA_NODEFER = 0x40000000
)

// sigprocmask(2), include/uapi/asm-generic/signal-defs.h.
const (
	SIG_BLOCK   = 0
	SIG_UNBLOCK = 1
	SIG_SETMASK = 2
)

// sigaltstack(2) flags, include/uapi/linux/signal.h.
const (
	SS_ONSTACK = 1
	SS_DISABLE = 2
)

// Codes of siginfo_t, include/uapi/asm-generic/siginfo.h.
const (
	SI_USER   = 0
	SI_TKILL  = -6
	SI_KERNEL = 0x80

	ILL_ILLOPN  = 2
	FPE_INTDIV  = 1
	FPE_FLTINV  = 7
	TRAP_TRACE  = 2
	BUS_ADRALN  = 1
	BUS_ADRERR  = 2
	SEGV_MAPERR = 1
	SEGV_ACCERR = 2
)
