package bake

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"testing"
)

// An elfFile describes an ELF file that a test makes. The zero value is a
// static x86-64 program without segments.
type elfFile struct {
	typ     elf.Type // 0: ET_EXEC
	machine elf.Machine
	osABI   elf.OSABI
	entry   uint64

	interp         string
	needed         []string
	soname         string
	rpath, runpath string // as in the file, with colons
	dynamic        bool   // has a dynamic section whatever else it says

	loads []elf.Prog64 // segments beside the one for all of the above
	data  []byte       // what they hold, at dataOffset
}

// Where a test's ELF file has its segments' data and its strings.
const (
	dataOffset = 0x1000
	textOffset = 0x400
)

// bytes returns the file.
func (f elfFile) bytes() []byte {
	var text bytes.Buffer // strings and dynamic section
	var progs []elf.Prog64
	prog := func(typ elf.ProgType, flags elf.ProgFlag, content []byte) uint64 {
		off := uint64(textOffset + text.Len())
		progs = append(progs, elf.Prog64{
			Type: uint32(typ), Flags: uint32(flags), Off: off, Vaddr: off, Paddr: off,
			Filesz: uint64(len(content)), Memsz: uint64(len(content)), Align: 1,
		})
		text.Write(content)
		return off
	}
	if f.interp != "" {
		prog(elf.PT_INTERP, elf.PF_R, append([]byte(f.interp), 0))
	}
	if table, strs := f.dynamicSection(); table != nil {
		at := uint64(textOffset + text.Len())
		text.Write(strs)
		table = append(table, [2]uint64{uint64(elf.DT_STRTAB), at}, [2]uint64{uint64(elf.DT_STRSZ), uint64(len(strs))}, [2]uint64{})
		var raw bytes.Buffer
		put(&raw, table)
		prog(elf.PT_DYNAMIC, elf.PF_R|elf.PF_W, raw.Bytes())
	}
	if text.Len() > 0 {
		end := uint64(textOffset + text.Len())
		progs = append(progs, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Filesz: end, Memsz: end, Align: pageSize})
	}
	progs = append(progs, f.loads...)

	var b bytes.Buffer
	put(&b, f.header(len(progs)))
	put(&b, progs)
	b.Write(make([]byte, textOffset-b.Len()))
	b.Write(text.Bytes())
	if f.data != nil {
		b.Write(make([]byte, dataOffset-b.Len()))
		b.Write(f.data)
	}
	return b.Bytes()
}

// header returns the ELF header.
func (f elfFile) header(progs int) elf.Header64 {
	if f.typ == 0 {
		f.typ = elf.ET_EXEC
	}
	if f.machine == 0 {
		f.machine = elf.EM_X86_64
	}
	h := elf.Header64{
		Type: uint16(f.typ), Machine: uint16(f.machine), Version: 1, Entry: f.entry,
		Phoff: ehdrSize, Ehsize: ehdrSize, Phentsize: phdrSize, Phnum: uint16(progs), Shentsize: shdrSize,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	h.Ident[elf.EI_OSABI] = byte(f.osABI)
	return h
}

// dynamicSection returns the dynamic section without its end, and the strings
// that it refers to; nil if there is none.
func (f elfFile) dynamicSection() (table [][2]uint64, strs []byte) {
	strs = []byte{0}
	add := func(tag elf.DynTag, s string) {
		if s != "" {
			table = append(table, [2]uint64{uint64(tag), uint64(len(strs))})
			strs = append(append(strs, s...), 0)
		}
	}
	for _, n := range f.needed {
		add(elf.DT_NEEDED, n)
	}
	add(elf.DT_SONAME, f.soname)
	add(elf.DT_RPATH, f.rpath)
	add(elf.DT_RUNPATH, f.runpath)
	if f.dynamic && table == nil {
		table = [][2]uint64{}
	}
	return table, strs
}

// write writes the file to p, with its folders, and returns p.
func (f elfFile) write(t *testing.T, p string) string {
	t.Helper()
	writeBytes(t, p, f.bytes())
	return p
}

// writeBytes writes a file that can be executed, with its folders.
func writeBytes(t *testing.T, p string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// patch returns b with the bytes of v, little endian, at off.
func patch(b []byte, off int, v any) []byte {
	var buf bytes.Buffer
	put(&buf, v)
	out := bytes.Clone(b)
	copy(out[off:], buf.Bytes())
	return out
}

// ringProgram returns a program as metal and the kernel program are: load
// segments, the first of them with a page that is the file's headers.
func ringProgram(entry uint64, segments ...elf.Prog64) elfFile {
	f := elfFile{entry: entry, data: bytes.Repeat([]byte{0xcc}, 0x4000)}
	for i, s := range segments {
		s.Type, s.Align = uint32(elf.PT_LOAD), pageSize
		s.Off = dataOffset * uint64(i)
		if s.Memsz == 0 {
			s.Memsz = s.Filesz
		}
		f.loads = append(f.loads, s)
	}
	return f
}
