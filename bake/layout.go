package bake

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"kiln/image"
	"kiln/image/bootinfo"
)

// A part is a piece of the image's payload, on a page boundary.
type part struct {
	name  string // of its ELF section
	phys  uint64
	size  uint64 // bytes; zeros fill the last page
	flags uint64
	write func(io.Writer) error
}

// bytesPart returns a part with content b.
func bytesPart(name string, flags uint64, b []byte) part {
	return part{name: name, size: uint64(len(b)), flags: flags, write: func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}}
}

// A payload is what an image loads, and the header that describes it.
type payload struct {
	parts  []part
	header bootinfo.Header
	end    uint64 // physical address behind the last part, page aligned
}

// contents are what goes into a payload.
type contents struct {
	metal, kernel *program
	args, env     []string // of the kernel program
	manifest      []byte
	rootFS        io.WriterTo // nil: none
	rootSize      uint64
}

// layOut gives everything its place in memory, in the order that package
// bootinfo describes.
func layOut(c contents) (*payload, error) {
	p := &payload{end: bootinfo.LoadBase}
	p.header = bootinfo.Header{Magic: bootinfo.Magic, Version: bootinfo.Version, Size: bootinfo.HeaderSize}
	if err := p.addMetal(c.metal); err != nil {
		return nil, err
	}
	p.header.BootTables = p.add(bytesPart(".boottables", bootinfo.SegmentRead|bootinfo.SegmentWrite, bootTables(p.end)))
	p.addKernel(c.kernel)

	// The strings share a part, and no page is worth their being apart.
	args, env := cStrings(c.args), cStrings(c.env)
	strs := p.add(bytesPart(".kernelargs", bootinfo.SegmentRead, append(append([]byte(nil), args...), env...)))
	p.header.KernelArgs = bootinfo.Range{Addr: strs.Addr, Size: uint64(len(args))}
	p.header.KernelEnv = bootinfo.Range{Addr: strs.Addr + uint64(len(args)), Size: uint64(len(env))}

	p.header.Manifest = p.add(bytesPart(".manifest", bootinfo.SegmentRead, c.manifest))
	if c.rootFS != nil {
		p.header.RootFS = p.add(part{name: ".rootfs", size: c.rootSize, flags: bootinfo.SegmentRead, write: writeTo(c.rootFS)})
	}
	p.header.Image = bootinfo.Range{Addr: bootinfo.LoadBase, Size: p.end - bootinfo.LoadBase}

	// The first page of the first part is the boot page.
	first := &p.parts[0]
	text := c.metal.segments[0].data
	page := bootPage(p.header.BootTables.Addr, c.metal.entry, image.MarshalHeader(&p.header))
	first.write = func(w io.Writer) error {
		if _, err := w.Write(page); err != nil {
			return err
		}
		_, err := w.Write(text[pageSize:])
		return err
	}
	return p, nil
}

// add places a part behind those before it.
func (p *payload) add(q part) bootinfo.Range {
	q.phys = p.end
	p.parts = append(p.parts, q)
	p.end = pageUp(q.phys + q.size)
	return bootinfo.Range{Addr: q.phys, Size: q.size}
}

// addMetal places metal's segments where they are linked, its bss as zeros.
func (p *payload) addMetal(m *program) error {
	for _, s := range m.segments {
		phys := s.virt - bootinfo.MetalBase
		if phys < p.end {
			return fmt.Errorf("metal: segments overlap at %#x", s.virt)
		}
		p.end = phys
		b := make([]byte, s.size)
		copy(b, s.data)
		var r *bootinfo.Range
		var name string
		switch s.flags {
		case bootinfo.SegmentRead | bootinfo.SegmentExec:
			name, r = ".metal.text", &p.header.MetalText
		case bootinfo.SegmentRead:
			name, r = ".metal.rodata", &p.header.MetalROData
		case bootinfo.SegmentRead | bootinfo.SegmentWrite:
			name, r = ".metal.data", &p.header.MetalData
		default:
			return fmt.Errorf("metal: segment at %#x has flags %#x", s.virt, s.flags)
		}
		if r.Size != 0 {
			return fmt.Errorf("metal: second %s segment at %#x", name, s.virt)
		}
		*r = p.add(bytesPart(name, s.flags, b))
	}
	p.header.MetalFuncs = m.funcs
	return nil
}

// addKernel places the kernel program's segments.
func (p *payload) addKernel(k *program) {
	p.header.KernelEntry = k.entry
	p.header.KernelFuncs = k.funcs
	p.header.SegmentCount = uint64(len(k.segments))
	for i, s := range k.segments {
		name := ".kernel.data"
		switch {
		case s.flags&bootinfo.SegmentExec != 0:
			name = ".kernel.text"
		case s.flags&bootinfo.SegmentWrite == 0:
			name = ".kernel.rodata"
		}
		r := p.add(bytesPart(name, s.flags, s.data))
		p.header.Segments[i] = bootinfo.Segment{
			Virt: s.virt, Phys: r.Addr, FileSize: pageUp(r.Size), MemSize: s.size, Flags: s.flags,
		}
	}
}

// Page table entry bits, Intel SDM vol. 3A §4.5.
const (
	ptePresent  = 1 << 0
	pteWrite    = 1 << 1
	pteLarge    = 1 << 7 // in a page directory: a page of 2 MB
	largePage   = 2 << 20
	pteCount    = 512
	indexMetal4 = 511 // of bootinfo.MetalBase in the PML4
	indexMetal3 = 510 // and in its PDPT
)

// bootTables returns the page tables that the stub loads, which lie at phys:
// PML4, PDPT for address 0, PDPT for MetalBase, and one page directory for
// both, of bootinfo.BootMapSize.
func bootTables(phys uint64) []byte {
	var t [4][pteCount]uint64
	link := func(i uint64) uint64 { return (phys + i*pageSize) | ptePresent | pteWrite }
	t[0][0], t[0][indexMetal4] = link(1), link(2)
	t[1][0], t[2][indexMetal3] = link(3), link(3)
	for i := range uint64(bootinfo.BootMapSize / largePage) {
		t[3][i] = i*largePage | ptePresent | pteWrite | pteLarge
	}
	var b []byte
	for _, table := range t {
		for _, e := range table {
			b = binary.LittleEndian.AppendUint64(b, e)
		}
	}
	return b
}

// cStrings returns NUL-terminated strings, one after the other.
func cStrings(s []string) []byte {
	var b strings.Builder
	for _, v := range s {
		b.WriteString(v)
		b.WriteByte(0)
	}
	return []byte(b.String())
}

func pageUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// writeTo returns a part's write function for w.
func writeTo(from io.WriterTo) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := from.WriteTo(w)
		return err
	}
}
