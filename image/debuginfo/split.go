package debuginfo

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Split takes apart a program as the Go linker has written it: stripped is what
// runs, with the sections that are loaded and their names, and debug describes
// it: its symbols and DWARF, and the places of its sections. A program that has
// no symbols comes back as it is, with no debug.
func Split(program []byte) (stripped, debug []byte, err error) {
	f, err := open(program)
	if err != nil {
		return nil, nil, err
	}
	if f.Section(".symtab") == nil || f.Section(".debug_info") == nil {
		return program, nil, nil
	}
	if debug, err = keepDebug(f, program); err != nil {
		return nil, nil, err
	}
	stripped, err = strip(f, program)
	return stripped, debug, err
}

// keepDebug returns f without the content of what is loaded. Its sections keep
// their indices, which symbols name.
func keepDebug(f *elf.File, program []byte) ([]byte, error) {
	out := &file{entry: f.Entry}
	for i, s := range f.Sections {
		if i == 0 || s.Name == ".shstrtab" && i == len(f.Sections)-1 {
			continue
		}
		kept := section{SectionHeader: s.SectionHeader}
		switch {
		case s.Flags&elf.SHF_ALLOC != 0:
			kept.Type = elf.SHT_NOBITS
		case s.Offset > uint64(len(program)) || s.FileSize > uint64(len(program))-s.Offset:
			return nil, fmt.Errorf("section %s is cut short", s.Name)
		default: // compressed as it is
			kept.data = program[s.Offset : s.Offset+s.FileSize]
		}
		out.sections = append(out.sections, kept)
	}
	var b bytes.Buffer
	err := out.writeTo(&b)
	return b.Bytes(), err
}

// strip returns f with only the sections that are loaded. The Go linker writes
// them first, and the section headers before them, behind the program headers,
// where they stay.
func strip(f *elf.File, program []byte) ([]byte, error) {
	var h elf.Header64
	if err := binary.Read(bytes.NewReader(program), binary.LittleEndian, &h); err != nil {
		return nil, err
	}
	end, kept := uint64(0), 1
	for _, s := range f.Sections[1:] {
		if s.Flags&elf.SHF_ALLOC == 0 {
			break
		}
		kept++
		if s.Type != elf.SHT_NOBITS {
			end = max(end, s.Offset+s.FileSize)
		}
	}
	for _, s := range f.Sections[kept:] {
		if s.Flags&elf.SHF_ALLOC != 0 || s.Offset < end {
			return nil, fmt.Errorf("section %s does not come behind what is loaded", s.Name)
		}
	}
	if headers := h.Shoff + uint64(h.Shnum)*sectionSize; headers > end || end > uint64(len(program)) || kept == len(f.Sections) {
		return nil, errors.New("section headers do not come before the sections")
	}
	out := slices.Clone(program[:end])
	names := []byte{0}
	for i := 1; i < int(h.Shnum); i++ {
		at := out[h.Shoff+uint64(i)*sectionSize:][:sectionSize]
		if i >= kept {
			clear(at)
			continue
		}
		binary.LittleEndian.PutUint32(at, uint32(len(names)))
		names = append(append(names, f.Sections[i].Name...), 0)
	}
	own := elf.Section64{Name: uint32(len(names)), Type: uint32(elf.SHT_STRTAB), Off: end, Addralign: 1}
	names = append(names, ".shstrtab\x00"...)
	own.Size = uint64(len(names))
	h.Shnum, h.Shstrndx = uint16(kept+1), uint16(kept)
	if _, err := binary.Encode(out[h.Shoff+uint64(kept)*sectionSize:], binary.LittleEndian, own); err != nil {
		return nil, err
	}
	if _, err := binary.Encode(out, binary.LittleEndian, h); err != nil {
		return nil, err
	}
	return append(out, names...), nil
}
