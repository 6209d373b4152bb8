package bake

import (
	"bytes"
	"debug/elf"
	"fmt"
	"math"

	"kiln/image/bootinfo"
)

const pageSize = 4096

// A program is a static Go program that runs in ring 0: metal, or the kernel
// program above it.
type program struct {
	entry    uint64
	segments []segment
	funcs    bootinfo.Range // .gopclntab, virtual
}

// A segment is a load segment of a program.
type segment struct {
	virt  uint64
	data  []byte // what the file holds
	size  uint64 // in memory
	flags uint64
}

// readProgram reads a ring-0 program whose segments lie from base to limit.
func readProgram(name string, b []byte, base, limit uint64) (*program, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, inputErrorf(name, "not an ELF file: %v", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return nil, inputErrorf(name, "not a static x86-64 executable but %s for %s", f.Type, f.Machine)
	}
	p := &program{entry: f.Entry}
	for _, ph := range f.Progs {
		switch {
		case ph.Type == elf.PT_INTERP:
			return nil, inputErrorf(name, "a kernel program is static, but this needs a loader")
		case ph.Type != elf.PT_LOAD || ph.Memsz == 0:
			continue
		case ph.Filesz > ph.Memsz || ph.Vaddr < base || ph.Vaddr > limit || ph.Memsz > limit-ph.Vaddr:
			return nil, inputErrorf(name, "a segment at %#x: a kernel program is linked between %#x and %#x (go build -ldflags=-T=%d)", ph.Vaddr, base, limit, bootinfo.KernelLinkText)
		case ph.Vaddr%pageSize != 0 || ph.Flags&elf.PF_R == 0:
			return nil, inputErrorf(name, "a segment at %#x that is not readable pages", ph.Vaddr)
		case ph.Off > uint64(len(b)) || ph.Filesz > uint64(len(b))-ph.Off:
			return nil, inputErrorf(name, "truncated: a segment ends at %#x, the file at %#x", ph.Off+ph.Filesz, len(b))
		}
		p.segments = append(p.segments, segment{
			virt: ph.Vaddr, data: b[ph.Off : ph.Off+ph.Filesz], size: ph.Memsz, flags: uint64(ph.Flags),
		})
	}
	if n := len(p.segments); n == 0 || n > bootinfo.MaxSegments {
		return nil, inputErrorf(name, "%d load segments, not 1 to %d", n, bootinfo.MaxSegments)
	}
	if s := f.Section(".gopclntab"); s != nil {
		p.funcs = bootinfo.Range{Addr: s.Addr, Size: s.Size}
	}
	return p, nil
}

// readMetal reads metal. Its first segment begins with a page of ELF header,
// where the boot page will be.
func readMetal(b []byte) (*program, error) {
	p, err := readProgram("metal", b, bootinfo.MetalBase+bootinfo.LoadBase, math.MaxUint64)
	if err != nil {
		return nil, err
	}
	if first := p.segments[0]; first.virt != bootinfo.MetalBase+bootinfo.LoadBase || first.flags&bootinfo.SegmentExec == 0 || len(first.data) < pageSize {
		return nil, fmt.Errorf("metal: first segment at %#x, want code at %#x", first.virt, uint64(bootinfo.MetalBase+bootinfo.LoadBase))
	}
	return p, nil
}

// readKernel reads a kernel program.
func readKernel(name string, b []byte) (*program, error) {
	return readProgram(name, b, bootinfo.KernelBase, bootinfo.KernelLimit)
}
