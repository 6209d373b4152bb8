package main

import (
	"unsafe"

	"kiln/image/ending"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// Signals, as the Go runtime uses them: handlers with SA_SIGINFO on an
// alternate stack, synchronous faults, and tgkill for preemption.

const (
	signalCount = 65
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

// hostSigaction sets what a signal does, and tells what it did.
func hostSigaction(sig int, act, old uintptr) int64 {
	if sig < 1 || sig >= signalCount {
		return -linux.EINVAL
	}
	if old != 0 {
		*raw.At[signalAction](old) = actions[sig]
	}
	if act != 0 {
		actions[sig] = *raw.At[signalAction](act)
	}
	return 0
}

// hostSigprocmask changes the signals that t holds back, and tells which it did.
func hostSigprocmask(t *thread, how int, set, old uintptr) int64 {
	s := &t.signals
	if old != 0 {
		*raw.At[uint64](old) = s.mask
	}
	if set == 0 {
		return 0
	}
	v := *raw.At[uint64](set)
	switch how {
	case linux.SIG_BLOCK:
		s.mask |= v
	case linux.SIG_UNBLOCK:
		s.mask &^= v
	case linux.SIG_SETMASK:
		s.mask = v
	default:
		return -linux.EINVAL
	}
	return 0
}

// hostSigaltstack sets t's stack for handlers, and tells the one before.
func hostSigaltstack(t *thread, set, old uintptr) int64 {
	s := &t.signals
	if old != 0 {
		*raw.At[stackT](old) = stackT{sp: s.stack, flags: s.flagsAt(t), size: s.stackSize}
	}
	if set != 0 {
		n := raw.At[stackT](set)
		s.stack, s.stackSize, s.stackFlags = n.sp, n.size, n.flags&linux.SS_DISABLE
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
		return linux.SS_DISABLE
	case s.contains(uintptr(t.regs.RSP)):
		return linux.SS_ONSTACK
	}
	return 0
}

// contains reports whether a stack pointer is on the alternate stack.
func (s *signalState) contains(sp uintptr) bool {
	return sp > s.stack && sp <= s.stack+s.stackSize
}

// hostTgkill sends a signal to the thread with number tid.
func hostTgkill(tid, sig int) int64 {
	t := findThread(tid)
	if t == nil {
		return -linux.ESRCH
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
		return -linux.EINVAL
	}
	if actions[sig].handler <= linux.SIG_IGN {
		if actions[sig].handler == linux.SIG_IGN || sig == linux.SIGCHLD || sig == linux.SIGURG || sig == linux.SIGWINCH {
			return 0
		}
		if sig != linux.SIGKILL {
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
	if t.wait == waitFile {
		restart(t)
		return
	}
	ready(t, -linux.EINTR)
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
		info := siginfo{signo: int32(sig), code: linux.SI_TKILL, addr: 1} // pid 1
		pushSignal(t, &info, exception{})
	}
}

// faultSignal delivers the signal for exception e of t itself. If the Go
// runtime cannot take it, the machine stops with a report.
func faultSignal(t *thread, e exception, sig, code int32, addr uint64) {
	if actions[sig].handler <= linux.SIG_IGN || t.signals.mask&(1<<(sig-1)) != 0 || t.signals.stackSize == 0 {
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
	if a.flags&linux.SA_ONSTACK != 0 && s.stackSize != 0 && !s.contains(uintptr(r.RSP)) {
		sp = s.stack + s.stackSize
	}
	size := floatSize(thisCPU())
	fp := (sp - size) &^ (frameAlign - 1)
	if t.kind == kindCall {
		initFloat(t.fp)
		r.RCX, r.R11 = r.RIP, r.RFLAGS // what SYSCALL leaves
	}
	copy(raw.Bytes(fp, size), raw.Bytes(t.fp, size))
	sp = (fp-unsafe.Sizeof(signalFrame{}))&^15 - 8 // as after a CALL
	f := raw.At[signalFrame](sp)
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
	if a.flags&linux.SA_NODEFER == 0 {
		s.mask |= 1 << (sig - 1)
	}
	r.RIP = uint64(a.handler)
	r.RSP = uint64(sp)
	r.RDI = uint64(sig)
	r.RSI = uint64(raw.Addr(&f.info))
	r.RDX = uint64(raw.Addr(&f.uc))
	r.RAX = 0
	r.RFLAGS = alwaysFlags
	t.kind = kindCall // the handler starts with an initial FPU
}

// hostSigreturn resumes what a signal interrupted.
func hostSigreturn(t *thread) int64 {
	f := raw.At[signalFrame](uintptr(t.regs.RSP) - 8) // the handler's RET took the restorer
	u := &f.uc
	r := &t.regs
	r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15 = u.r8, u.r9, u.r10, u.r11, u.r12, u.r13, u.r14, u.r15
	r.RDI, r.RSI, r.RBP, r.RBX, r.RDX, r.RAX, r.RCX = u.rdi, u.rsi, u.rbp, u.rbx, u.rdx, u.rax, u.rcx
	r.RSP, r.RIP = u.rsp, u.rip
	r.RFLAGS = u.rflags&userFlags | alwaysFlags
	r.CS, r.SS = selKernelCode, selKernelData
	if u.fpstate != 0 {
		size := floatSize(thisCPU())
		copy(raw.Bytes(t.fp, size), raw.Bytes(u.fpstate, size))
	} else {
		initFloat(t.fp)
	}
	t.kind = kindTrap
	t.signals.mask = u.sigmask
	return blocked
}
