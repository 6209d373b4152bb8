package debuginfo

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Part is one program's file as Split makes it.
type Part struct {
	Name string // of the program, for errors and before the names of its sections
	File []byte
}

// merged are the sections of DWARF that are put one behind the other.
var merged = []string{".debug_abbrev", ".debug_line", ".debug_frame", ".debug_info", ".debug_loclists", ".debug_rnglists", ".debug_addr"}

// ignored are sections that are left out: the Go runtime's script for gdb is in
// Go's tree, which a debugger does not find.
var ignored = []string{".debug_gdb_scripts", ".shstrtab", ".symtab", ".strtab"}

// Merge writes to w one ELF file with the symbols and DWARF of all parts. The
// first part's sections keep their names; those of the others are put behind
// their program's: .metal.text. What EntryName says is added.
func Merge(w io.Writer, parts []Part) error {
	m := &merger{dwarf: map[string][]byte{}, names: []byte{0}}
	for i, p := range parts {
		prefix := ""
		if i > 0 {
			prefix = "." + p.Name
		}
		if err := m.add(p.File, prefix); err != nil {
			return fmt.Errorf("debug information of %s: %w", p.Name, err)
		}
	}
	m.addEntry()
	return m.writeTo(w)
}

// A merger is what Merge has put together so far.
type merger struct {
	file   file
	dwarf  map[string][]byte
	local  []elf.Sym64
	global []elf.Sym64
	names  []byte // of the symbols
}

// add adds one part.
func (m *merger) add(b []byte, prefix string) error {
	f, err := open(b)
	if err != nil {
		return err
	}
	if m.file.entry == 0 {
		m.file.entry = f.Entry
	}
	// index[i] is where section i of f will be.
	index := make([]uint16, len(f.Sections))
	dwarf := map[string][]byte{}
	for i, s := range f.Sections[1:] {
		switch {
		case strings.HasPrefix(s.Name, ".note"):
			// What one program is called is not what two are.
		case s.Flags&elf.SHF_ALLOC != 0:
			kept := section{SectionHeader: s.SectionHeader}
			kept.Name, kept.Type = prefix+s.Name, elf.SHT_NOBITS
			m.file.sections = append(m.file.sections, kept)
			index[i+1] = uint16(len(m.file.sections))
		case slices.Contains(merged, s.Name):
			if dwarf[s.Name], err = s.Data(); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
		case !slices.Contains(ignored, s.Name):
			return fmt.Errorf("section %s is not known", s.Name)
		}
	}
	base := map[string]uint32{}
	for _, name := range merged {
		base[name] = uint32(len(m.dwarf[name]))
	}
	if err := relocateInfo(dwarf[".debug_info"], dwarf[".debug_abbrev"], base); err != nil {
		return err
	}
	if err := relocateFrames(dwarf[".debug_frame"], base[".debug_frame"]); err != nil {
		return err
	}
	for name, data := range dwarf {
		m.dwarf[name] = append(m.dwarf[name], data...)
	}
	return m.addSymbols(f, index)
}

// addSymbols adds the symbols of f.
func (m *merger) addSymbols(f *elf.File, index []uint16) error {
	table := f.Section(".symtab")
	if table == nil || int(table.Link) >= len(f.Sections) {
		return errors.New("no symbols")
	}
	b, err := table.Data()
	if err != nil {
		return err
	}
	names, err := f.Sections[table.Link].Data()
	if err != nil {
		return err
	}
	syms := make([]elf.Sym64, len(b)/symbolSize)
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, syms); err != nil {
		return err
	}
	first := uint32(len(m.names))
	m.names = append(m.names, names...)
	for i, s := range syms {
		if i == 0 {
			continue // the null symbol
		}
		if int(s.Shndx) < len(index) {
			s.Shndx = index[s.Shndx]
		}
		s.Name += first
		if elf.ST_BIND(s.Info) == elf.STB_LOCAL {
			m.local = append(m.local, s)
		} else {
			m.global = append(m.global, s)
		}
	}
	return nil
}

// writeTo writes what was merged.
func (m *merger) writeTo(w io.Writer) error {
	for _, name := range merged {
		m.file.sections = append(m.file.sections, section{elf.SectionHeader{Name: name, Type: elf.SHT_PROGBITS, Addralign: 1}, m.dwarf[name]})
	}
	var table bytes.Buffer
	err := errors.Join(
		binary.Write(&table, binary.LittleEndian, elf.Sym64{}),
		binary.Write(&table, binary.LittleEndian, m.local),
		binary.Write(&table, binary.LittleEndian, m.global))
	if err != nil {
		return err
	}
	at := uint32(len(m.file.sections))
	m.file.sections = append(m.file.sections,
		section{elf.SectionHeader{
			Name: ".symtab", Type: elf.SHT_SYMTAB, Addralign: 8, Entsize: symbolSize,
			Link: at + 2, Info: uint32(1 + len(m.local)),
		}, table.Bytes()},
		section{elf.SectionHeader{Name: ".strtab", Type: elf.SHT_STRTAB, Addralign: 1}, m.names})
	return m.file.writeTo(w)
}
