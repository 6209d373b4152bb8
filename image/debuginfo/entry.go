package debuginfo

import (
	"debug/elf"
	"encoding/binary"
)

// EntryName and EntryAddress are those of a function that is in no guest: by it
// a stack goes on from the kernel to what entered it. Its frame's stack pointer
// leads to a structure of registers (kernel/metal/abi, which is Linux'
// user_regs_struct), and debuggers take the caller's from there. They take it for
// a signal's frame, as it is one: an interruption between two instructions. What
// finds such a structure and puts this frame on the stack is for the debugger
// (debug/gdb).
const (
	EntryName    = "kiln.entry"
	EntryAddress = 0xffffffff80000800 // below metal, where nothing is mapped
	entrySize    = 16
)

// registerOffsets are the words of a structure of registers, by the numbers that
// DWARF has for them (System V ABI for AMD64, figure 3.36): rax, rdx, rcx, rbx,
// rsi, rdi, rbp, rsp, r8 to r15, rip.
var registerOffsets = [17]byte{10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16}

// entryFrames returns what .debug_frame says of the entry, for the end of a
// section of size bytes (DWARF 5 §6.4).
func entryFrames(size int) []byte {
	const (
		defCFA   = 0x0c
		offset   = 0x80 // and the register
		rsp, rip = 7, 16
	)
	common := []byte{
		0xff, 0xff, 0xff, 0xff, // no entry of another
		1, 'S', 0, // version, a signal's frame
		1, 8, rip, // factors of code and data, the return address
		defCFA, rsp, 0,
	}
	for reg, at := range registerOffsets {
		common = append(common, offset|byte(reg), at)
	}
	one := binary.LittleEndian.AppendUint32(nil, uint32(size))
	one = binary.LittleEndian.AppendUint64(one, EntryAddress)
	one = binary.LittleEndian.AppendUint64(one, entrySize)
	var b []byte
	for _, e := range [][]byte{common, one} {
		for len(e)%8 != 4 {
			e = append(e, 0) // no operation
		}
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(e))), e...)
	}
	return b
}

// addEntry adds the entry, its symbol and its frame.
func (m *merger) addEntry() {
	m.file.sections = append(m.file.sections, section{SectionHeader: elf.SectionHeader{
		Name: "." + EntryName, Type: elf.SHT_NOBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Addr: EntryAddress, Size: entrySize, Addralign: 16,
	}})
	m.global = append(m.global, elf.Sym64{
		Name: uint32(len(m.names)), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC),
		Shndx: uint16(len(m.file.sections)), Value: EntryAddress, Size: entrySize,
	})
	m.names = append(append(m.names, EntryName...), 0)
	frames := m.dwarf[".debug_frame"]
	m.dwarf[".debug_frame"] = append(frames, entryFrames(len(frames))...)
}
