package main

import (
	"math/rand/v2"
	"strings"
	"testing"

	"kiln/image/ending"
	"kiln/kernel/metal/abi"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// clone starts a thread that is a copy of the running one.
func (m *simulated) clone() *thread {
	m.Helper()
	tid := m.call(linux.SYS_CLONE, linux.CLONE_VM|linux.CLONE_THREAD|linux.CLONE_SETTLS, m.alloc(4096)+4096, 0, 0, 0x7000)
	t := findThread(int(tid))
	if t == nil || t.fsbase != 0x7000 {
		m.Fatalf("clone = %d", tid)
	}
	return t
}

// enter has the running thread run a program with page table pt, as assembly
// does for EnterUser.
func (m *simulated) enter(pt uintptr) *userContext {
	u := raw.At[userContext](m.alloc(256))
	u.Regs, u.FP, u.PT = m.alloc(256), m.alloc(4096), pt
	m.t.user, m.t.kind = u, kindUser
	m.t.kernRIP, m.t.kernRSP, m.t.kernRBP, m.t.kernR14 = 0xffffffffa0001111, 0x2222, 0x3333, 0x4444
	m.t.regs = registers{RIP: 0x401000, CS: selUserCode, RAX: 5, R15: 15}
	thisCPU().user, thisCPU().cr3 = u, pt
	return u
}

// interruptUser interrupts the program that runs, and expects EnterUser to
// return with a reason.
func (m *simulated) interruptUser(vector, reason uint64) {
	m.Helper()
	t, u := m.t, m.t.user
	m.interrupt(vector)
	if t.kind != kindCall || t.user != nil || thisCPU().user != nil || t.regs.RIP != t.kernRIP || t.regs.RSP != 0x2222 ||
		t.regs.RBP != 0x3333 || t.regs.R14 != 0x4444 || t.regs.CS != selKernelCode || t.regs.RAX != 0 {
		m.Errorf("after vector %d: kind %d, registers %+v", vector, t.kind, t.regs)
	}
	regs := raw.At[registers](u.Regs)
	if u.Vector != reason || regs.RIP != 0x401000 || regs.R15 != 15 || regs.OrigRAX != 1<<64-1 {
		m.Errorf("EnterUser returned %#x, want %#x, with registers %+v", u.Vector, reason, *regs)
	}
}

func TestThreads(t *testing.T) {
	m := newMachine(t)
	m.want("clone of a process", m.call(linux.SYS_CLONE, linux.SIGCHLD, 0), -linux.EINVAL)
	a, b := m.t, m.clone()
	m.want("gettid", m.call(linux.SYS_GETTID), 1)
	m.call(linux.SYS_SCHED_YIELD)
	if m.t != b || m.call(linux.SYS_GETTID) != 2 {
		t.Fatal("the other thread does not run after a yield")
	}
	// A slice ends when the other waits, not before.
	m.tsc += timeSlice / 2
	m.want("getpid", m.call(linux.SYS_GETPID), 1)
	m.tsc += timeSlice
	m.want("getpid at the slice's end", m.call(linux.SYS_GETPID), noResult)
	if m.t != a {
		t.Fatal("the slice did not end")
	}
	if a.regs.RAX != 0 || b.regs.RAX != 1 {
		t.Errorf("results of yield %d, of getpid %d", a.regs.RAX, b.regs.RAX)
	}
	m.call(linux.SYS_EXIT, 0)
	if m.t != b || findThread(1) != nil || threadLive != 1 {
		t.Error("exit")
	}
	if c := m.clone(); c.tid != 1 {
		t.Errorf("the number of the thread that ended is not used again, but %d", c.tid)
	}
	for m.call(linux.SYS_CLONE, linux.CLONE_VM|linux.CLONE_THREAD, 4096) > 0 {
	}
	if threadLive != maxThreads {
		t.Errorf("%d threads", threadLive)
	}
}

// TestSleep: the idle thread runs until the timer that was set has fired.
func TestSleep(t *testing.T) {
	m := newMachine(t)
	a := m.t
	sleep := func(nr uint64, args ...uintptr) {
		t.Helper()
		if m.call(nr, args...) != noResult || m.t != thisCPU().idle {
			t.Fatal("the CPU is not idle")
		}
	}
	start := now()
	sleep(linux.SYS_NANOSLEEP, object(m, [2]int64{0, 5_000_000}))
	if at := m.msrs[cpu.MSRTSCDeadline]; at < tscAt(start+5_000_000) || at > tscAt(start+5_100_000) {
		t.Errorf("the timer is set to %d", at)
	}
	m.interrupt(vectorTimer)
	if m.t != thisCPU().idle {
		t.Error("a timer that fired early ends a sleep")
	}
	m.tsc += 5_000_000
	m.interrupt(vectorTimer)
	if m.t != a || a.regs.RAX != 0 {
		t.Error("the sleep does not end")
	}
	// 20 µs are 1 ms.
	start = now()
	sleep(linux.SYS_NANOSLEEP, object(m, [2]int64{0, 20_000}))
	if first := deadlines.Next(); first < start+leastSleep {
		t.Errorf("a sleep of 20 µs ends after %d ns", first-start)
	}
	m.tsc += leastSleep
	m.interrupt(vectorTimer)
	// A time that is over does not block.
	m.want("clock_nanosleep", m.call(linux.SYS_CLOCK_NANOSLEEP, linux.CLOCK_MONOTONIC, linux.TIMER_ABSTIME, object(m, [2]int64{0, 1})), 0)
	for _, tt := range []struct {
		ts   [2]int64
		want uint64
	}{{[2]int64{-1, 5}, 0}, {[2]int64{3, 7}, 3_000_000_007}, {[2]int64{1 << 40, 0}, 1 << 62}} {
		if got := timespec(object(m, tt.ts)); got != tt.want {
			t.Errorf("timespec(%v) = %d, want %d", tt.ts, got, tt.want)
		}
	}
	// epoll_wait's time-out.
	ep := uintptr(m.call(linux.SYS_EPOLL_CREATE1))
	sleep(linux.SYS_EPOLL_WAIT, ep, m.alloc(12), 1, 3)
	m.tsc += 3_000_000
	m.interrupt(vectorTimer)
	if m.t != a || a.regs.RAX != 0 || a.waiter.Waiting() {
		t.Error("epoll_wait's time-out")
	}
	sleep(linux.SYS_EPOLL_PWAIT2, ep, m.alloc(12), 1, object(m, [2]int64{0, 2_000_000}))
}

func TestFutex(t *testing.T) {
	m := newMachine(t)
	word := object(m, uint32(7))
	m.want("wait for another value", m.call(linux.SYS_FUTEX, word, linux.FUTEX_WAIT, 8), -linux.EAGAIN)
	m.want("wake of nobody", m.call(linux.SYS_FUTEX, word, linux.FUTEX_WAKE|linux.FUTEX_PRIVATE_FLAG, 5), 0)
	m.want("another operation", m.call(linux.SYS_FUTEX, word, 3, 5), -linux.ENOSYS)
	a := m.t
	waiters := []*thread{m.clone(), m.clone(), m.clone()}
	for range waiters {
		m.call(linux.SYS_SCHED_YIELD)
		for m.t == a {
			m.call(linux.SYS_SCHED_YIELD)
		}
		m.call(linux.SYS_FUTEX, word, linux.FUTEX_WAIT, 7)
	}
	for m.t != a {
		m.call(linux.SYS_SCHED_YIELD)
	}
	m.want("wake of one", m.call(linux.SYS_FUTEX, word, linux.FUTEX_WAKE, 1), 1)
	if waiters[0].state != threadRunnable || waiters[1].state != threadBlocked {
		t.Error("not the one that waited longest was woken")
	}
	m.want("wake of the others", m.call(linux.SYS_FUTEX, word, linux.FUTEX_WAKE_BITSET, 9), 2)

	// With a time-out: relative for WAIT, absolute for WAIT_BITSET.
	for _, op := range []uintptr{linux.FUTEX_WAIT, linux.FUTEX_WAIT_BITSET} {
		m = newMachine(t)
		word, a = object(m, uint32(7)), m.t
		at := int64(2_000_000)
		if op == linux.FUTEX_WAIT_BITSET {
			at += int64(now())
		}
		m.call(linux.SYS_FUTEX, word, op, 7, object(m, [2]int64{0, at}))
		if m.t != thisCPU().idle {
			t.Fatal("FUTEX_WAIT does not block")
		}
		m.tsc += 2_100_000
		m.interrupt(vectorTimer)
		if m.t != a || int64(a.regs.RAX) != -linux.ETIMEDOUT || a.node.InFutex() {
			t.Errorf("operation %d timed out with %d", op, int64(a.regs.RAX))
		}
	}
}

// TestPipe has a thread wait for another's write, and make its call again.
func TestPipe(t *testing.T) {
	m := newMachine(t)
	before := used()
	fds := m.alloc(8)
	m.want("pipe2", m.call(linux.SYS_PIPE2, fds, 0), 0)
	r, w := uintptr(*raw.At[int32](fds)), uintptr(*raw.At[int32](fds + 4))
	a, b, buf := m.t, m.clone(), m.alloc(64)
	rip := a.regs.RIP
	m.want("read", m.call(linux.SYS_READ, r, buf, 10), noResult)
	if m.t != b || a.state != threadBlocked {
		t.Fatal("the read does not block")
	}
	m.want("write", m.call(linux.SYS_WRITE, w, m.text("hi"), 2), 2)
	if a.state != threadRunnable || a.regs.RIP != rip-syscallLength || a.regs.RAX != linux.SYS_READ {
		t.Errorf("the reader: state %d, RIP %#x, RAX %d", a.state, a.regs.RIP, a.regs.RAX)
	}
	m.call(linux.SYS_SCHED_YIELD)
	m.want("read again", m.call(linux.SYS_READ, r, buf, 10), 2)
	m.want("close", m.call(linux.SYS_CLOSE, r), 0)
	m.want("close", m.call(linux.SYS_CLOSE, w), 0)
	// A thread has a frame.
	if got := used(); got != before+1 {
		t.Errorf("%d frames are used, before the pipe were %d", got, before)
	}
}

// TestInterrupts: a device's interrupt wakes who waits in epoll, or makes the
// next EnterUser return.
func TestInterrupts(t *testing.T) {
	m := newMachine(t)
	fd := uintptr(m.call(abi.SysIRQOpen))
	vector := files.Find(int(fd)).Vector
	message := m.alloc(16)
	m.want("IRQMSI", m.call(abi.SysIRQMSI, fd, message), 0)
	if got := *raw.At[[2]uint64](message); got[0] != 0xfee00000 || got[1] != uint64(vector) {
		t.Errorf("the message is %#x", got)
	}
	m.want("IRQRoute", m.call(abi.SysIRQRoute, fd, 5, 1), 0)
	if got := *raw.At[uint32](m.ioapic); got != 0x10+2*5 {
		t.Errorf("register %#x was written", got)
	}
	m.want("IRQRoute of no input", m.call(abi.SysIRQRoute, fd, 24, 1), -linux.EINVAL)
	for _, nr := range []uint64{abi.SysIRQRoute, abi.SysIRQMSI, abi.SysIRQAck} {
		m.want("a call on no interrupt", m.call(nr, 0, message), -linux.EBADF)
	}
	m.interrupt(uint64(vector))
	if thisCPU().irqPending != 1 || *m.ioapicWindow()&(1<<16) == 0 {
		t.Error("an interrupt that nobody waits for is not pending, or not masked")
	}
	m.want("IRQAck", m.call(abi.SysIRQAck, fd), 0)
	if *m.ioapicWindow()&(1<<16) != 0 {
		t.Error("IRQAck does not unmask")
	}
	a, buf := m.t, m.alloc(64)
	m.want("read", m.call(linux.SYS_READ, fd, buf, 8), 8)
	ep := uintptr(m.call(linux.SYS_EPOLL_CREATE1))
	m.call(linux.SYS_EPOLL_CTL, ep, linux.EPOLL_CTL_ADD, fd, object(m, [3]uint32{linux.EPOLLIN, 9, 0}))
	m.call(linux.SYS_EPOLL_WAIT, ep, buf, 1, ^uintptr(0))
	if m.t != thisCPU().idle {
		t.Fatal("epoll_wait does not block")
	}
	m.interrupt(uint64(vector))
	if m.t != a || a.regs.RAX != 1 || *raw.At[uint32](buf + 4) != 9 || thisCPU().irqPending != 0 {
		t.Error("the interrupt does not wake who waits in epoll")
	}
	m.interrupt(vectorSpurious)
	m.interrupt(uint64(vector) + 1) // nobody's
	// In ring 3.
	u := m.enter(uintptr(tables.New()))
	u.Pending = 1
	m.interruptUser(uint64(vector), abi.ExitInterrupt)
	if u.Pending != 0 {
		t.Error("Pending is left")
	}
	// The console's input.
	m.in = []byte("x")
	m.interrupt(serialVector)
	m.want("read of the console", m.call(linux.SYS_READ, 0, buf, 8), 1)
	m.want("close", m.call(linux.SYS_CLOSE, fd), 0)
	if irqs[vector] != nil {
		t.Error("a closed interrupt is left")
	}
	for m.call(abi.SysIRQOpen) > 0 {
	}
}

// TestProgramExceptions: an exception of the program ends EnterUser, with what
// the CPU says of it.
func TestProgramExceptions(t *testing.T) {
	m := newMachine(t)
	m.cr2 = 0xdead000
	for vector, want := range map[uint64]userContext{
		cpu.VectorDivide:     {},
		cpu.VectorDebug:      {ErrorCode: 0x4001},
		cpu.VectorProtection: {ErrorCode: 0x18},
		cpu.VectorPageFault:  {ErrorCode: 0x18, Addr: 0xdead000},
	} {
		u := m.enter(uintptr(tables.New()))
		if vector == cpu.VectorProtection || vector == cpu.VectorPageFault {
			m.t.regs.OrigRAX = 0x18
		}
		m.interruptUser(vector, vector)
		if u.ErrorCode != want.ErrorCode || u.Addr != want.Addr {
			t.Errorf("vector %d: error code %#x, address %#x", vector, u.ErrorCode, u.Addr)
		}
	}
	// A signal to the thread, and Interrupt, end it too.
	u := m.enter(uintptr(tables.New()))
	if got := interruptUser(u); got != 0 || u.Vector != abi.ExitInterrupt || m.t.kind != kindCall {
		t.Error("Interrupt of a program that runs")
	}
}

// TestSignals has random registers survive a signal: the handler finds them in
// its frame, and sigreturn brings them back.
func TestSignals(t *testing.T) {
	m := newMachine(t)
	r := rand.New(rand.NewPCG(1, 2))
	stack := m.alloc(16384)
	const handler, restorer = 0xffffffffa0001230, 0xffffffffa0001240
	action := object(m, signalAction{handler: handler, flags: linux.SA_ONSTACK, restorer: restorer, mask: 1 << (linux.SIGCHLD - 1)})
	m.want("sigaction", m.call(linux.SYS_RT_SIGACTION, linux.SIGURG, action, 0), 0)
	old := m.alloc(64)
	m.want("sigaction back", m.call(linux.SYS_RT_SIGACTION, linux.SIGURG, 0, old), 0)
	if *raw.At[signalAction](old) != *raw.At[signalAction](action) {
		t.Error("sigaction does not tell what was set")
	}
	m.want("sigaction of no signal", m.call(linux.SYS_RT_SIGACTION, 65, action, 0), -linux.EINVAL)
	m.want("sigaltstack", m.call(linux.SYS_SIGALTSTACK, object(m, stackT{sp: stack, size: 16384}), 0), 0)
	m.call(linux.SYS_SIGALTSTACK, 0, old)
	if got := *raw.At[stackT](old); got != (stackT{sp: stack, size: 16384}) {
		t.Errorf("sigaltstack tells %+v", got)
	}
	for range 20 {
		th := m.t
		th.kind = kindTrap
		regs := registers{
			RAX: r.Uint64(), RBX: r.Uint64(), RCX: r.Uint64(), RDX: r.Uint64(), RSI: r.Uint64(), RDI: r.Uint64(),
			RBP: r.Uint64(), R8: r.Uint64(), R9: r.Uint64(), R10: r.Uint64(), R11: r.Uint64(), R12: r.Uint64(),
			R13: r.Uint64(), R14: r.Uint64(), R15: r.Uint64(), RSP: uint64(m.alloc(64)), RIP: 0xffffffffa0005555,
			RFLAGS: alwaysFlags | 1, CS: selKernelCode, SS: selKernelData,
		}
		th.regs = regs
		floats := raw.Bytes(th.fp, fxSize)
		for i := range floats {
			floats[i] = byte(r.Uint32())
		}
		before := string(floats)
		if got := sendSignal(th, linux.SIGURG, 1); got != 0 {
			t.Fatalf("sendSignal = %d", got)
		}
		deliverSignals(th)
		f := raw.At[signalFrame](uintptr(th.regs.RSP))
		if th.regs.RIP != handler || th.regs.RSP < uint64(stack) || th.regs.RSP > uint64(stack)+16384 || th.regs.RSP%16 != 8 ||
			f.restorer != restorer || th.regs.RDI != linux.SIGURG || f.info.signo != linux.SIGURG || f.uc.rip != regs.RIP {
			t.Fatalf("the handler's registers: %+v", th.regs)
		}
		if th.signals.mask != 1<<(linux.SIGCHLD-1)|1<<(linux.SIGURG-1) {
			t.Errorf("the handler's mask is %#x", th.signals.mask)
		}
		m.call(linux.SYS_SIGALTSTACK, 0, old)
		if got := raw.At[stackT](old).flags; got != linux.SS_ONSTACK {
			t.Errorf("in the handler, sigaltstack tells flags %d", got)
		}
		clear(floats)
		th.regs.RSP += 8 // the handler's RET
		m.call(linux.SYS_RT_SIGRETURN)
		regs.OrigRAX = th.regs.OrigRAX
		if th.regs != regs || string(floats) != before || th.signals.mask != 0 || th.kind != kindTrap {
			t.Fatalf("after sigreturn %+v, want %+v", th.regs, regs)
		}
	}
	for _, tt := range []struct {
		how  uintptr
		set  uint64
		want uint64
	}{{linux.SIG_BLOCK, 5, 5}, {linux.SIG_UNBLOCK, 1, 4}, {linux.SIG_SETMASK, 9, 9}} {
		m.want("sigprocmask", m.call(linux.SYS_RT_SIGPROCMASK, tt.how, object(m, tt.set), 0), 0)
		m.call(linux.SYS_RT_SIGPROCMASK, 0, 0, old)
		if got := *raw.At[uint64](old); got != tt.want {
			t.Errorf("the mask is %#x, want %#x", got, tt.want)
		}
	}
	m.want("sigprocmask of no kind", m.call(linux.SYS_RT_SIGPROCMASK, 9, object(m, uint64(1)), 0), -linux.EINVAL)
}

// TestSignalWakes: a signal ends a wait with EINTR, or has a read made again.
func TestSignalWakes(t *testing.T) {
	m := newMachine(t)
	action := object(m, signalAction{handler: 0xffffffffa0001230, flags: linux.SA_ONSTACK})
	m.call(linux.SYS_RT_SIGACTION, linux.SIGURG, action, 0)
	a, b := m.t, m.clone()
	m.call(linux.SYS_FUTEX, object(m, uint32(0)), linux.FUTEX_WAIT, 0)
	if m.t != b {
		t.Fatal("futex")
	}
	m.want("tgkill", m.call(linux.SYS_TGKILL, 1, uintptr(a.tid), linux.SIGURG), 0)
	if a.state != threadRunnable || int64(a.regs.RAX) != -linux.EINTR || a.node.InFutex() {
		t.Errorf("a thread in a futex: state %d, result %d", a.state, int64(a.regs.RAX))
	}
	fds := m.alloc(8)
	m.call(linux.SYS_PIPE2, fds, 0)
	m.call(linux.SYS_READ, uintptr(*raw.At[int32](fds)), m.alloc(8), 8)
	if m.t != a {
		t.Fatal("read")
	}
	rip := b.regs.RIP
	m.want("tkill", m.call(linux.SYS_TKILL, uintptr(b.tid), linux.SIGURG), 0)
	if b.state != threadRunnable || b.regs.RIP != rip-syscallLength || b.waiter.Waiting() {
		t.Error("a thread in a read does not make its call again")
	}
	// One in ring 3 leaves it.
	m.call(linux.SYS_SCHED_YIELD)
	th := m.t
	th.signals.mask = 0 // it is in the handler
	u := m.enter(uintptr(tables.New()))
	sendSignal(th, linux.SIGURG, 1)
	if u.Vector != abi.ExitInterrupt || th.kind != kindCall {
		t.Error("a signal does not end EnterUser")
	}
}

// TestKernelExceptions: an exception of the kernel program becomes the signal
// that Linux would send, or a report if nobody takes that.
func TestKernelExceptions(t *testing.T) {
	m := newMachine(t)
	for _, sig := range []uintptr{linux.SIGSEGV, linux.SIGFPE, linux.SIGILL, linux.SIGBUS, linux.SIGTRAP} {
		action := object(m, signalAction{handler: 0xffffffffa0001230, flags: linux.SA_ONSTACK | linux.SA_NODEFER})
		m.call(linux.SYS_RT_SIGACTION, sig, action, 0)
	}
	stack := m.alloc(16384)
	m.call(linux.SYS_SIGALTSTACK, object(m, stackT{sp: stack, size: 16384}), 0)
	mapped := uint64(m.call(linux.SYS_MMAP, 0, 4096, 1, linux.MAP_ANONYMOUS))
	for _, tt := range []struct {
		vector, addr uint64
		signo, code  int32
	}{
		{cpu.VectorDivide, 0, linux.SIGFPE, linux.FPE_INTDIV},
		{cpu.VectorSIMD, 0, linux.SIGFPE, linux.FPE_FLTINV},
		{cpu.VectorDebug, 0, linux.SIGTRAP, linux.TRAP_TRACE},
		{cpu.VectorBreakpoint, 0, linux.SIGTRAP, linux.SI_KERNEL},
		{cpu.VectorInvalidOpcode, 0, linux.SIGILL, linux.ILL_ILLOPN},
		{cpu.VectorAlignment, 0, linux.SIGBUS, linux.BUS_ADRALN},
		{cpu.VectorProtection, 0, linux.SIGSEGV, linux.SI_KERNEL},
		{cpu.VectorPageFault, 8, linux.SIGSEGV, linux.SEGV_MAPERR},
		{cpu.VectorPageFault, mapped, linux.SIGSEGV, linux.SEGV_ACCERR},
		{cpu.VectorPageFault, memfdBase, linux.SIGBUS, linux.BUS_ADRERR},
	} {
		m.cr2 = tt.addr
		m.t.regs = registers{RIP: 0xffffffffa0005555, RSP: uint64(m.alloc(64)), CS: selKernelCode, SS: selKernelData}
		m.interrupt(tt.vector)
		f := raw.At[signalFrame](uintptr(m.t.regs.RSP))
		if f.info.signo != tt.signo || f.info.code != tt.code || f.uc.trapno != tt.vector || m.t.lastException.vector != tt.vector {
			t.Errorf("vector %d at %#x: signal %d, code %d, vector in the frame %d", tt.vector, tt.addr, f.info.signo, f.info.code, f.uc.trapno)
		}
	}
	actions[linux.SIGSEGV].handler = linux.SIG_DFL
	m.t.regs = registers{RIP: 0xffffffffa0005555, CS: selKernelCode}
	out := m.ends(ending.Panic, func() { m.interrupt(cpu.VectorProtection) })
	for _, want := range []string{"kernel panic: exception in the kernel program", "general protection fault (#GP), vector 13", "rip 0xffffffffa0005555", "memory: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the report has no %q:\n%s", want, out)
		}
	}
}

// TestReports ends machines in each way, and reads what they say.
func TestReports(t *testing.T) {
	metal := &registers{RIP: 0xffffffff80101234, CS: selKernelCode}
	for _, tt := range []struct {
		name string
		code uint8
		do   func(m *simulated)
		want string
	}{
		{"exit", 5, func(m *simulated) { m.call(linux.SYS_EXIT_GROUP, 5) }, ""},
		{"exit with a large status", ending.Large, func(m *simulated) { m.call(abi.SysPowerOff, 200) }, ""},
		{"panic", ending.Panic, func(m *simulated) {
			m.t.lastException = exception{vector: cpu.VectorDivide, rip: 0xffffffffa0001000}
			m.call(linux.SYS_EXIT_GROUP, crashStatus)
		}, "last exception of this thread: divide error (#DE), vector 0"},
		{"killed", ending.Panic, func(m *simulated) { m.call(linux.SYS_KILL, 1, linux.SIGSEGV) }, "killed itself with a signal"},
		{"double fault", ending.Panic, func(*simulated) { fatalTrap(metal, cpu.VectorDoubleFault) }, "a stack overflow, as a rule"},
		{"NMI", ending.Panic, func(*simulated) { fatalTrap(metal, cpu.VectorNMI) }, "non-maskable interrupt (NMI)"},
		{"in metal", ending.Panic, func(m *simulated) { trap(m.t, cpu.VectorDivide, 1) }, "exception in metal"},
		{"page fault in metal", ending.Panic, func(*simulated) {
			thisCPU().inHandler = 1
			pageFault(metal, 0x10)
		}, "page fault in metal\nexception: page fault (#PF), vector 14, error code 0x0000000000000000: read of what is not mapped, 0x0000000000000010"},
		{"page fault in a page fault", ending.Panic, func(*simulated) {
			thisCPU().inFault = true
			pageFault(metal, 0x10)
		}, "page fault in the page fault handler"},
		{"no memory", ending.NoMemory, func(*simulated) {
			for frames.Alloc(0) != 0 {
			}
			fatalMemory()
		}, "kernel panic: out of memory"},
		{"no memory at boot", bootFailed, func(*simulated) {
			thisCPU().cur = nil
			fatalMemory()
		}, "kiln: cannot boot: not enough memory for the kernel program"},
		{"a failure in a report", ending.Panic, func(*simulated) {
			reporting = true
			fatalTrap(metal, cpu.VectorNMI)
		}, "another failure while reporting the first"},
		{"in ring 3", ending.Panic, func(*simulated) { report("x", &registers{CS: selUserCode}, nil); exitMachine(ending.Panic) }, "in the program (ring 3)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			if out := m.ends(tt.code, func() { tt.do(m) }); !strings.Contains(out, tt.want) {
				t.Errorf("the machine said %q, want %q", out, tt.want)
			}
		})
	}
}

// TestExceptionNames: each exception that the CPU has a name for is printed
// with it, and each kind of page fault with what was tried.
func TestExceptionNames(t *testing.T) {
	seen := map[string]bool{}
	for v := range uint64(20) {
		name := exceptionName(v)
		if v != 9 && v != 15 && (name == "unknown" || seen[name]) {
			t.Errorf("vector %d is called %q", v, name)
		}
		seen[name] = true
	}
	seen = map[string]bool{}
	for _, code := range []uint64{0, cpu.FaultPresent, cpu.FaultWrite, cpu.FaultWrite | cpu.FaultPresent, cpu.FaultFetch, cpu.FaultFetch | cpu.FaultPresent} {
		e := exception{vector: cpu.VectorPageFault, code: code}
		seen[e.access()] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d kinds of access", len(seen))
	}
}
