// Package multiboot reads what a boot loader passes by the Multiboot2 protocol
// (Multiboot2 Specification 2.0, §3.6 "Boot information format"): GRUB, from a
// CD or a disk.
//
// Context: trap context, before paging is set up: physical addresses are added
// to the direct offset that the caller gives.
package multiboot

import (
	"unsafe"

	"kiln/kernel/metal/raw"
)

// TypeRAM is the memory map's type of usable memory.
const TypeRAM = 1

// Tag types.
const (
	tagEnd     = 0
	tagCmdline = 1
	tagModule  = 3
	tagMemory  = 6
)

// maxSize bounds the structure, in bytes: it has no other sign of being sound.
const maxSize = 1 << 20

// header is the structure's first words, tag each tag's.
type header struct {
	size uint32 // of all, bytes
	_    uint32
}

type tag struct {
	kind uint32
	size uint32 // with this header, without padding
}

// memoryTag is followed by its entries.
type memoryTag struct {
	tag
	entrySize uint32
	version   uint32
}

// moduleTag is followed by the module's command line.
type moduleTag struct {
	tag
	start uint32 // physical
	end   uint32
}

// MemoryRange is an entry of the memory map.
type MemoryRange struct {
	Addr uint64
	Size uint64
	Type uint32
	_    uint32
}

// Info reads the structure. Nothing in it is trusted to be sane.
type Info struct {
	start  uintptr
	end    uintptr
	direct uintptr
}

// Open reads the structure at physical address phys. It reports false if there
// is none with a memory map.
func Open(phys uint64, direct uintptr) (Info, bool) {
	start := direct + uintptr(phys)
	size := raw.At[header](start).size
	if size < uint32(unsafe.Sizeof(header{})) || size > maxSize {
		return Info{}, false
	}
	i := Info{start, start + uintptr(size), direct}
	return i, i.MemoryRanges() > 0
}

// find returns the first tag of a kind, and 0 if there is none of at least so
// many bytes.
func (i Info) find(kind uint32, least uintptr) uintptr {
	for p := i.start + unsafe.Sizeof(header{}); p+unsafe.Sizeof(tag{}) <= i.end; {
		t := raw.At[tag](p)
		size := uintptr(t.size)
		if t.kind == tagEnd || size < unsafe.Sizeof(tag{}) || size > i.end-p {
			return 0
		}
		if t.kind == kind && size >= least {
			return p
		}
		p += (size + 7) &^ 7
	}
	return 0
}

// MemoryRanges returns how many ranges the memory map has.
func (i Info) MemoryRanges() int {
	p := i.find(tagMemory, unsafe.Sizeof(memoryTag{}))
	if p == 0 {
		return 0
	}
	t := raw.At[memoryTag](p)
	if uintptr(t.entrySize) < unsafe.Sizeof(MemoryRange{}) {
		return 0
	}
	return int(min((uintptr(t.size)-unsafe.Sizeof(memoryTag{}))/uintptr(t.entrySize), 256))
}

// MemoryRange returns range n of the memory map.
func (i Info) MemoryRange(n int) MemoryRange {
	p := i.find(tagMemory, unsafe.Sizeof(memoryTag{}))
	entry := uintptr(raw.At[memoryTag](p).entrySize)
	return *raw.At[MemoryRange](p + unsafe.Sizeof(memoryTag{}) + uintptr(n)*entry)
}

// Module returns where the first module is.
func (i Info) Module() (addr, size uint64, ok bool) {
	p := i.find(tagModule, unsafe.Sizeof(moduleTag{}))
	if p == 0 {
		return 0, 0, false
	}
	t := raw.At[moduleTag](p)
	if t.end <= t.start {
		return 0, 0, false
	}
	return uint64(t.start), uint64(t.end - t.start), true
}

// Cmdline copies the command line to buf and returns its length.
func (i Info) Cmdline(buf []byte) int {
	p := i.find(tagCmdline, unsafe.Sizeof(tag{}))
	if p == 0 {
		return 0
	}
	text := p + unsafe.Sizeof(tag{})
	for n := range buf {
		if text+uintptr(n) >= p+uintptr(raw.At[tag](p).size) {
			return n
		}
		c := *raw.At[byte](text + uintptr(n))
		if c == 0 {
			return n
		}
		buf[n] = c
	}
	return len(buf)
}
