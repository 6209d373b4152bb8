package bake

import (
	"encoding/binary"
	"fmt"

	"kiln/image/bootinfo"
)

// The boot page begins with the stub; behind it lie the table that it loads
// and, at bootinfo.HeaderOffset, the boot header.
const (
	gdtPointerOffset = 0x200 // limit and base of the table, for LGDT
	gdtOffset        = 0x210
)

// gdt is the descriptor table that the stub enters long mode with: null, flat
// 64-bit code at selector 8, flat data at selector 16 (Intel SDM vol. 3A
// §3.4.5). Metal loads its own.
var gdt = [...]uint64{0, 0x00af9b000000ffff, 0x00cf93000000ffff}

// Operand sizes in a stub instruction whose value is known only at baking.
const (
	operandNone   = iota
	operandTables // 32 bits: physical address of the PML4
	operandGDT    // 32 bits: physical address of the GDT pointer
	operandLong   // 32 bits: physical address of the first 64-bit instruction
	operandEntry  // 64 bits: metal's entry, virtual
)

// stub takes the processor from one of two entries to metal: from 32-bit
// protected mode without paging to long mode on the boot page tables, with DI =
// the physical address of what the loader has to say. It uses no stack and no
// memory but its own page.
//
// The PVH entry is its first instruction: EBX = the start info's address (Xen,
// docs/misc/pvh.pandoc), SI = 0. The Multiboot2 entry is its third: EBX = the
// boot information's address, EAX = bootinfo.MultibootMagic (Multiboot2
// Specification 2.0, §3.3), which SI gets.
//
// The program may not be assembled when Kiln is built or used, for want of an
// assembler on the user's machine, so here are its bytes. TestStub compares
// them with what a disassembler reads.
var stub = [...]struct {
	text    string // Intel syntax
	code    []byte // opcode and fixed operands
	operand int    // what follows them
	tail    []byte // what follows the operand
}{
	{text: "xor esi, esi", code: []byte{0x31, 0xf6}},
	{text: "jmp .+0x2", code: []byte{0xeb, 0x02}},
	{text: "mov esi, eax", code: []byte{0x89, 0xc6}}, // the Multiboot2 entry
	{text: "cli", code: []byte{0xfa}},
	{text: "mov edi, ebx", code: []byte{0x89, 0xdf}},

	// CR3 = boot page tables; CR4.PAE (bit 5), as long mode demands.
	{text: "mov eax, TABLES", code: []byte{0xb8}, operand: operandTables},
	{text: "mov cr3, eax", code: []byte{0x0f, 0x22, 0xd8}},
	{text: "mov eax, cr4", code: []byte{0x0f, 0x20, 0xe0}},
	{text: "or eax, 0x20", code: []byte{0x83, 0xc8, 0x20}},
	{text: "mov cr4, eax", code: []byte{0x0f, 0x22, 0xe0}},

	// MSR EFER: LME (bit 8) and NXE (bit 11).
	{text: "mov ecx, 0xc0000080", code: []byte{0xb9, 0x80, 0x00, 0x00, 0xc0}},
	{text: "rdmsr", code: []byte{0x0f, 0x32}},
	{text: "or eax, 0x900", code: []byte{0x0d, 0x00, 0x09, 0x00, 0x00}},
	{text: "wrmsr", code: []byte{0x0f, 0x30}},

	// CR0: PG (bit 31) and WP (bit 16). Now the mode is IA-32e, but the code
	// segment still a 32-bit one.
	{text: "mov eax, cr0", code: []byte{0x0f, 0x20, 0xc0}},
	{text: "or eax, 0x80010000", code: []byte{0x0d, 0x00, 0x00, 0x01, 0x80}},
	{text: "mov cr0, eax", code: []byte{0x0f, 0x22, 0xc0}},
	{text: "lgdt [GDT]", code: []byte{0x0f, 0x01, 0x15}, operand: operandGDT},
	{text: "jmp far 0x8:LONG", code: []byte{0xea}, operand: operandLong, tail: []byte{0x08, 0x00}},

	// 64-bit code. The moves to EDI and ESI clear their upper halves.
	{text: "mov ax, 0x10", code: []byte{0x66, 0xb8, 0x10, 0x00}},
	{text: "mov ds, ax", code: []byte{0x8e, 0xd8}},
	{text: "mov es, ax", code: []byte{0x8e, 0xc0}},
	{text: "mov ss, ax", code: []byte{0x8e, 0xd0}},
	{text: "mov edi, edi", code: []byte{0x89, 0xff}},
	{text: "mov esi, esi", code: []byte{0x89, 0xf6}},
	{text: "mov rax, ENTRY", code: []byte{0x48, 0xb8}, operand: operandEntry},
	{text: "jmp rax", code: []byte{0xff, 0xe0}},
}

// multibootEntry is where the stub's Multiboot2 entry lies: the length of the
// two instructions before it.
const multibootEntry = bootinfo.LoadBase + 4

// operandSize is the size in bytes of each kind of operand.
var operandSize = [...]int{operandTables: 4, operandGDT: 4, operandLong: 4, operandEntry: 8}

// stubCode returns the stub's bytes, as they lie at bootinfo.LoadBase.
func stubCode(tables, entry uint64) []byte {
	long := uint64(bootinfo.LoadBase)
	for _, in := range stub {
		long += uint64(len(in.code) + operandSize[in.operand] + len(in.tail))
		if in.operand == operandLong {
			break
		}
	}
	values := [...]uint64{
		operandTables: tables, operandGDT: bootinfo.LoadBase + gdtPointerOffset,
		operandLong: long, operandEntry: entry,
	}
	var b []byte
	for _, in := range stub {
		b = append(b, in.code...)
		v := binary.LittleEndian.AppendUint64(nil, values[in.operand])
		b = append(b, v[:operandSize[in.operand]]...)
		b = append(b, in.tail...)
	}
	return b
}

// bootPage returns the page at bootinfo.LoadBase. header is the boot header's
// bytes.
func bootPage(tables, entry uint64, header []byte) []byte {
	page := make([]byte, pageSize)
	code := stubCode(tables, entry)
	if len(code) > gdtPointerOffset || bootinfo.HeaderOffset+len(header) > pageSize {
		panic(fmt.Sprintf("bake: boot page: stub of %d bytes, header of %d", len(code), len(header)))
	}
	copy(page, code)
	p := page[gdtPointerOffset:]
	binary.LittleEndian.PutUint16(p, uint16(len(gdt)*8-1))
	binary.LittleEndian.PutUint32(p[2:], bootinfo.LoadBase+gdtOffset)
	for i, d := range gdt {
		binary.LittleEndian.PutUint64(page[gdtOffset+8*i:], d)
	}
	copy(page[bootinfo.HeaderOffset:], header)
	return page
}
