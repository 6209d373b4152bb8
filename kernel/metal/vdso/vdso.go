// Package vdso makes the image that tells the Go runtime where the clock is: an
// ELF file in memory, named by AT_SYSINFO_EHDR, that offers
// __vdso_clock_gettime and no more than the runtime looks at (System V ABI,
// chapters 4 and 5; runtime/vdso_linux.go).
//
// Context: boot. Locking: none; nobody else knows the image yet.
package vdso

import (
	"unsafe"

	"kiln/kernel/metal/raw"
)

// Size is how much memory Build needs, in bytes.
const Size = unsafe.Sizeof(image{})

// image is the file. Its addresses count from its own.
type image struct {
	ident     [16]byte
	etype     uint16
	machine   uint16
	version   uint32
	entry     uint64
	phoff     uint64
	shoff     uint64
	flags     uint32
	ehsize    uint16
	phentsize uint16
	phnum     uint16
	_         [3]uint16

	load    programHeader
	dynamic programHeader

	dyn  [7][2]uint64
	hash [5]uint32 // DT_HASH: one bucket, one chain
	_    uint32
	// verdef is the Elf64_Verdef of the file itself; without one the runtime
	// faults.
	verdef struct {
		version, flags, index, count uint16
		hash, aux, next              uint32
	}
	_       uint32
	symbols [2]symbol
	strings [24]byte
}

// programHeader is Elf64_Phdr.
type programHeader struct {
	typ, flags               uint32
	off, vaddr, paddr        uint64
	filesz, memsz, alignment uint64
}

// symbol is Elf64_Sym.
type symbol struct {
	name        uint32
	info, other uint8
	shndx       uint16
	value, size uint64
}

const (
	ident = "\x7fELF\x02\x01\x01" // 64-bit, little-endian, version 1
	names = "\x00__vdso_clock_gettime"

	typeDyn       = 3  // ET_DYN
	machineX86_64 = 62 // EM_X86_64

	segmentLoad    = 1 // PT_LOAD
	segmentDynamic = 2 // PT_DYNAMIC
	segmentRead    = 4 // PF_R
	segmentExec    = 1 // PF_X

	dynHash   = 4 // DT_…
	dynStrTab = 5
	dynSymTab = 6
	dynStrSz  = 10
	dynSymEnt = 11
	dynVerDef = 0x6ffffffc

	versionCurrent = 1        // VER_DEF_CURRENT
	versionBase    = 1        // VER_FLG_BASE
	globalFunc     = 1<<4 | 2 // STB_GLOBAL, STT_FUNC
)

// Build writes the image to Size bytes of zeroed memory at base. clockGettime
// is the address of the routine that it offers, anywhere in memory: symbol
// values count from base, and wrap around.
func Build(base, clockGettime uintptr) {
	v := raw.At[image](base)
	for i := range len(ident) {
		v.ident[i] = ident[i]
	}
	v.etype, v.machine, v.version = typeDyn, machineX86_64, 1
	v.ehsize = uint16(unsafe.Offsetof(v.load))
	v.phoff, v.phentsize, v.phnum = uint64(unsafe.Offsetof(v.load)), uint16(unsafe.Sizeof(v.load)), 2
	v.load = programHeader{typ: segmentLoad, flags: segmentRead | segmentExec, filesz: uint64(Size), memsz: uint64(Size), alignment: 4096}
	v.dynamic = programHeader{
		typ: segmentDynamic, flags: segmentRead, alignment: 8,
		off: uint64(unsafe.Offsetof(v.dyn)), vaddr: uint64(unsafe.Offsetof(v.dyn)),
		filesz: uint64(unsafe.Sizeof(v.dyn)), memsz: uint64(unsafe.Sizeof(v.dyn)),
	}
	v.dyn = [7][2]uint64{ // the last is DT_NULL
		{dynStrTab, uint64(unsafe.Offsetof(v.strings))},
		{dynSymTab, uint64(unsafe.Offsetof(v.symbols))},
		{dynHash, uint64(unsafe.Offsetof(v.hash))},
		{dynStrSz, uint64(unsafe.Sizeof(v.strings))},
		{dynSymEnt, uint64(unsafe.Sizeof(v.symbols[0]))},
		{dynVerDef, uint64(unsafe.Offsetof(v.verdef))},
	}
	v.hash = [5]uint32{1, 2, 1, 0, 0}
	v.verdef.version, v.verdef.flags = versionCurrent, versionBase
	v.symbols[1] = symbol{name: 1, info: globalFunc, shndx: 1, value: uint64(clockGettime - base)}
	for i := range len(names) {
		v.strings[i] = names[i]
	}
}
