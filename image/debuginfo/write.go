package debuginfo

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
)

// Sizes of ELF64 structures, bytes.
const (
	headerSize  = 64
	sectionSize = 64
	symbolSize  = 24
)

// A section is one of an ELF file to be written. Of a section without data
// (SHT_NOBITS) only the header's Size counts.
type section struct {
	elf.SectionHeader
	data []byte
}

// file is an ELF file to be written: an executable's sections without its
// segments, as debuggers take them.
type file struct {
	entry    uint64
	sections []section // without the null section, which is the first
}

// writeTo writes the file, its section names behind its sections. Section i of
// f.sections gets the index i+1.
func (f *file) writeTo(w io.Writer) error {
	names := []byte{0}
	all := append([]section{{}}, f.sections...)
	all = append(all, section{SectionHeader: elf.SectionHeader{Name: ".shstrtab", Type: elf.SHT_STRTAB, Addralign: 1}})
	last := &all[len(all)-1]
	headers := make([]elf.Section64, len(all))
	for i := range all {
		if all[i].Name == "" {
			continue
		}
		headers[i].Name = uint32(len(names))
		names = append(append(names, all[i].Name...), 0)
	}
	last.data = names
	off := uint64(headerSize)
	for i := range all {
		s, h := &all[i], &headers[i]
		align := max(s.Addralign, 1)
		if s.Type != elf.SHT_NOBITS {
			off = (off + align - 1) / align * align
		}
		*h = elf.Section64{
			Name: h.Name, Type: uint32(s.Type), Flags: uint64(s.Flags), Addr: s.Addr, Off: off, Size: s.Size,
			Link: s.Link, Info: s.Info, Addralign: s.Addralign, Entsize: s.Entsize,
		}
		if s.Type != elf.SHT_NOBITS {
			h.Size = uint64(len(s.data))
			off += h.Size
		}
	}
	headers[0] = elf.Section64{}
	off = (off + 7) / 8 * 8
	out := countingWriter{w: w}
	out.put(elf.Header64{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Entry: f.entry, Shoff: off,
		Ehsize: headerSize, Shentsize: sectionSize, Shnum: uint16(len(all)), Shstrndx: uint16(len(all) - 1),
	})
	for i := range all {
		if all[i].Type != elf.SHT_NOBITS && len(all[i].data) > 0 {
			out.padTo(headers[i].Off)
			out.write(all[i].data)
		}
	}
	out.padTo(off)
	out.put(headers)
	return out.err
}

// countingWriter counts what it writes and keeps the first error.
type countingWriter struct {
	w   io.Writer
	n   uint64
	err error
}

func (c *countingWriter) write(b []byte) {
	if c.err == nil {
		var n int
		n, c.err = c.w.Write(b)
		c.n += uint64(n)
	}
}

// padTo writes zeros up to offset off.
func (c *countingWriter) padTo(off uint64) {
	if off > c.n {
		c.write(make([]byte, off-c.n))
	}
}

// put writes a structure of fixed size.
func (c *countingWriter) put(v any) {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil && c.err == nil {
		c.err = err
	}
	c.write(b.Bytes())
}
