package platform

import (
	"reflect"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/cpuid"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch/fpu"

	"kiln/kernel/machine"
)

// TestRegisterLayout guards the conversion in registers: field by field, the
// two structures must agree in offset and size.
func TestRegisterLayout(t *testing.T) {
	theirs := reflect.TypeFor[linux.PtraceRegs]()
	ours := reflect.TypeFor[machine.Registers]()
	if theirs.Size() != ours.Size() {
		t.Errorf("PtraceRegs has %d bytes, machine.Registers %d, want the same", theirs.Size(), ours.Size())
	}
	names := map[string]string{
		"R15": "R15", "R14": "R14", "R13": "R13", "R12": "R12", "Rbp": "RBP", "Rbx": "RBX", "R11": "R11",
		"R10": "R10", "R9": "R9", "R8": "R8", "Rax": "RAX", "Rcx": "RCX", "Rdx": "RDX", "Rsi": "RSI",
		"Rdi": "RDI", "Orig_rax": "OrigRAX", "Rip": "RIP", "Cs": "CS", "Eflags": "RFLAGS", "Rsp": "RSP",
		"Ss": "SS", "Fs_base": "FSBase", "Gs_base": "GSBase", "Ds": "DS", "Es": "ES", "Fs": "FS", "Gs": "GS",
	}
	for i := range theirs.NumField() {
		if name := theirs.Field(i).Name; name != "_" && names[name] == "" {
			t.Errorf("PtraceRegs has a field %s that machine.Registers lacks", name)
		}
	}
	for their, our := range names {
		a, ok1 := theirs.FieldByName(their)
		b, ok2 := ours.FieldByName(our)
		if !ok1 || !ok2 || a.Offset != b.Offset || a.Type.Size() != b.Type.Size() {
			t.Errorf("PtraceRegs.%s at %d, machine.Registers.%s at %d, want the same place", their, a.Offset, our, b.Offset)
		}
	}
}

// TestFloatingPointAlignment: XSAVE faults on an area that is not aligned to
// 64 bytes (Intel SDM vol. 1 §13.4).
func TestFloatingPointAlignment(t *testing.T) {
	cpuid.Initialize()
	for range 100 {
		s := fpu.NewState()
		if p := address(s.BytePointer()); p%64 != 0 {
			t.Fatalf("floating point state at %#x, want a multiple of 64", p)
		}
		f := s.Fork()
		if p := address(f.BytePointer()); p%64 != 0 {
			t.Fatalf("forked floating point state at %#x, want a multiple of 64", p)
		}
	}
}

func TestEnterable(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rip, fs uint64
		gs      uint64
		want    bool
	}{
		{"ordinary", 0x401000, 0x7f0000001000, 0, true},
		{"highest", 1<<47 - 1, 0, 0, true},
		{"first non-canonical", 1 << 47, 0, 0, false},
		{"kernel text", 0xffffffffa0001000, 0, 0, false},
		{"vsyscall page", 0xffffffffff600000, 0, 0, false},
		{"bad FS", 0x401000, 1 << 63, 0, false},
		{"bad GS", 0x401000, 0, 1 << 47, false},
		{"upper-half FS is canonical", 0x401000, 0xffff800000000000, 0, true},
	} {
		r := machine.Registers{RIP: tt.rip, FSBase: tt.fs, GSBase: tt.gs}
		if got := enterable(&r); got != tt.want {
			t.Errorf("%s: enterable = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPageFault(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr uint64
		code uint64
		at   hostarch.AccessType
		sig  int32
	}{
		{"read of nothing", 0x1234, machine.FaultUser, hostarch.Read, segvMapErr},
		{"write of nothing", 0x1234, machine.FaultUser | machine.FaultWrite, hostarch.Write, segvMapErr},
		{"write of a read-only page", 0x1234, machine.FaultUser | machine.FaultWrite | machine.FaultProtection, hostarch.Write, segvAccErr},
		{"read of the kernel", 0xffffffff80200000, machine.FaultUser | machine.FaultProtection, hostarch.Read, segvMapErr},
		{"execution of data", 0x1234, machine.FaultUser | machine.FaultExec | machine.FaultProtection, hostarch.Execute, segvAccErr},
	} {
		var c taskContext
		at := c.pageFault(tt.code, tt.addr)
		if at != tt.at {
			t.Errorf("%s: access = %v, want %v", tt.name, at, tt.at)
		}
		if c.info.Signo != int32(unix.SIGSEGV) || c.info.Code != tt.sig || c.info.Addr() != tt.addr {
			t.Errorf("%s: signal %d code %d address %#x, want %d %d %#x", tt.name, c.info.Signo, c.info.Code, c.info.Addr(), unix.SIGSEGV, tt.sig, tt.addr)
		}
	}
}

func TestException(t *testing.T) {
	const ip = 0x401234
	for _, tt := range []struct {
		exit   machine.Exit
		detail uint64 // DR6
		signal unix.Signal
		code   int32
		addr   uint64
	}{
		{machine.ExitDivide, 0, unix.SIGFPE, fpeIntDiv, ip},
		{machine.ExitDebug, machine.DebugStep, unix.SIGTRAP, trapTrace, ip},
		{machine.ExitDebug, 0, unix.SIGTRAP, trapBrkpt, ip},
		{machine.ExitBreakpoint, 0, unix.SIGTRAP, linux.SI_KERNEL, 0},
		{machine.ExitInvalidOp, 0, unix.SIGILL, illIllOpn, ip},
		{machine.ExitProtection, 0, unix.SIGSEGV, linux.SI_KERNEL, 0},
		{machine.ExitAlignment, 0, unix.SIGBUS, busAdrAln, 0},
		{machine.ExitNotPresent, 0, unix.SIGBUS, linux.SI_KERNEL, 0},
		{machine.ExitStack, 0, unix.SIGBUS, linux.SI_KERNEL, 0},
		{machine.Exit(10), 0, unix.SIGSEGV, linux.SI_KERNEL, 0}, // invalid TSS
		{machine.ExitSIMD, 0, unix.SIGFPE, fpeFltInv, ip},
		{machine.ExitX87, 0, unix.SIGFPE, fpeFltInv, ip},
	} {
		var c taskContext
		var fp [512]byte
		c.exception(tt.exit, &machine.Registers{RIP: ip}, &fp[0], tt.detail, 0)
		if c.info.Signo != int32(tt.signal) || c.info.Code != tt.code || c.info.Addr() != tt.addr {
			t.Errorf("vector %d: signal %d code %d address %#x, want %d %d %#x", tt.exit, c.info.Signo, c.info.Code, c.info.Addr(), tt.signal, tt.code, tt.addr)
		}
	}
}

// TestInterruptIsKept: an interrupt before Switch makes the next Switch
// return, which it then does before ring 3.
func TestInterruptIsKept(t *testing.T) {
	var c taskContext
	c.Interrupt()
	if !c.interrupted.Load() {
		t.Error("Interrupt before Switch was forgotten")
	}
}

func TestPagesOfCall(t *testing.T) {
	for _, tt := range []struct {
		regs machine.Registers
		kind taking
		want int
	}{
		{machine.Registers{RAX: unix.SYS_GETPPID, RDX: 1 << 20}, few, 0},
		{machine.Registers{RAX: 1 << 40, RDX: 1 << 20}, few, 0},
		{machine.Registers{RAX: unix.SYS_WRITE, RDX: 100}, moves, 0},
		{machine.Registers{RAX: unix.SYS_WRITE, RDX: 256 << 10}, moves, 64},
		{machine.Registers{RAX: unix.SYS_PREAD64, RDX: 1 << 63}, moves, pagesOfMove},
		{machine.Registers{RAX: unix.SYS_WRITEV, RDX: 1 << 40}, vectors, 0},
		{machine.Registers{RAX: unix.SYS_WRITEV, RDX: 3}, vectors, 3 * vectorPages},
		{machine.Registers{RAX: unix.SYS_SENDFILE, R10: 1 << 16}, fourth, 16},
		{machine.Registers{RAX: unix.SYS_SPLICE, R8: 1 << 16}, fifth, 16},
		{machine.Registers{RAX: unix.SYS_GETRANDOM, RSI: 1 << 16}, second, 16},
		{machine.Registers{RAX: unix.SYS_CLONE3}, clones, pagesOfClone},
		{machine.Registers{RAX: unix.SYS_EXECVE}, executes, pagesOfMove},
		{machine.Registers{RAX: unix.SYS_IO_SUBMIT}, most, pagesOfMove},
		{machine.Registers{RAX: unix.SYS_MUNMAP, RSI: 1 << 30}, gives, 0},
	} {
		kind := takingOf(tt.regs.RAX)
		if got := kind.pages(&tt.regs); kind != tt.kind || got != tt.want {
			t.Errorf("call %d is of kind %d and takes %d pages, want %d and %d", tt.regs.RAX, kind, got, tt.kind, tt.want)
		}
	}
}

// TestHold: what a call is promised, while there are plenty of frames and while
// there are few.
func TestHold(t *testing.T) {
	small, large := promise{moment: pagesOfCopy}, 64
	for _, tt := range []struct {
		name        string
		regs        machine.Registers
		plenty, few promise
	}{
		{"getppid", machine.Registers{RAX: unix.SYS_GETPPID}, promise{}, small},
		{"close", machine.Registers{RAX: unix.SYS_CLOSE}, promise{}, promise{}},
		{"small read", machine.Registers{RAX: unix.SYS_READ, RDX: 100}, promise{}, small},
		{"large read", machine.Registers{RAX: unix.SYS_READ, RDX: 256 << 10}, promise{call: large}, promise{call: large, moment: pagesOfCopy}},
		{"fork", machine.Registers{RAX: unix.SYS_FORK}, promise{moment: pagesOfClone + pagesOfCopy}, promise{moment: pagesOfClone + 2*pagesOfCopy}},
	} {
		for _, m := range []struct {
			base, ample int64
			want        promise
		}{{0, heldPages + fewestCopies*pagesOfCopy, tt.plenty}, {machine.FreeFrames() - fewestCopies*pagesOfCopy, machine.FreeFrames(), tt.few}} {
			r := &Reserve{base: m.base, promised: new(atomic.Int64), free: machine.FreeCounter()}
			r.ample.Store(m.ample)
			c := &taskContext{platform: New(Hooks{NoTask: func(context.Context) bool { return false }}, r)}
			if !c.hold(context.Background(), &tt.regs) || c.held != m.want {
				t.Errorf("%s with %d frames that must stay free: promised %+v, want %+v", tt.name, m.base, c.held, m.want)
			}
			if scarce := m.base != 0; c.platform.reserve.Scarce() != scarce {
				t.Errorf("%s with %d frames that must stay free: scarce = %v, want %v", tt.name, m.base, !scarce, scarce)
			}
			c.unhold()
		}
	}
}

// TestCrowd: what is kept for tasks, and what one more or less takes, grows with
// their number, and comes back.
func TestCrowd(t *testing.T) {
	r := &Reserve{base: 100, most: 3000, bound: 70 * pagesOfCopy, promised: new(atomic.Int64), free: machine.FreeCounter()}
	p := New(Hooks{}, r)
	var all []*taskContext
	for range 100 {
		all = append(all, p.NewContext(context.Background()).(*taskContext))
	}
	if got := r.Frames(); got != 100+100*pagesOfTask {
		t.Errorf("with 100 tasks %d frames must stay free, want %d", got, 100+100*pagesOfTask)
	}
	if got := r.crowd(); got != 50 {
		t.Errorf("with 100 tasks one more takes %d frames, want 50", got)
	}
	if got, want := r.ample.Load(), int64(100+heldPages+70*pagesOfCopy); got != want {
		t.Errorf("with 100 tasks memory is ample with %d frames, want %d", got, want)
	}
	// Two exit; the second waits for the first, but not for ever.
	all[0].PrepareExit()
	all[1].PrepareExit()
	if !all[0].exits || all[1].exits {
		t.Errorf("the place of who exits: %v and %v, want the first to have it", all[0].exits, all[1].exits)
	}
	for _, c := range all {
		c.Release()
	}
	if got := r.Frames(); got != 100 || r.ample.Load() != 3100 || len(p.exit) != 0 {
		t.Errorf("in the end %d frames must stay free and %d are ample, %d exit; want 100, 3100, 0", got, r.ample.Load(), len(p.exit))
	}
}
