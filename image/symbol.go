package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strings"

	"kiln/image/bootinfo"
)

// The programs of ring 0 that an image holds.
const (
	ProgramMetal  = "metal"
	ProgramKernel = "kernel"
)

// A Symbol is a function of a ring-0 program.
type Symbol struct {
	Program string `json:"program"` // ProgramMetal or ProgramKernel
	Name    string `json:"name"`    // as the Go linker has it
	Virtual uint64 `json:"virtual"`
	Phys    uint64 `json:"physical"`
	Size    uint64 `json:"size"` // bytes up to the next function, padding included
}

// ErrNoSymbols says that neither program of an image has a function table.
var ErrNoSymbols = errors.New("the image has no function tables")

// OpenSymbols reads the functions of the image at path, by virtual address.
// The programs are stripped: this is what their function tables
// (.gopclntab) say, which are there for tracebacks. An error about the image's
// content is a *FormatError.
func OpenSymbols(path string) ([]Symbol, error) {
	var symbols []Symbol
	err := withFile(path, func(r io.ReaderAt, size int64) error {
		img, err := Parse(r, size)
		if err != nil {
			return err
		}
		symbols, err = img.Symbols(r)
		return err
	})
	return symbols, err
}

// Symbols returns the functions of the ring-0 programs, by virtual address. r
// is what img was read from.
func (img *Image) Symbols(r io.ReaderAt) ([]Symbol, error) {
	var all []Symbol
	for _, p := range img.ringPrograms() {
		if p.table.Size == 0 {
			continue
		}
		symbols, err := img.programSymbols(r, p)
		if err != nil {
			return nil, err
		}
		all = append(all, symbols...)
	}
	if len(all) == 0 {
		return nil, ErrNoSymbols
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Virtual < all[j].Virtual })
	return all, nil
}

// ringPrograms returns where the programs of ring 0 lie.
func (img *Image) ringPrograms() []ringProgram {
	metal := []bootinfo.Segment{
		metalSegment(img.Header.MetalText, bootinfo.SegmentRead|bootinfo.SegmentExec),
		metalSegment(img.Header.MetalROData, bootinfo.SegmentRead),
		metalSegment(img.Header.MetalData, bootinfo.SegmentRead|bootinfo.SegmentWrite),
	}
	kernel := img.Header.Segments[:img.Header.SegmentCount]
	return []ringProgram{
		{ProgramMetal, img.Header.MetalFuncs, metal, 0},
		{ProgramKernel, img.Header.KernelFuncs, kernel, img.Header.KernelEntry},
	}
}

// Code returns the code of a ring-0 program, ProgramMetal or ProgramKernel: what
// its ELF file had in section .text, perhaps with zeros behind. r is what img was
// read from.
func (img *Image) Code(r io.ReaderAt, program string) ([]byte, error) {
	for _, p := range img.ringPrograms() {
		if p.name != program {
			continue
		}
		code, _, ok := p.text()
		size := code.FileSize - PageSize
		off := int64(0)
		if ok {
			off, ok = img.offset(bootinfo.Range{Addr: code.Phys + PageSize, Size: size})
		}
		if !ok {
			return nil, &FormatError{img.Segments[0].Off + bootinfo.HeaderOffset, "boot header: " + p.name + "'s code is not in the file, address", code.Phys}
		}
		b := make([]byte, size)
		_, err := r.ReadAt(b, off)
		return b, err
	}
	return nil, fmt.Errorf("an image has no program %q", program)
}

// ReadCode is Code for the image at path. Its checksum is not compared.
func ReadCode(path, program string) ([]byte, error) {
	var code []byte
	err := withFile(path, func(r io.ReaderAt, size int64) error {
		p, err := parseMost(r, size)
		if err == nil {
			code, err = p.Code(r, program)
		}
		return err
	})
	return code, err
}

// metalSegment returns one of metal's segments as if it were the kernel
// program's: metal's virtual addresses are a constant above its physical ones.
func metalSegment(r bootinfo.Range, flags uint64) bootinfo.Segment {
	return bootinfo.Segment{Virt: bootinfo.MetalBase + r.Addr, Phys: r.Addr, FileSize: r.Size, MemSize: r.Size, Flags: flags}
}

// A ringProgram is where a program of ring 0 and its function table lie.
type ringProgram struct {
	name     string
	table    bootinfo.Range // virtual
	segments []bootinfo.Segment
	entry    uint64 // where a function begins; 0: unknown
}

// locate returns the segment that stores all of size bytes at virt.
func (p ringProgram) locate(virt, size uint64) (bootinfo.Segment, bool) {
	for _, s := range p.segments {
		if off := virt - s.Virt; virt >= s.Virt && off <= s.FileSize && size <= s.FileSize-off {
			return s, true
		}
	}
	return bootinfo.Segment{}, false
}

// text returns the segment with p's code. The Go linker puts one page of ELF
// headers before the code, from which the function table counts.
func (p ringProgram) text() (s bootinfo.Segment, start uint64, ok bool) {
	for _, s := range p.segments {
		if s.Flags&bootinfo.SegmentExec != 0 && s.FileSize > PageSize {
			return s, s.Virt + PageSize, true
		}
	}
	return bootinfo.Segment{}, 0, false
}

// programSymbols reads the functions of one program.
func (img *Image) programSymbols(r io.ReaderAt, p ringProgram) ([]Symbol, error) {
	header := img.Segments[0].Off + bootinfo.HeaderOffset
	bad := func(what string, v uint64) error {
		return &FormatError{header, "boot header: " + p.name + "'s " + what, v}
	}
	code, start, ok := p.text()
	if !ok {
		return nil, bad("code is missing, segments", uint64(len(p.segments)))
	}
	home, ok := p.locate(p.table.Addr, p.table.Size)
	if !ok {
		return nil, bad("function table is not in the image, address", p.table.Addr)
	}
	off, ok := img.offset(bootinfo.Range{Addr: home.Phys + p.table.Addr - home.Virt, Size: p.table.Size})
	if !ok {
		return nil, bad("function table is not in the file, address", p.table.Addr)
	}
	b := make([]byte, p.table.Size)
	if _, err := r.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("reading %s's function table: %w", p.name, err)
	}
	funcs, err := parseFuncs(b, off)
	if err != nil {
		return nil, err
	}
	symbols := make([]Symbol, 0, len(funcs))
	entry := p.entry == 0
	for _, f := range funcs {
		at := start + uint64(f.start)
		if uint64(f.end) > code.FileSize-PageSize {
			return nil, &FormatError{off, p.name + "'s function table leads out of its code: a function ends at", start + uint64(f.end)}
		}
		entry = entry || at == p.entry
		symbols = append(symbols, Symbol{p.name, f.name, at, code.Phys + at - code.Virt, uint64(f.end - f.start)})
	}
	if !entry {
		return nil, &FormatError{off, p.name + "'s function table does not fit its code: no function begins at its entry", p.entry}
	}
	return symbols, nil
}

// offset returns where in the file lies what is loaded at r.
func (img *Image) offset(r bootinfo.Range) (int64, bool) {
	for _, s := range img.Segments {
		if off := r.Addr - s.Phys; r.Addr >= s.Phys && off <= s.Size && r.Size <= s.Size-off {
			return s.Off + int64(off), true
		}
	}
	return 0, false
}

// A function is an entry of a function table. Its bounds count from the
// program's text.
type function struct {
	name       string
	start, end uint32
}

// The function table's header in Go 1.20 to 1.26: magic, two zeros, the unit of
// code addresses, the size of a pointer, and eight words, of which these are
// read (cmd/link/internal/ld/pcln.go, runtime/symtab.go).
const (
	funcsMagic   = 0xfffffff1
	funcsCount   = 8  // how many functions
	funcsNames   = 32 // offset of the names
	funcsEntries = 64 // offset of the entries, from which the functions' own offsets count
	funcsHeader  = 72

	funcNameOff = 4       // in a function's structure: the offset of its name
	maxName     = 1 << 16 // bytes
)

// parseFuncs reads a function table, which lies at off in the file. Names are
// parts of one copy of it, so that a table cannot ask for more memory than a
// few times its own.
func parseFuncs(b []byte, off int64) ([]function, error) {
	word := binary.LittleEndian.Uint64
	if len(b) < funcsHeader || len(b) > math.MaxInt32 || binary.LittleEndian.Uint32(b) != funcsMagic || b[7] != 8 {
		return nil, &FormatError{off, "no function table of Go 1.20 to 1.26", nil}
	}
	size := uint64(len(b))
	count, names, entries := word(b[funcsCount:]), word(b[funcsNames:]), word(b[funcsEntries:])
	if names > size || entries > size || size-entries < 4 || count > (size-entries-4)/8 {
		return nil, &FormatError{off, "function table: more functions than it has room for", count}
	}
	text := string(b[names:])
	tab := b[entries:]
	funcs := make([]function, 0, count)
	for i := range count {
		e := tab[8*i:]
		start, at, end := binary.LittleEndian.Uint32(e), uint64(binary.LittleEndian.Uint32(e[4:])), binary.LittleEndian.Uint32(e[8:])
		where := off + int64(entries+8*i)
		if end < start {
			return nil, &FormatError{where, "function table: not in order, address", end}
		}
		if at > uint64(len(tab)) || uint64(len(tab))-at < funcNameOff+4 {
			return nil, &FormatError{where, "function table: a function lies outside, offset", at}
		}
		name, ok := nameAt(text, binary.LittleEndian.Uint32(tab[at+funcNameOff:]))
		if !ok {
			return nil, &FormatError{where, "function table: a name lies outside, of function", i}
		}
		funcs = append(funcs, function{name, start, end})
	}
	return funcs, nil
}

// nameAt returns the NUL-terminated name at off in text.
func nameAt(text string, off uint32) (string, bool) {
	if uint64(off) >= uint64(len(text)) {
		return "", false
	}
	text = text[off:]
	name, _, ok := strings.Cut(text[:min(len(text), maxName)], "\x00")
	return name, ok && name != ""
}

// Physical returns the physical address of what lies at virtual address virt in a
// ring-0 program, 0 if the image does not have it.
func (img *Image) Physical(program string, virt uint64) uint64 {
	for _, p := range img.ringPrograms() {
		if s, ok := p.locate(virt, 1); ok && p.name == program {
			return s.Phys + virt - s.Virt
		}
	}
	return 0
}
