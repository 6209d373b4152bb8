package platform

import (
	"testing"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/machine"
)

// Where the tests' program has its code, its far pointer and its stack. Its
// memory ends at memorySize.
const (
	codeAt     = 0x100
	pointerAt  = 0x200
	stackAt    = 0x300
	memorySize = 0x400
)

// TestTransfer carries out far transfers with words on the stack, or as the far
// pointer of a call.
func TestTransfer(t *testing.T) {
	const start = 0 // no flags
	stack := func(size int, words ...uint64) []byte {
		b := make([]byte, size*len(words))
		for i, w := range words {
			putWord(b[i*size:][:size], w)
		}
		return b
	}
	iretq, iretd, iretw := "\x48\xcf", "\xcf", "\x66\xcf"
	lretq, lretq16 := "\x48\xcb", "\x48\xca\x10\x00"
	call, callq := "\xff\x1f", "\x48\xff\x1f" // through (rdi)
	pointer := []byte{0x78, 0x56, 0x34, 0x12, userCode, 0}
	for _, tt := range []struct {
		name        string
		code        string
		stack       []byte
		rsp, flags  uint64
		exit        machine.Exit
		rip, newRSP uint64 // if exit is transferDone
		newFlags    uint64
		addr        uint64 // if exit is machine.ExitPageFault
	}{
		{"iretq", iretq, stack(8, 0x7fff00001000, userCode, 0x202, 0x7ffe0000, userData), stackAt, start,
			transferDone, 0x7fff00001000, 0x7ffe0000, 0, 0},
		{"iretq, selectors with more bits", iretq, stack(8, 1, userCode|0x10000, 0, 2, userData|0xff0000), stackAt, start, transferDone, 1, 2, 0, 0},
		{"iretd", iretd, stack(4, 0x1000, userCode, 0x202, 0xfffffff0, userData), stackAt, start, transferDone, 0x1000, 0xfffffff0, 0, 0},
		{"iretw", iretw, stack(2, 0x1000, userCode, 0x202, 0xfff0, userData), stackAt, start, transferDone, 0x1000, 0xfff0, 0, 0},
		{"flags set", iretq, stack(8, 1, userCode, ^uint64(0), 2, userData), stackAt, start, transferDone, 1, 2, iretFlags, 0},
		{"flags of 16 bits", iretw, stack(2, 1, userCode, 0xffff, 2, userData), stackAt, 1 << 18, transferDone, 1, 2, iretFlags&0xffff | 1<<18, 0},
		{"flags cleared", iretq, stack(8, 1, userCode, 0, 2, userData), stackAt, iretFlags&^(eflagsTrap|eflagsNested) | 0x200, transferDone, 1, 2, 0x200, 0},
		{"VM and IOPL stay", iretd, stack(4, 1, userCode, 0x23200, 2, userData), stackAt, start, transferDone, 1, 2, 0, 0},
		{"single step", iretq, stack(8, 1, userCode, 0, 2, userData), stackAt, eflagsTrap, machine.ExitDebug, 0, 0, 0, 0},
		{"nested task", iretq, stack(8, 1, userCode, 0, 2, userData), stackAt, eflagsNested, machine.ExitProtection, 0, 0, 0, 0},
		{"no CS", iretq, stack(8, 1, 0, 0, 2, userData), stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
		{"kernel's CS", iretq, stack(8, 1, 0x10, 0, 2, userData), stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
		{"no SS", iretq, stack(8, 1, userCode, 0, 2, 0), stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
		{"RIP not canonical", iretq, stack(8, 1<<47, userCode, 0, 2, userData), stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
		{"frame not mapped", iretq, nil, memorySize + 8, start, machine.ExitPageFault, 0, 0, 0, memorySize + 8},
		{"frame ends with the memory", iretq, nil, memorySize - 16, start, machine.ExitPageFault, 0, 0, 0, memorySize},
		{"frame in the kernel", iretq, nil, 0xffff888000100000, start, machine.ExitPageFault, 0, 0, 0, 0xffff888000100000},
		{"lretq", lretq, stack(8, 0x1000, userCode), stackAt, start, transferDone, 0x1000, stackAt + 16, 0, 0},
		{"lretq 16", lretq16, stack(8, 0x1000, userCode), stackAt, start, transferDone, 0x1000, stackAt + 32, 0, 0},
		{"lretq to the kernel's CS", lretq, stack(8, 0x1000, 0x10), stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
		{"call", call, nil, stackAt, start, transferDone, 0x12345678, stackAt - 8, 0, 0},
		{"call, stack not mapped", call, nil, memorySize + 64, start, machine.ExitPageFault, 0, 0, 0, memorySize + 56},
		{"call of 64 bits, selector 0", callq, nil, stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
		{"another instruction", "\x90", nil, stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
		{"no instruction", "\x06", nil, stackAt, start, machine.ExitProtection, 0, 0, 0, 0},
	} {
		mem := make([]byte, memorySize)
		copy(mem[codeAt:], tt.code)
		copy(mem[pointerAt:], pointer)
		copy(mem[stackAt:], tt.stack)
		regs := machine.Registers{RIP: codeAt, RSP: tt.rsp, RFLAGS: tt.flags, RDI: pointerAt}
		before := regs
		tr := transfer{ctx: context.Background(), mem: &usermem.BytesIO{Bytes: mem}, regs: &regs}
		exit := tr.run()
		switch {
		case exit != tt.exit:
			t.Errorf("%s: exit = %d, want %d", tt.name, exit, tt.exit)
		case exit == transferDone:
			if regs.RIP != tt.rip || regs.RSP != tt.newRSP || regs.RFLAGS != tt.newFlags {
				t.Errorf("%s: RIP, RSP, RFLAGS = %#x, %#x, %#x, want %#x, %#x, %#x",
					tt.name, regs.RIP, regs.RSP, regs.RFLAGS, tt.rip, tt.newRSP, tt.newFlags)
			}
		case exit != machine.ExitDebug && regs != before:
			t.Errorf("%s: registers changed", tt.name)
		case exit == machine.ExitPageFault && tr.addr != tt.addr:
			t.Errorf("%s: fault at %#x, want %#x", tt.name, tr.addr, tt.addr)
		}
	}
}

// TestFarCallPushes checks what a far call leaves on the stack.
func TestFarCallPushes(t *testing.T) {
	mem := make([]byte, memorySize)
	copy(mem[codeAt:], "\x64\xff\x5c\x8b\xf0") // call far fs:[rbx+4*rcx-16]
	copy(mem[pointerAt:], []byte{0x78, 0x56, 0x34, 0x12, userCode, 0})
	regs := machine.Registers{RIP: codeAt, RSP: stackAt, RBX: 0x100, RCX: 4, FSBase: pointerAt - 0x100}
	tr := transfer{ctx: context.Background(), mem: &usermem.BytesIO{Bytes: mem}, regs: &regs}
	if exit := tr.run(); exit != transferDone {
		t.Fatalf("exit = %d, want %d", exit, transferDone)
	}
	if ip, cs := word(mem[stackAt-8:][:4]), word(mem[stackAt-4:][:4]); ip != codeAt+5 || cs != userCode {
		t.Errorf("pushed %#x and %#x, want %#x and %#x", ip, cs, codeAt+5, userCode)
	}
}

func TestSupervisorAccess(t *testing.T) {
	for _, tt := range []struct {
		name       string
		code, addr uint64
		want       bool
	}{
		{"program's own", machine.FaultUser | machine.FaultProtection, 0x1000, false},
		{"page not there", 0, 0x1000, false},
		{"SMAP", machine.FaultProtection, 0x1000, true},
		{"SMAP, write", machine.FaultProtection | machine.FaultWrite, 0x1000, true},
		{"descriptor table", machine.FaultProtection, 0xffffffff80200000, false},
	} {
		if got := supervisorAccess(tt.code, tt.addr); got != tt.want {
			t.Errorf("%s: supervisorAccess = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFloatCode(t *testing.T) {
	for _, tt := range []struct {
		raised uint16
		want   int32
	}{
		{0x01, fpeFltInv}, {0x02, fpeFltUnd}, {0x04, fpeFltDiv}, {0x08, fpeFltOvf},
		{0x10, fpeFltUnd}, {0x20, fpeFltRes}, {0x25, fpeFltInv}, {0x24, fpeFltDiv},
	} {
		area := make([]byte, 512)
		putWord(area[:2], uint64(^tt.raised)&0x3f)                         // unmasked
		putWord(area[2:4], uint64(tt.raised))                              // status
		putWord(area[24:28], uint64(tt.raised)|uint64(^tt.raised)&0x3f<<7) // MXCSR
		if got := x87Code(area[:512]); got != tt.want {
			t.Errorf("x87Code of %#x = %d, want %d", tt.raised, got, tt.want)
		}
		if got := simdCode(area); got != tt.want {
			t.Errorf("simdCode of %#x = %d, want %d", tt.raised, got, tt.want)
		}
	}
}
