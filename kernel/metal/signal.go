package main

import (
	"unsafe"

	"kiln/image/ending"
)

// Signals, as the Go runtime uses them: handlers with SA_SIGINFO on an
// alternate stack, synchronous faults, and tgkill for preemption.

const (
	sigILL  = 4
	sigTRAP = 5
	sigBUS  = 7
	sigFPE  = 8
	sigKILL = 9
	sigSEGV = 11
	sigCHLD = 17
	sigURG  = 23
	sigWINC = 28

	signalCount = 65

	saOnstack = 0x08000000
	saNodefer = 0x40000000

	ssDisable = 2

	siUser    = 0
	siTkill   = -6
	siKernel  = 0x80
	illILLOPN = 2
	fpeINTDIV = 1
	fpeFLTINV = 7
	trapTRACE = 2
	busADRALN = 1
	busADRERR = 2

	segvMAPERR = 1
	segvACCERR = 2
)

// signalAction is struct kernel_sigaction.
type signalAction struct {
	handler  uintptr // 0 default, 1 ignore
	flags    uint64
	restorer uintptr
	mask     uint64
}

var actions [signalCount]signalAction

// signalState is a thread's.
type signalState struct {
	mask    uint64 // bit n-1: signal n
	pending uint64

	stack      uintptr // alternate stack
	stackSize  uintptr
	stackFlags int32
}

// siginfo is the part of Linux's siginfo_t that is used.
type siginfo struct {
	signo, errno, code int32
	_                  int32
	addr               uint64 // or pid and uid
	_                  [128 - 24]byte
}

// ucontext is struct ucontext with struct sigcontext_64 in it
// (asm-generic/ucontext.h, asm/sigcontext.h).
type ucontext struct {
	flags uint64
	link  uint64
	stack stackT

	r8, r9, r10, r11, r12, r13, r14, r15 uint64
	rdi, rsi, rbp, rbx, rdx, rax, rcx    uint64
	rsp, rip, rflags                     uint64
	cs, gs, fs, ss                       uint16
	err, trapno, oldmask, cr2            uint64
	fpstate                              uintptr
	_                                    [8]uint64
	sigmask                              uint64
}

type stackT struct {
	sp    uintptr
	flags int32
	_     int32
	size  uintptr
}

// signalFrame is what the handler finds on its stack: struct rt_sigframe.
type signalFrame struct {
	restorer uintptr
	uc       ucontext
	info     siginfo
}

func hostSigaction(sig int, act, old uintptr) int64 {
	if sig < 1 || sig >= signalCount {
		return -eINVAL
	}
	if old != 0 {
		*at[signalAction](old) = actions[sig]
	}
	if act != 0 {
		actions[sig] = *at[signalAction](act)
	}
	return 0
}

func hostSigprocmask(t *thread, how int, set, old uintptr) int64 {
	s := &t.signals
	if old != 0 {
		*at[uint64](old) = s.mask
	}
	if set == 0 {
		return 0
	}
	v := *at[uint64](set)
	switch how {
	case 0:
		s.mask |= v
	case 1:
		s.mask &^= v
	case 2:
		s.mask = v
	default:
		return -eINVAL
	}
	return 0
}

func hostSigaltstack(t *thread, set, old uintptr) int64 {
	s := &t.signals
	if old != 0 {
		*at[stackT](old) = stackT{sp: s.stack, flags: s.flagsAt(t), size: s.stackSize}
	}
	if set != 0 {
		n := at[stackT](set)
		s.stack, s.stackSize, s.stackFlags = n.sp, n.size, n.flags&ssDisable
		if s.stackFlags != 0 {
			s.stack, s.stackSize = 0, 0
		}
	}
	return 0
}

// flagsAt returns SS_ONSTACK, SS_DISABLE or 0 for sigaltstack.
func (s *signalState) flagsAt(t *thread) int32 {
	switch {
	case s.stackSize == 0:
		return ssDisable
	case s.contains(uintptr(t.regs.RSP)):
		return 1
	}
	return 0
}

func (s *signalState) contains(sp uintptr) bool {
	return sp > s.stack && sp <= s.stack+s.stackSize
}

func hostTgkill(tid, sig int) int64 {
	t := findThread(tid)
	if t == nil {
		return -eSRCH
	}
	return sendSignal(t, sig, tid)
}

// sendSignal makes a signal pending for a thread (tid 1 stands for any) and
// interrupts what the thread is blocked in.
func sendSignal(t *thread, sig, tid int) int64 {
	if sig == 0 {
		return 0
	}
	if sig < 0 || sig >= signalCount {
		return -eINVAL
	}
	if actions[sig].handler <= 1 {
		if actions[sig].handler == 1 || sig == sigCHLD || sig == sigURG || sig == sigWINC {
			return 0
		}
		if sig != sigKILL {
			report("the kernel program killed itself with a signal", &t.regs, nil)
			reportLast(t)
		}
		exitMachine(ending.Panic)
	}
	t.signals.pending |= 1 << (sig - 1)
	if t.signals.pending&^t.signals.mask == 0 {
		return 0
	}
	switch {
	case t.kind == kindUser:
		leaveUser(t, exitInterrupt, 0, 0)
	case t.state == threadBlocked && t.wait != waitNothing:
		interruptWait(t)
	}
	return 0
}

// interruptWait ends a blocked hostcall for a signal. Reads and writes start
// again after the handler, as SA_RESTART says.
func interruptWait(t *thread) {
	if t.wait == waitRead || t.wait == waitWrite {
		restart(t)
		return
	}
	ready(t, -eINTR)
}

// deliverSignals builds frames for the signals of a thread that is about to
// run in ring 0.
func deliverSignals(t *thread) {
	for {
		due := t.signals.pending &^ t.signals.mask
		if due == 0 || t.kind == kindUser {
			return
		}
		sig := 1
		for due&1 == 0 {
			due >>= 1
			sig++
		}
		t.signals.pending &^= 1 << (sig - 1)
		info := siginfo{signo: int32(sig), code: siTkill, addr: 1} // pid 1
		pushSignal(t, &info, exception{})
	}
}

// faultSignal delivers the signal for exception e of t itself. If the Go
// runtime cannot take it, the machine stops with a report.
func faultSignal(t *thread, e exception, sig, code int32, addr uint64) {
	if actions[sig].handler <= 1 || t.signals.mask&(1<<(sig-1)) != 0 || t.signals.stackSize == 0 {
		fatalException("exception in the kernel program", &t.regs, e)
	}
	t.lastException = e
	info := siginfo{signo: sig, code: code, addr: addr}
	pushSignal(t, &info, e)
}

const (
	redZone    = 128
	frameAlign = 64 // of the floating point image
)

// pushSignal makes t run the handler of info.signo, with its registers saved
// in a frame on its stack, and what the CPU said of the exception that is the
// cause, if one is. The thread is in ring 0 (kindCall or kindTrap).
func pushSignal(t *thread, info *siginfo, e exception) {
	sig := info.signo
	a := &actions[sig]
	s := &t.signals
	r := &t.regs
	sp := uintptr(r.RSP) - redZone
	if a.flags&saOnstack != 0 && s.stackSize != 0 && !s.contains(uintptr(r.RSP)) {
		sp = s.stack + s.stackSize
	}
	size := floatSize(thisCPU())
	fp := (sp - size) &^ (frameAlign - 1)
	if t.kind == kindCall {
		initFloat(t.fp)
		r.RCX, r.R11 = r.RIP, r.RFLAGS // what SYSCALL leaves
	}
	copy(bytesAt(fp, size), bytesAt(t.fp, size))
	sp = (fp-unsafe.Sizeof(signalFrame{}))&^15 - 8 // as after a CALL
	f := at[signalFrame](sp)
	f.restorer = a.restorer
	f.info = *info
	f.uc = ucontext{
		stack: stackT{sp: s.stack, flags: s.stackFlags, size: s.stackSize},
		r8:    r.R8, r9: r.R9, r10: r.R10, r11: r.R11, r12: r.R12, r13: r.R13, r14: r.R14, r15: r.R15,
		rdi: r.RDI, rsi: r.RSI, rbp: r.RBP, rbx: r.RBX, rdx: r.RDX, rax: r.RAX, rcx: r.RCX,
		rsp: r.RSP, rip: r.RIP, rflags: r.RFLAGS, cs: selUserCode, ss: selUserData,
		err: e.code, trapno: e.vector, cr2: e.addr, fpstate: fp, sigmask: s.mask,
	}
	s.mask |= a.mask
	if a.flags&saNodefer == 0 {
		s.mask |= 1 << (sig - 1)
	}
	r.RIP = uint64(a.handler)
	r.RSP = uint64(sp)
	r.RDI = uint64(sig)
	r.RSI = uint64(addrOf(&f.info))
	r.RDX = uint64(addrOf(&f.uc))
	r.RAX = 0
	r.RFLAGS = alwaysFlags
	t.kind = kindCall // the handler starts with an initial FPU
}

// hostSigreturn resumes what a signal interrupted.
func hostSigreturn(t *thread) int64 {
	f := at[signalFrame](uintptr(t.regs.RSP) - 8) // the handler's RET took the restorer
	u := &f.uc
	r := &t.regs
	r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15 = u.r8, u.r9, u.r10, u.r11, u.r12, u.r13, u.r14, u.r15
	r.RDI, r.RSI, r.RBP, r.RBX, r.RDX, r.RAX, r.RCX = u.rdi, u.rsi, u.rbp, u.rbx, u.rdx, u.rax, u.rcx
	r.RSP, r.RIP = u.rsp, u.rip
	r.RFLAGS = u.rflags&userFlags | alwaysFlags
	r.CS, r.SS = selKernelCode, selKernelData
	if u.fpstate != 0 {
		size := floatSize(thisCPU())
		copy(bytesAt(t.fp, size), bytesAt(u.fpstate, size))
	} else {
		initFloat(t.fp)
	}
	t.kind = kindTrap
	t.signals.mask = u.sigmask
	return blocked
}
