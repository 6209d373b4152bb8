// Package bootinfo is the contract between bake, which writes an image, and
// metal, which the image boots: the boot header and the fixed addresses.
//
// Everything here is a constant or a struct of fixed-size integers, so the
// package may be used from trap context and before paging is set up.
//
// An image is an ELF64 x86-64 executable with a PVH entry note
// (XEN_ELFNOTE_PHYS32_ENTRY). Its load segments fill one contiguous range of
// physical memory from LoadBase:
//
//	LoadBase          boot page: 32-bit entry stub, GDT, Header at HeaderOffset
//	LoadBase+0x1000   metal: text, read-only data, data, zeroed bss
//	                  boot page tables: PML4, PDPT (low), PDPT (high), PD
//	                  kernel segments, each on a page boundary (bss not stored)
//	                  manifest, page aligned
//	                  root file system (EROFS), page aligned
package bootinfo

import "unsafe"

const (
	// LoadBase is the physical address of the boot page.
	LoadBase = 0x100000

	// MultibootMagic is what a Multiboot2 loader leaves in EAX (Multiboot2
	// Specification 2.0, §3.3). The stub passes it on to metal in RSI; after
	// the PVH entry RSI is 0.
	MultibootMagic = 0x36d76289

	// HeaderOffset is the offset of the Header inside the boot page.
	HeaderOffset = 0x400

	// MetalBase is what is added to a physical address of metal's own
	// segments to give the virtual address that it is linked at. Metal's
	// text begins at MetalBase+LoadBase+0x1000.
	MetalBase = 0xffffffff80000000

	// MetalLinkText and KernelLinkText are the values for the Go linker's
	// -T flag: the text addresses 0xffffffff80101000 (metal) and
	// 0xffffffffa0001000 (kernel) as negative numbers.
	MetalLinkText  = -2146430976
	KernelLinkText = -1610608640

	// KernelBase and KernelLimit bound the virtual addresses at which a
	// kernel program's segments may lie.
	KernelBase  = 0xffffffffa0000000
	KernelLimit = 0xffffffffe0000000

	// BootMapSize is how much physical memory the boot page tables map, at
	// 0 and at MetalBase, with 2 MB pages, writable and executable. Metal
	// replaces them before the kernel program runs.
	BootMapSize = 1 << 30

	// Magic begins a Header: "KILNBOOT" in memory order.
	Magic = 0x544f4f424e4c494b

	// Version is the Header version this package describes.
	Version = 1

	// MaxSegments is how many load segments a kernel program may have.
	MaxSegments = 8
)

// Segment flags, the same bits as ELF's PF_X, PF_W and PF_R.
const (
	SegmentExec  = 1
	SegmentWrite = 2
	SegmentRead  = 4
)

// Range is a range of memory. Addr is physical unless said otherwise.
type Range struct {
	Addr uint64
	Size uint64 // bytes
}

// End returns the first address after r.
func (r Range) End() uint64 { return r.Addr + r.Size }

// Segment is one load segment of the kernel program.
type Segment struct {
	Virt     uint64 // page aligned
	Phys     uint64 // page aligned
	FileSize uint64 // bytes present at Phys
	MemSize  uint64 // bytes in memory; the rest is zero, mapped on demand
	Flags    uint64 // SegmentExec | SegmentWrite | SegmentRead
}

// Header is what bake tells metal about the image. It lies at
// LoadBase+HeaderOffset, little endian, naturally aligned.
type Header struct {
	Magic   uint64
	Version uint32
	Size    uint32 // of this structure, bytes

	Image      Range // the whole image in physical memory, page aligned
	BootTables Range // may be reused once metal runs on its own tables

	MetalText   Range // metal's executable segment
	MetalROData Range // metal's read-only segment
	MetalData   Range // metal's data and bss

	KernelEntry  uint64 // virtual
	SegmentCount uint64
	Segments     [MaxSegments]Segment

	// Go function tables (section .gopclntab), virtual addresses, for
	// tracebacks. A Size of 0 means that there is none.
	MetalFuncs  Range
	KernelFuncs Range

	// The kernel program's arguments and environment: NUL-terminated
	// strings, one after the other.
	KernelArgs Range
	KernelEnv  Range

	Manifest Range // JSON, see package image
	RootFS   Range // EROFS; Size 0 means none
}

// HeaderSize is the value of Header.Size.
const HeaderSize = uint32(unsafe.Sizeof(Header{}))
