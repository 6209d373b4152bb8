package bake

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// symbolSize is the size of an entry of a symbol table in bytes (System V ABI,
// "Symbol Table", Elf64_Sym).
const symbolSize = 24

// imports returns which of neededCalls a file takes from others: the undefined
// symbols of its dynamic section. values are the section's entries. A table
// that cannot be read has none: the loader will say what is wrong with it.
func imports(f *elf.File, values map[elf.DynTag]uint64, strtab []byte) map[string]bool {
	count := symbolCount(f, values)
	if count == 0 {
		return nil
	}
	table, err := atAddress(f, values[elf.DT_SYMTAB], count*symbolSize)
	if err != nil {
		return nil
	}
	calls := map[string]bool{}
	for ; len(table) >= symbolSize; table = table[symbolSize:] {
		name := uint64(binary.LittleEndian.Uint32(table))
		section := elf.SectionIndex(binary.LittleEndian.Uint16(table[6:]))
		if section != elf.SHN_UNDEF || name >= uint64(len(strtab)) {
			continue
		}
		text, _, _ := bytes.Cut(strtab[name:], []byte{0})
		if neededCalls[string(text)] {
			calls[string(text)] = true
		}
	}
	return calls
}

// symbolCount returns how many symbols the table has as far as undefined ones
// go. The dynamic section does not say; its hash tables do. DT_HASH counts
// all. In DT_GNU_HASH the undefined symbols are those before the first that it
// knows.
func symbolCount(f *elf.File, values map[elf.DynTag]uint64) uint64 {
	if at, ok := values[elf.DT_HASH]; ok {
		if head, err := atAddress(f, at, 8); err == nil {
			return uint64(binary.LittleEndian.Uint32(head[4:])) // nchain
		}
	}
	if at, ok := values[elf.DT_GNU_HASH]; ok {
		head, err := atAddress(f, at, 16) // nbuckets, symoffset, bloom size, bloom shift
		if first := uint64(0); err == nil {
			if first = uint64(binary.LittleEndian.Uint32(head[4:])); first > 1 {
				return first
			}
		}
	}
	// Neither, or a GNU table that knows no symbol, which has 1 as the first
	// (binutils, elflink.c). Linkers put the strings behind the symbols.
	symbols, strings := values[elf.DT_SYMTAB], values[elf.DT_STRTAB]
	if symbols == 0 || strings < symbols {
		return 0
	}
	return (strings - symbols) / symbolSize
}
