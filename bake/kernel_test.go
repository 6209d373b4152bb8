package bake

import (
	"debug/elf"
	"errors"
	"strings"
	"testing"

	"kiln/image/bootinfo"
)

const (
	flagsRX = uint32(elf.PF_R | elf.PF_X)
	flagsR  = uint32(elf.PF_R)
	flagsRW = uint32(elf.PF_R | elf.PF_W)
)

func kernelFile() elfFile {
	const base = bootinfo.KernelBase
	return ringProgram(base+0x1000,
		elf.Prog64{Flags: flagsRX, Vaddr: base, Filesz: 0x1800},
		elf.Prog64{Flags: flagsR, Vaddr: base + 0x2000, Filesz: 0x100},
		elf.Prog64{Flags: flagsRW, Vaddr: base + 0x3000, Filesz: 0x10, Memsz: 0x9000})
}

func TestReadKernel(t *testing.T) {
	p, err := readKernel("k", kernelFile().bytes())
	if err != nil {
		t.Fatal(err)
	}
	if p.entry != bootinfo.KernelBase+0x1000 || len(p.segments) != 3 {
		t.Fatalf("entry %#x and %d segments, want %#x and 3", p.entry, len(p.segments), uint64(bootinfo.KernelBase+0x1000))
	}
	for i, want := range []struct {
		virt, size, flags uint64
		stored            int
	}{
		{bootinfo.KernelBase, 0x1800, 5, 0x1800},
		{bootinfo.KernelBase + 0x2000, 0x100, 4, 0x100},
		{bootinfo.KernelBase + 0x3000, 0x9000, 6, 0x10},
	} {
		s := p.segments[i]
		if s.virt != want.virt || s.size != want.size || s.flags != want.flags || len(s.data) != want.stored {
			t.Errorf("segment %d: %#x, %#x bytes, %d stored, flags %d, want %+v", i, s.virt, s.size, len(s.data), s.flags, want)
		}
	}
}

// TestReadKernelErrors gives bake --kernel what is no kernel program.
func TestReadKernelErrors(t *testing.T) {
	bend := func(f func(*elfFile)) []byte {
		k := kernelFile()
		f(&k)
		return k.bytes()
	}
	sound := kernelFile().bytes()
	for name, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"text":          {[]byte("#!/bin/sh\n"), "not an ELF file"},
		"empty":         {nil, "not an ELF file"},
		"another CPU":   {bend(func(f *elfFile) { f.machine = elf.EM_AARCH64 }), "EM_AARCH64"},
		"PIE":           {bend(func(f *elfFile) { f.typ = elf.ET_DYN }), "ET_DYN"},
		"dynamic":       {bend(func(f *elfFile) { f.interp = "/lib64/ld.so" }), "a kernel program is static"},
		"below":         {bend(func(f *elfFile) { f.loads[0].Vaddr = 0x400000 }), "linked between"},
		"above":         {bend(func(f *elfFile) { f.loads[2].Vaddr = bootinfo.KernelLimit - 0x1000 }), "linked between"},
		"wraps around":  {bend(func(f *elfFile) { f.loads[2].Memsz = 1<<64 - 1 }), "linked between"},
		"stored > size": {bend(func(f *elfFile) { f.loads[1].Memsz = 0x10 }), "linked between"},
		"not aligned":   {bend(func(f *elfFile) { f.loads[1].Vaddr += 8 }), "not readable pages"},
		"unreadable":    {bend(func(f *elfFile) { f.loads[0].Flags = uint32(elf.PF_X) }), "not readable pages"},
		"truncated":     {sound[:dataOffset+0x200], "truncated"},
		"no segments":   {bend(func(f *elfFile) { f.loads = nil }), "0 load segments"},
		"too many":      {bend(func(f *elfFile) { f.loads = append(append(f.loads, f.loads...), f.loads...) }), "9 load segments"},
		"offset wraps":  {bend(func(f *elfFile) { f.loads[1].Off = 1 << 62 }), "truncated"},
	} {
		p, err := readKernel("k", tt.b)
		if _, ok := errors.AsType[*InputError](err); !ok || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "k: ") {
			t.Errorf("%s: readKernel = %+v, %v, want an input error with %q", name, p, err, tt.want)
		}
	}
}

func metalFile() elfFile {
	const base = bootinfo.MetalBase + bootinfo.LoadBase
	return ringProgram(base+0x1000,
		elf.Prog64{Flags: flagsRX, Vaddr: base, Filesz: 0x1800},
		elf.Prog64{Flags: flagsR, Vaddr: base + 0x2000, Filesz: 0x100},
		elf.Prog64{Flags: flagsRW, Vaddr: base + 0x3000, Filesz: 0x10, Memsz: 0x2000})
}

func TestReadMetal(t *testing.T) {
	if p, err := readMetal(metalFile().bytes()); err != nil || len(p.segments) != 3 {
		t.Errorf("readMetal = %+v, %v", p, err)
	}
	// The boot page replaces the first page of the first segment, so that
	// page must be where the stub is entered, and headers alone.
	for name, bend := range map[string]func(*elfFile){
		"elsewhere":     func(f *elfFile) { f.loads[0].Vaddr += pageSize },
		"no code":       func(f *elfFile) { f.loads[0].Flags = flagsR },
		"less than one": func(f *elfFile) { f.loads[0].Filesz, f.loads[0].Memsz = 0x800, 0x800 },
	} {
		f := metalFile()
		bend(&f)
		if p, err := readMetal(f.bytes()); err == nil {
			t.Errorf("%s: readMetal = %+v, want an error", name, p)
		}
	}
}

// TestComponents reads the components that build.sh has embedded.
func TestComponents(t *testing.T) {
	if _, err := components.ReadFile("components/metal.zst"); err != nil {
		t.Skipf("build.sh has not run: %v", err)
	}
	b, err := component("metal")
	if err != nil {
		t.Fatal(err)
	}
	m, err := readMetal(b)
	if err != nil {
		t.Fatal(err)
	}
	if m.funcs.Size == 0 {
		t.Error("metal has no function table: a crash could not be traced")
	}
	if _, err := component("none"); err == nil || !strings.Contains(err.Error(), "build.sh") {
		t.Errorf("component(none) = %v, want an error that names build.sh", err)
	}
}
