package platform

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/machine"
)

// Far transfers in ring 3: IRET, far RET, far CALL. They move the instruction
// pointer together with a code segment, by way of the stack. Programs use IRET
// to set all registers at once (.NET's runtime does).
//
// A CPU makes these accesses to the stack as ring 3. QEMU's TCG before 9.1
// makes them as the supervisor, whatever ring runs the instruction. SMAP then
// refuses them: each time the program tries, it faults on a page that it may
// access. supervisorAccess knows such a fault by its error code; then transfer
// carries out the instruction in the CPU's place, by the rules of the Intel SDM
// vol. 2 for 64-bit mode and equal privilege.

// The only segments that a program can load.
const (
	userCode = 0x33
	userData = 0x2b
)

// iretFlags are the RFLAGS that IRET loads in ring 3; the others stay.
const iretFlags = 0x254dd5 // CF PF AF ZF SF TF DF OF NT RF AC ID

// Bits of RFLAGS.
const (
	eflagsTrap   = 1 << 8
	eflagsNested = 1 << 14
)

// maxInstruction is how long an x86 instruction can be, in bytes.
const maxInstruction = 15

// supervisorAccess reports whether code, of a page fault in ring 3 on an
// address of the program's, is of an access that was made as the supervisor,
// to a page that is there.
func supervisorAccess(code, addr uint64) bool {
	return code&machine.FaultUser == 0 && code&machine.FaultProtection != 0 && addr < maxUserAddress
}

// transfer is a far transfer that is being carried out.
type transfer struct {
	ctx  context.Context
	mem  usermem.IO // the program's memory
	regs *machine.Registers
	size int // of a word on the stack, in bytes: 2, 4 or 8

	// Of the exception that ended it, as machine.User.Fault returns them.
	code, addr uint64
}

// transferDone is the Exit of a transfer that was carried out.
const transferDone = machine.ExitInterrupt

// run carries out the instruction at RIP. It returns transferDone; or
// ExitDebug if the program was single-stepping; or another exception, which the
// instruction raises, with the registers as they were.
func (t *transfer) run() machine.Exit {
	stepping := t.regs.RFLAGS&eflagsTrap != 0
	exit := t.instruction()
	if exit == transferDone && stepping {
		t.code = machine.DebugStep
		return machine.ExitDebug
	}
	return exit
}

func (t *transfer) instruction() machine.Exit {
	var code [maxInstruction]byte
	n, _ := t.mem.CopyIn(t.ctx, hostarch.Addr(t.regs.RIP), code[:], usermem.IOOpts{})
	inst, err := x86asm.Decode(code[:n], 64)
	if err != nil {
		return machine.ExitProtection
	}
	t.size = inst.DataSize / 8
	switch inst.Op {
	case x86asm.IRET, x86asm.IRETD, x86asm.IRETQ:
		return t.interruptReturn()
	case x86asm.LRET:
		drop, _ := inst.Args[0].(x86asm.Imm)
		return t.farReturn(uint64(drop))
	case x86asm.LCALL: // in 64-bit mode only through memory
		if _, ok := inst.Args[0].(x86asm.Mem); ok {
			return t.farCall(&inst)
		}
	}
	return machine.ExitProtection // no other instruction ends here
}

// interruptReturn is IRET.
func (t *transfer) interruptReturn() machine.Exit {
	if t.regs.RFLAGS&eflagsNested != 0 {
		return machine.ExitProtection
	}
	var w [5]uint64 // RIP, CS, RFLAGS, RSP, SS
	if !t.read(t.regs.RSP, w[:]) {
		return machine.ExitPageFault
	}
	if w[1]&0xffff != userCode || w[4]&0xffff != userData || !canonical(w[0]) {
		return machine.ExitProtection
	}
	flags := uint64(iretFlags)
	if t.size == 2 {
		flags &= 0xffff
	}
	t.regs.RIP, t.regs.RSP = w[0], w[3]
	t.regs.RFLAGS = t.regs.RFLAGS&^flags | w[2]&flags
	return transferDone
}

// farReturn is far RET, which drops so many bytes more.
func (t *transfer) farReturn(drop uint64) machine.Exit {
	var w [2]uint64 // RIP, CS
	if !t.read(t.regs.RSP, w[:]) {
		return machine.ExitPageFault
	}
	if w[1]&0xffff != userCode || !canonical(w[0]) {
		return machine.ExitProtection
	}
	t.regs.RIP = w[0]
	t.regs.RSP += uint64(2*t.size) + drop
	return transferDone
}

// farCall is far CALL through a pointer in memory: an offset and a selector.
func (t *transfer) farCall(inst *x86asm.Inst) machine.Exit {
	next := t.regs.RIP + uint64(inst.Len)
	pointer := make([]byte, t.size+2)
	at := t.operandAddress(inst, next)
	if n, err := t.mem.CopyIn(t.ctx, hostarch.Addr(at), pointer, usermem.IOOpts{}); err != nil {
		return t.pageFault(at+uint64(n), 0)
	}
	rip := word(pointer[:t.size])
	if binary.LittleEndian.Uint16(pointer[t.size:]) != userCode || !canonical(rip) {
		return machine.ExitProtection
	}
	stack := make([]byte, 2*t.size)
	putWord(stack[:t.size], next)
	putWord(stack[t.size:], userCode)
	sp := t.regs.RSP - uint64(len(stack))
	if n, err := t.mem.CopyOut(t.ctx, hostarch.Addr(sp), stack, usermem.IOOpts{}); err != nil {
		return t.pageFault(sp+uint64(n), machine.FaultWrite)
	}
	t.regs.RIP, t.regs.RSP = rip, sp
	return transferDone
}

// read reads words from addr on. It returns false after a page fault.
func (t *transfer) read(addr uint64, words []uint64) bool {
	b := make([]byte, len(words)*t.size)
	n, err := t.mem.CopyIn(t.ctx, hostarch.Addr(addr), b, usermem.IOOpts{})
	if err != nil {
		t.pageFault(addr+uint64(n), 0)
		return false
	}
	for i := range words {
		words[i] = word(b[i*t.size:][:t.size])
	}
	return true
}

// pageFault notes the fault of an access to addr.
func (t *transfer) pageFault(addr, code uint64) machine.Exit {
	t.addr, t.code = addr, code|machine.FaultUser
	return machine.ExitPageFault
}

// operandAddress returns the address of the instruction's memory operand. next
// is the address of the instruction that follows.
func (t *transfer) operandAddress(inst *x86asm.Inst, next uint64) uint64 {
	m := inst.Args[0].(x86asm.Mem)
	addr := uint64(m.Disp) + t.general(m.Index)*uint64(m.Scale)
	if m.Base == x86asm.RIP {
		addr += next
	} else {
		addr += t.general(m.Base)
	}
	for _, p := range inst.Prefix {
		switch p &^ (x86asm.PrefixImplicit | x86asm.PrefixIgnored) {
		case x86asm.PrefixFS:
			addr += t.regs.FSBase
		case x86asm.PrefixGS:
			addr += t.regs.GSBase
		}
	}
	return addr
}

// general returns the value of a general register in an address; 0 for none.
func (t *transfer) general(r x86asm.Reg) uint64 {
	g := t.regs
	all := [...]uint64{g.RAX, g.RCX, g.RDX, g.RBX, g.RSP, g.RBP, g.RSI, g.RDI,
		g.R8, g.R9, g.R10, g.R11, g.R12, g.R13, g.R14, g.R15}
	switch {
	case r >= x86asm.RAX && r <= x86asm.R15:
		return all[r-x86asm.RAX]
	case r >= x86asm.EAX && r <= x86asm.R15L: // with an address-size prefix
		return all[r-x86asm.EAX] & 0xffffffff
	}
	return 0
}

// word reads a little-endian word of 2, 4 or 8 bytes.
func word(b []byte) uint64 {
	switch len(b) {
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// putWord writes the low bytes of v.
func putWord(b []byte, v uint64) {
	switch len(b) {
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}
