// Package pvh reads what a monitor passes to a guest that it starts by the
// PVH entry: hvm_start_info, version 1 (Xen, public/arch-x86/hvm/start_info.h).
//
// Context: trap context, before paging is set up: physical addresses are
// added to the direct offset that the caller gives.
package pvh

import (
	"unsafe"

	"kiln/kernel/metal/raw"
)

// magic is hvm_start_info.magic.
const magic = 0x336ec578

// TypeRAM is the E820 type of usable memory.
const TypeRAM = 1

// startInfo is struct hvm_start_info.
type startInfo struct {
	magic         uint32
	version       uint32
	flags         uint32
	modules       uint32 // count
	modlistPhys   uint64
	cmdlinePhys   uint64
	rsdpPhys      uint64
	memmapPhys    uint64 // version 1
	memmapEntries uint32
	_             uint32
}

// Module is struct hvm_modlist_entry.
type Module struct {
	Phys    uint64
	Size    uint64
	Cmdline uint64
	_       uint64
}

// MemoryRange is struct hvm_memmap_table_entry.
type MemoryRange struct {
	Addr uint64
	Size uint64
	Type uint32 // E820
	_    uint32
}

// Info reads a start info structure. Nothing in it is trusted to be sane.
type Info struct {
	s      *startInfo
	direct uintptr
}

// Open reads the structure at physical address phys. It reports false if that
// is no start info with a memory map.
func Open(phys uint64, direct uintptr) (Info, bool) {
	s := raw.At[startInfo](direct + uintptr(phys))
	if s.magic != magic || s.version < 1 || s.memmapPhys == 0 {
		return Info{}, false
	}
	return Info{s, direct}, true
}

// MemoryRanges returns how many ranges the memory map has.
func (i Info) MemoryRanges() int { return int(min(i.s.memmapEntries, 256)) }

// MemoryRange returns range n of the memory map.
func (i Info) MemoryRange(n int) MemoryRange {
	return *raw.At[MemoryRange](i.direct + uintptr(i.s.memmapPhys) + uintptr(n)*unsafe.Sizeof(MemoryRange{}))
}

// Module returns the first module (QEMU's -initrd), if there is one.
func (i Info) Module() (Module, bool) {
	if i.s.modules == 0 || i.s.modlistPhys == 0 {
		return Module{}, false
	}
	return *raw.At[Module](i.direct + uintptr(i.s.modlistPhys)), true
}

// Cmdline copies the command line to buf and returns its length.
func (i Info) Cmdline(buf []byte) int {
	if i.s.cmdlinePhys == 0 {
		return 0
	}
	for n := range buf {
		c := *raw.At[byte](i.direct + uintptr(i.s.cmdlinePhys) + uintptr(n))
		if c == 0 {
			return n
		}
		buf[n] = c
	}
	return len(buf)
}

// RSDP returns the physical address of the ACPI root pointer, 0 if unknown.
func (i Info) RSDP() uint64 { return i.s.rsdpPhys }
