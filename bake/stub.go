package bake

import (
	"encoding/binary"
	"fmt"
	"slices"

	"kiln/image/bootinfo"
	"kiln/image/ending"
)

// The boot page begins with the stub; behind it lie the table that it loads
// and, at bootinfo.HeaderOffset, the boot header.
const (
	gdtPointerOffset = 0x200 // limit and base of the table, for LGDT
	gdtOffset        = 0x210
	lacksOffset      = 0x230 // the texts that lack prints
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
	operandLack   // 32 bits: from the end of the instruction to the code of lack
	operandText   // 32 bits: physical address of the next text of lacks
	operandNoIDT  // 32 bits: physical address of zeros, for LIDT
)

// instruction is one of the stub's. It may not be assembled when Kiln is built or
// used, for want of an assembler on the user's machine, so its bytes are here.
// TestStub compares them with what a disassembler reads.
type instruction struct {
	text    string // Intel syntax
	code    []byte // opcode and fixed operands
	operand int    // what follows them
	tail    []byte // what follows the operand
}

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
// A CPU that lacks what the way to metal's first Go code takes is told of by
// lack; metal looks for what else it needs.
var stub = [...]instruction{
	{text: "xor esi, esi", code: []byte{0x31, 0xf6}},
	{text: "jmp .+0x2", code: []byte{0xeb, 0x02}},
	{text: "mov esi, eax", code: []byte{0x89, 0xc6}}, // the Multiboot2 entry
	{text: "cli", code: []byte{0xfa}},
	{text: "mov edi, ebx", code: []byte{0x89, 0xdf}},

	// CPUID leaf 0x80000001 EDX: bit 29 long mode, bit 20 NX (AMD APM vol. 3
	// §E.4.2); leaf 1 EDX: bit 26 SSE2 (Intel SDM vol. 2A, CPUID). EBP = what to
	// say.
	{text: "mov ebp, TEXT", code: []byte{0xbd}, operand: operandText},
	{text: "mov eax, 0x80000000", code: []byte{0xb8, 0x00, 0x00, 0x00, 0x80}},
	{text: "cpuid", code: []byte{0x0f, 0xa2}},
	{text: "cmp eax, 0x80000001", code: []byte{0x3d, 0x01, 0x00, 0x00, 0x80}},
	{text: "jb LACK", code: []byte{0x0f, 0x82}, operand: operandLack},
	{text: "mov eax, 0x80000001", code: []byte{0xb8, 0x01, 0x00, 0x00, 0x80}},
	{text: "cpuid", code: []byte{0x0f, 0xa2}},
	{text: "bt edx, 0x1d", code: []byte{0x0f, 0xba, 0xe2, 29}},
	{text: "jnb LACK", code: []byte{0x0f, 0x83}, operand: operandLack},
	{text: "mov ebp, TEXT", code: []byte{0xbd}, operand: operandText},
	{text: "bt edx, 0x14", code: []byte{0x0f, 0xba, 0xe2, 20}},
	{text: "jnb LACK", code: []byte{0x0f, 0x83}, operand: operandLack},
	{text: "mov ebp, TEXT", code: []byte{0xbd}, operand: operandText},
	{text: "mov eax, 0x1", code: []byte{0xb8, 0x01, 0x00, 0x00, 0x00}},
	{text: "cpuid", code: []byte{0x0f, 0xa2}},
	{text: "bt edx, 0x1a", code: []byte{0x0f, 0xba, 0xe2, 26}},
	{text: "jnb LACK", code: []byte{0x0f, 0x83}, operand: operandLack},

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

// lack prints the text that EBP points to on COM1, as far as that takes it, and
// ends the machine as metal does (kernel/metal/fatal.go): by the debug exit
// device, else by a triple fault, or, if a boot loader started it, by standing
// still. It is 32-bit code behind the stub.
var lack = [...]instruction{
	{text: "mov al, byte ptr [ebp]", code: []byte{0x8a, 0x45, 0x00}},
	{text: "test al, al", code: []byte{0x84, 0xc0}},
	{text: "jz .+0x1c", code: []byte{0x74, 0x1c}}, // to the end of the text
	{text: "mov ah, al", code: []byte{0x88, 0xc4}},
	{text: "mov edx, 0x3fd", code: []byte{0xba, 0xfd, 0x03, 0x00, 0x00}}, // line status
	{text: "mov ecx, 0x1000000", code: []byte{0xb9, 0x00, 0x00, 0x00, 0x01}},
	{text: "in al, dx", code: []byte{0xec}},
	{text: "test al, 0x20", code: []byte{0xa8, 0x20}}, // room for a byte
	{text: "loope .-0x5", code: []byte{0xe1, 0xfb}},   // to in
	{text: "mov al, ah", code: []byte{0x88, 0xe0}},
	{text: "mov edx, 0x3f8", code: []byte{0xba, 0xf8, 0x03, 0x00, 0x00}},
	{text: "out dx, al", code: []byte{0xee}},
	{text: "inc ebp", code: []byte{0x45}},
	{text: "jmp .-0x23", code: []byte{0xeb, 0xdd}}, // to the next byte of the text
	{text: "mov edx, 0x501", code: []byte{0xba, ending.Port & 0xff, ending.Port >> 8, 0x00, 0x00}},
	{text: "mov al, 0x7f", code: []byte{0xb0, ending.NoBoot}},
	{text: "out dx, al", code: []byte{0xee}},
	{text: "test esi, esi", code: []byte{0x85, 0xf6}},
	{text: "jnz .+0x9", code: []byte{0x75, 0x09}}, // to hlt
	{text: "lidt [NOIDT]", code: []byte{0x0f, 0x01, 0x1d}, operand: operandNoIDT},
	{text: "ud2", code: []byte{0x0f, 0x0b}},
	{text: "hlt", code: []byte{0xf4}},
	{text: "jmp .-0x3", code: []byte{0xeb, 0xfd}},
}

// lacks are the features that the stub looks for, in its order.
var lacks = [...]string{"long mode", "NX", "SSE2"}

// lackText is what lack prints.
func lackText(feature string) string {
	return "kiln: cannot boot: this CPU has no " + feature + "\r\n\x00"
}

// multibootEntry is where the stub's Multiboot2 entry lies: the length of the
// two instructions before it.
const multibootEntry = bootinfo.LoadBase + 4

// operandSize is the size in bytes of each kind of operand.
var operandSize = [...]int{
	operandTables: 4, operandGDT: 4, operandLong: 4, operandEntry: 8,
	operandLack: 4, operandText: 4, operandNoIDT: 4,
}

func (in instruction) size() int { return len(in.code) + operandSize[in.operand] + len(in.tail) }

// stubCode returns the stub's bytes, as they lie at bootinfo.LoadBase.
func stubCode(tables, entry uint64) []byte {
	long, lackCode := 0, 0
	for _, in := range stub {
		lackCode += in.size()
		if in.operand == operandLong {
			long = lackCode
		}
	}
	values := [...]uint64{
		operandTables: tables, operandGDT: bootinfo.LoadBase + gdtPointerOffset,
		operandLong: uint64(bootinfo.LoadBase + long), operandEntry: entry,
		operandText:  bootinfo.LoadBase + lacksOffset,
		operandNoIDT: bootinfo.LoadBase + gdtOffset, // the null descriptor
	}
	var b []byte
	texts := lacks[:]
	for _, in := range slices.Concat(stub[:], lack[:]) {
		values[operandLack] = uint64(lackCode - len(b) - in.size())
		b = append(b, in.code...)
		v := binary.LittleEndian.AppendUint64(nil, values[in.operand])
		b = append(b, v[:operandSize[in.operand]]...)
		b = append(b, in.tail...)
		if in.operand == operandText {
			values[operandText] += uint64(len(lackText(texts[0])))
			texts = texts[1:]
		}
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
	var texts []byte
	for _, feature := range lacks {
		texts = append(texts, lackText(feature)...)
	}
	if lacksOffset+len(texts) > bootinfo.HeaderOffset {
		panic(fmt.Sprintf("bake: boot page: texts of %d bytes", len(texts)))
	}
	copy(page[lacksOffset:], texts)
	copy(page[bootinfo.HeaderOffset:], header)
	return page
}
