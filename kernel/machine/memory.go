package machine

import (
	"unsafe"

	"kiln/kernel/metal/abi"
)

// PageTable is a program's page table: its lower half is the program's, its
// upper half the kernel's, shared by all.
type PageTable uintptr

// Access is what a mapping allows, the same bits as mmap's.
type Access uintptr

const (
	Read    Access = abi.ProtRead
	Write   Access = abi.ProtWrite
	Execute Access = abi.ProtExec
)

// NewPageTable returns a page table with an empty lower half.
func NewPageTable() (PageTable, error) {
	pt, err := hostcall("new page table", abi.SysPTNew, 0, 0, 0, 0, 0)
	return PageTable(pt), err
}

// Map maps length bytes at addr to what backs the kernel's memory at va,
// replacing what was there. Pages of the kernel's mapping that have no frame
// yet get one when the program first touches them; metal does that without
// returning from Enter. All three values are page aligned.
func (pt PageTable) Map(addr, va, length uintptr, access Access) error {
	_, err := hostcall("map", abi.SysPTMap, uintptr(pt), addr, va, length, uintptr(access))
	return err
}

// Unmap removes what is mapped in length bytes from addr.
func (pt PageTable) Unmap(addr, length uintptr) error {
	_, err := hostcall("unmap", abi.SysPTUnmap, uintptr(pt), addr, length, 0, 0)
	return err
}

// Lookup returns the page table entry for addr, 0 if there is none.
func (pt PageTable) Lookup(addr uintptr) (uint64, error) {
	e, err := hostcall("page table lookup", abi.SysPTLookup, uintptr(pt), addr, 0, 0, 0)
	return uint64(e), err
}

// Frames returns how many page frames the table maps, or would if they were
// touched, and takes for itself; pages of the image do not count. Mapped is how
// many pages it maps, with or without a frame, the image's too.
func (pt PageTable) Frames() (frames, mapped int, err error) {
	n, err := hostcall("count page table", abi.SysPTCount, uintptr(pt), 0, 0, 0, 0)
	return int(uint32(n)), int(n >> 32), err
}

// Free gives back the page table. It must not be in use by an Enter.
func (pt PageTable) Free() error {
	_, err := hostcall("free page table", abi.SysPTFree, uintptr(pt), 0, 0, 0, 0)
	return err
}

// AllocDMA returns zeroed, physically contiguous memory that never moves, and
// its physical address.
func AllocDMA(pages int) ([]byte, PhysAddr, error) {
	var phys uint64
	va, err := hostcall("allocate DMA memory", abi.SysDMAAlloc, uintptr(pages), uintptr(unsafe.Pointer(&phys)), 0, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	return unsafe.Slice((*byte)(pointer(va)), pages*PageSize), PhysAddr(phys), nil
}

// FreeDMA gives back memory from AllocDMA. No device may still use it.
func FreeDMA(b []byte) error {
	va := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	_, err := hostcall("free DMA memory", abi.SysDMAFree, va, uintptr(len(b)/PageSize), 0, 0, 0)
	return err
}

// PhysPages fills in the physical addresses of the pages that b lies in, one
// each, and gives frames to those that have none yet. It fails with ENOMEM when
// frames are down to what is kept back for the kernel.
func PhysPages(b []byte, pages []PhysAddr) error {
	if len(pages) == 0 {
		return nil
	}
	va := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	_, err := hostcall("physical addresses", abi.SysPhysPages, va, uintptr(len(pages)), uintptr(unsafe.Pointer(&pages[0])), 0, 0)
	return err
}

// Populate gives frames to the pages that b lies in. Like PhysPages it fails when
// only what is kept back for the kernel is left.
func Populate(b []byte) error {
	va := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	start := va &^ (PageSize - 1)
	_, err := hostcall("populate", abi.SysPopulate, start, va+uintptr(len(b))-start, 0, 0, 0)
	return err
}

// MapMMIO maps device registers, uncached, for good.
func MapMMIO(phys PhysAddr, length int) (unsafe.Pointer, error) {
	va, err := hostcall("map device registers", abi.SysMMIOMap, uintptr(phys), uintptr(length), 0, 0, 0)
	if err != nil {
		return nil, err
	}
	return pointer(va), nil
}

// pointer makes a pointer to memory that metal owns, which the Go heap does
// not contain.
func pointer(va uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&va)) }

// Fence orders every earlier store before every later load, as devices see
// them.
//
// On a CPU, MFENCE does that. QEMU's TCG before 8.1 makes no barrier of it when
// the machine has one CPU, although its devices run on other threads; nor of XCHG
// and LOCK, which become plain loads and stores. What it does for RDTSC begins
// with an exchange on a lock (cpu_get_ticks), which is a barrier on an x86 host.
// TestFence in test/e2e sees a device's view of it.
func Fence()
