package bake

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"

	"kiln/image/bootinfo"
)

// Addresses that the tests give the stub: no byte of one is like a byte of
// another, so a value in the wrong place is noticed.
const (
	testTables = 0x12345000
	testEntry  = 0xffffffff80a1b2c3
)

// longOffset is where the 64-bit code of the stub begins: behind the far jump.
func longOffset() (n int) {
	for _, in := range stub {
		n += len(in.code) + operandSize[in.operand] + len(in.tail)
		if in.operand == operandLong {
			break
		}
	}
	return n
}

// disassemble returns the instruction at the start of code as the stub's table
// has it, and its length.
func disassemble(t *testing.T, code []byte, mode int) (string, int) {
	t.Helper()
	in, err := x86asm.Decode(code, mode)
	if err != nil {
		t.Fatalf("decoding % x: %v", code[:min(len(code), 15)], err)
	}
	text := x86asm.IntelSyntax(in, 0, nil)
	// The disassembler's own ways of writing.
	text = strings.Replace(text, "lgdt ptr ", "lgdt ", 1)
	text = strings.Replace(text, "lidt ptr ", "lidt ", 1)
	text = regexp.MustCompile(`^jmp far (\w+), (\w+)$`).ReplaceAllString(text, "jmp far $2:$1")
	if imm, ok := in.Args[1].(x86asm.Imm); ok && imm < 0 {
		v := uint64(imm)
		if in.DataSize == 32 {
			v = uint64(uint32(imm))
		}
		text = fmt.Sprintf("%s %s, %#x", strings.ToLower(in.Op.String()), strings.ToLower(in.Args[0].String()), v)
	}
	return text, in.Len
}

// TestStub reads the stub's bytes as the processor does: each instruction is
// the one that its text says, ends where the table says, and has its operand
// where it belongs.
func TestStub(t *testing.T) {
	code := stubCode(testTables, testEntry)
	long := longOffset()
	values := strings.NewReplacer(
		"TABLES", fmt.Sprintf("%#x", testTables),
		"NOIDT", fmt.Sprintf("%#x", bootinfo.LoadBase+gdtOffset),
		"GDT", fmt.Sprintf("%#x", bootinfo.LoadBase+gdtPointerOffset),
		"LONG", fmt.Sprintf("%#x", bootinfo.LoadBase+long),
		"ENTRY", fmt.Sprintf("%#x", uint64(testEntry)),
	)
	lackCode := 0
	for _, in := range stub {
		lackCode += in.size()
	}
	off, text := 0, bootinfo.LoadBase+lacksOffset
	features := lacks[:]
	for i, in := range slices.Concat(stub[:], lack[:]) {
		mode := 32
		if off >= long && off < lackCode {
			mode = 64
		}
		got, size := disassemble(t, code[off:], mode)
		want := strings.NewReplacer("LACK", fmt.Sprintf(".+%#x", lackCode-off-size), "TEXT", fmt.Sprintf("%#x", text)).Replace(values.Replace(in.text))
		if in.operand == operandText {
			text += len(lackText(features[0]))
			features = features[1:]
		}
		if got != want {
			t.Errorf("instruction %d at %#x (%d bits) is %q, want %q", i, off, mode, got, want)
		}
		if want := len(in.code) + operandSize[in.operand] + len(in.tail); size != want {
			t.Errorf("instruction %d (%s) has %d bytes, the table says %d", i, in.text, size, want)
		}
		off += size
	}
	if off != len(code) {
		t.Errorf("the instructions end at %#x, the code at %#x", off, len(code))
	}
	for _, last := range []string{stub[len(stub)-1].text, lack[len(lack)-1].text} {
		if !strings.HasPrefix(last, "jmp ") {
			t.Errorf("the code ends with %q, so the processor runs on into what is behind it", last)
		}
	}
	if len(features) != 0 {
		t.Errorf("nothing looks for %q", features)
	}
}

// TestJumps: every jump in the stub leads to the start of an instruction.
func TestJumps(t *testing.T) {
	code := stubCode(testTables, testEntry)
	starts := map[int]bool{}
	targets := map[int]string{}
	off := 0
	for i, in := range slices.Concat(stub[:], lack[:]) {
		starts[off] = true
		mode := 32
		if off >= longOffset() && i < len(stub) {
			mode = 64
		}
		d, err := x86asm.Decode(code[off:], mode)
		if err != nil {
			t.Fatal(err)
		}
		off += in.size()
		if rel, ok := d.Args[0].(x86asm.Rel); ok {
			targets[off+int(rel)] = in.text
		}
	}
	for at, text := range targets {
		if !starts[at] {
			t.Errorf("%q leads to %#x, where no instruction starts", text, at)
		}
	}
	if len(targets) < 4 {
		t.Errorf("%d targets of jumps, want at least 4", len(targets))
	}
}

// TestEntries checks where the stub's two entries lie: what the PVH entry jumps
// over is what the Multiboot2 entry begins with.
func TestEntries(t *testing.T) {
	code := stubCode(testTables, testEntry)
	jump, err := x86asm.Decode(code[2:], 32)
	if err != nil {
		t.Fatal(err)
	}
	distance, ok := jump.Args[0].(x86asm.Rel)
	if jump.Op != x86asm.JMP || !ok {
		t.Fatalf("the second instruction is %v, want a jump", jump)
	}
	after := 2 + jump.Len
	if after != multibootEntry-bootinfo.LoadBase {
		t.Errorf("the Multiboot2 entry is at %#x, the jump before it ends at %#x", multibootEntry, after)
	}
	got, size := disassemble(t, code[after:], 32)
	if want := "mov esi, eax"; got != want {
		t.Errorf("the Multiboot2 entry begins with %q, want %q: metal must learn which loader it was", got, want)
	}
	if int(distance) != size {
		t.Errorf("the PVH entry jumps %d bytes, want %d: over one instruction", distance, size)
	}
}

// TestMultibootHeader reads the header as GRUB does (Multiboot2 Specification
// 2.0, §3.1).
func TestMultibootHeader(t *testing.T) {
	p := mustLayOut(t, testContents())
	page := elfPage(p, 0x40000, 3)
	const magic = 0xe85250d6
	at := -1
	for off := 0; off+16 <= len(page); off += 8 {
		if binary.LittleEndian.Uint32(page[off:]) == magic {
			at = off
			break
		}
	}
	if at < 0 {
		t.Fatal("there is no Multiboot2 header on a multiple of 8 bytes in the first page")
	}
	word := func(off int) uint32 { return binary.LittleEndian.Uint32(page[at+off:]) }
	if sum := word(0) + word(4) + word(8) + word(12); sum != 0 || word(4) != 0 {
		t.Errorf("checksum %#x, architecture %d, want a sum of 0 and i386", sum, word(4))
	}
	length, entry := int(word(8)), uint32(0)
	off := 16
	for off < length && word(off)&0xffff != 0 {
		if word(off)&0xffff == 3 { // the entry address
			entry = word(off + 8)
		}
		if word(off+4) < 8 {
			t.Fatalf("a tag of %d bytes", word(off+4))
		}
		off += int(word(off+4)+7) &^ 7
	}
	if off+8 != length {
		t.Errorf("the last tag is at %d of %d bytes, want it to end the header", off, length)
	}
	if entry != multibootEntry {
		t.Errorf("the entry is %#x, want %#x", entry, multibootEntry)
	}
}

// TestStubMode follows the far jump: it loads a 64-bit code segment of the
// table that LGDT loads, and the data segment registers get one of data.
func TestStubMode(t *testing.T) {
	for i, want := range []struct{ exec, long, big bool }{{}, {exec: true, long: true}, {big: true}} {
		d := gdt[i]
		if i == 0 {
			if d != 0 {
				t.Errorf("descriptor 0 is %#x, want the null descriptor", d)
			}
			continue
		}
		// Intel SDM vol. 3A §3.4.5: figures 3-8 and 5-1.
		access, flags := byte(d>>40), byte(d>>52)&0xf
		if access&0x80 == 0 || access&0x10 == 0 || access>>5&3 != 0 {
			t.Errorf("descriptor %d: access byte %#x, want a present segment of ring 0", i, access)
		}
		if got := access&8 != 0; got != want.exec {
			t.Errorf("descriptor %d: code is %v, want %v", i, got, want.exec)
		}
		if access&2 == 0 {
			t.Errorf("descriptor %d: access byte %#x, want it readable code or writable data", i, access)
		}
		if long, big := flags&2 != 0, flags&4 != 0; long != want.long || big != want.big {
			t.Errorf("descriptor %d: L is %v, D/B is %v, want %v and %v", i, long, big, want.long, want.big)
		}
	}
}

func TestBootPage(t *testing.T) {
	header := bytes.Repeat([]byte{0xa5}, int(bootinfo.HeaderSize))
	page := bootPage(testTables, testEntry, header)
	if len(page) != pageSize {
		t.Fatalf("the boot page has %d bytes, want %d", len(page), pageSize)
	}
	code := stubCode(testTables, testEntry)
	if !bytes.HasPrefix(page, code) {
		t.Errorf("the page begins with % x, want the stub", page[:16])
	}
	// LGDT's operand: limit, then linear address (SDM vol. 2A, LGDT).
	limit := binary.LittleEndian.Uint16(page[gdtPointerOffset:])
	base := binary.LittleEndian.Uint32(page[gdtPointerOffset+2:])
	if want := uint16(8*len(gdt) - 1); limit != want {
		t.Errorf("limit of the GDT %#x, want %#x", limit, want)
	}
	if want := uint32(bootinfo.LoadBase + gdtOffset); base != want {
		t.Errorf("base of the GDT %#x, want %#x", base, want)
	}
	for i, want := range gdt {
		if got := binary.LittleEndian.Uint64(page[base-bootinfo.LoadBase+uint32(8*i):]); got != want {
			t.Errorf("descriptor %d is %#x, want %#x", i, got, want)
		}
	}
	if got := page[bootinfo.HeaderOffset : bootinfo.HeaderOffset+len(header)]; !bytes.Equal(got, header) {
		t.Errorf("the boot header is % x…, want % x…", got[:8], header[:8])
	}
	// Nothing lies over anything else, and between is nothing.
	for _, r := range []struct {
		name        string
		end, mustBy int // where it ends, and where the next begins
	}{
		{"the stub", len(code), gdtPointerOffset},
		{"the GDT pointer", gdtPointerOffset + 6, gdtOffset},
		{"the GDT", gdtOffset + 8*len(gdt), lacksOffset},
		{"the texts", lacksOffset + bytes.LastIndexByte(page[lacksOffset:bootinfo.HeaderOffset], '\n') + 2, bootinfo.HeaderOffset},
		{"the boot header", bootinfo.HeaderOffset + len(header), pageSize},
	} {
		if r.end > r.mustBy {
			t.Errorf("%s ends at %#x, past %#x", r.name, r.end, r.mustBy)
		} else if len(bytes.Trim(page[r.end:r.mustBy], "\x00")) != 0 {
			t.Errorf("behind %s, from %#x to %#x, the page is not empty", r.name, r.end, r.mustBy)
		}
	}
}

// TestBootPageFull checks that a header that does not fit stops bake rather
// than being cut.
func TestBootPageFull(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("bootPage took a header that is larger than its page")
		}
	}()
	bootPage(testTables, testEntry, make([]byte, pageSize-bootinfo.HeaderOffset+1))
}
