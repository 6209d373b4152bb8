package main

import (
	"kiln/image/bootinfo"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/region"
)

// Kernel address space. Programs own the whole lower half. Each area begins a
// 512 GB slot of the PML4 of its own and stays in it, so that all page tables
// share it. (The direct map may go on in the next slots: it is complete before
// there is a second page table.)
const (
	directMapBase = 0xffff888000000000 // physical memory, what exists of it
	mmapBase      = 0xffffa00000000000 // mmap: the Go heap, reservations
	mmapLimit     = mmapBase + slotSize
	memfdBase     = 0xffffb00000000000 // one window for each memfd
	memfdLimit    = memfdBase + maxMemfds*memfdWindow
	mmioBase      = 0xffffc90000000000 // device registers
	stackBase     = 0xffffd00000000000 // stacks, each above a guard page

	slotSize    = 1 << 39
	memfdWindow = slotSize
	maxMemfds   = 8
)

// Page table entries for kernel memory.
const (
	pteData   = pagetable.Present | pagetable.Writable | pagetable.NoExecute | pagetable.Global | pagetable.Accessed | pagetable.Dirty
	pteROData = pagetable.Present | pagetable.NoExecute | pagetable.Global | pagetable.Accessed
	pteText   = pagetable.Present | pagetable.Global | pagetable.Accessed
	pteMMIO   = pteData | pagetable.CacheDisable | pagetable.WriteThrough
)

// Memory kept back, in page frames.
var (
	// userReserve is what programs cannot have: the Sentry needs memory to
	// clean up after one that it kills.
	userReserve uint64
	// plentyFrames is how much must be free for guesses like fault-around.
	plentyFrames uint64
)

// maxRegions is how many regions the kernel program's address space may have.
const maxRegions = 4096

var (
	header     bootinfo.Header
	frames     frame.Allocator
	tables     pagetable.Tables
	kernelRoot frame.Addr
	regions    region.Map

	// directMap is where physical address 0 is mapped: 0 on the boot page
	// tables, directMapBase afterwards.
	directMap uintptr

	mmapNext  uintptr = mmapBase
	mmioNext  uintptr = mmioBase
	stackNext uintptr = stackBase

	imageFrames uint64
)

// frameOf makes a frame address of a page table handle.
func frameOf(pt uintptr) frame.Addr { return frame.Addr(pt) }

// mapKernel maps one page of kernel memory.
func mapKernel(va uintptr, phys uint64, flags pagetable.Entry) bool {
	e := tables.Ensure(kernelRoot, va)
	if e == nil {
		return false
	}
	*e = pagetable.Entry(phys) | flags
	return true
}

// mapRange maps physical memory, with 2 MB pages where it can.
func mapRange(va uintptr, phys, end uint64, flags pagetable.Entry) bool {
	for phys < end {
		if phys%pagetable.LargeSize == 0 && va%pagetable.LargeSize == 0 && end-phys >= pagetable.LargeSize {
			e := tables.EnsureLarge(kernelRoot, va, 1)
			if e == nil {
				return false
			}
			*e = pagetable.Entry(phys) | flags | pagetable.Large
			va += pagetable.LargeSize
			phys += pagetable.LargeSize
			continue
		}
		if !mapKernel(va, phys, flags) {
			return false
		}
		va += frame.Size
		phys += frame.Size
	}
	return true
}

// mapMachine builds the kernel's page table: the direct map of the RAM that
// exists, metal, and the kernel program, each page with just the rights that
// it needs.
func mapMachine() bool {
	var slots [16 + maxMemfds]uintptr
	n := 0
	for _, base := range [...]uintptr{directMapBase, mmapBase, mmioBase, stackBase, bootinfo.MetalBase} {
		slots[n] = base
		n++
	}
	for i := range uintptr(maxMemfds) {
		slots[n] = memfdBase + i*memfdWindow
		n++
	}
	root, ok := tables.NewKernel(slots[:n])
	kernelRoot = root
	if !ok {
		return false
	}
	for i := range ramCount {
		if !mapDirect(ram[i].Addr, ram[i].End()) {
			return false
		}
	}
	h := &header
	return mapMetal(h.MetalText, pteText) && mapMetal(h.MetalROData, pteROData) &&
		mapMetal(h.MetalData, pteData) && mapKernelProgram()
}

// mapDirect adds RAM to the direct map. What other mappings protect from
// writing is read-only here too.
func mapDirect(start, end uint64) bool {
	start = (start + frame.Size - 1) &^ (frame.Size - 1)
	end &^= frame.Size - 1
	img := header.Image
	for start < end {
		switch {
		case end <= img.Addr || start >= img.End():
			return mapRange(directMapBase+uintptr(start), start, end, pteData)
		case start < img.Addr:
			if !mapRange(directMapBase+uintptr(start), start, img.Addr, pteData) {
				return false
			}
			start = img.Addr
		default: // inside the image, page by page
			flags := pteData
			if readOnlyImage(start) {
				flags = pteROData
			}
			if !mapKernel(directMapBase+uintptr(start), start, flags) {
				return false
			}
			start += frame.Size
		}
	}
	return true
}

// readOnlyImage reports whether the image's page at phys is never written.
func readOnlyImage(phys uint64) bool {
	h := &header
	if within(h.MetalText, phys) || within(h.MetalROData, phys) || within(h.RootFS, phys) {
		return true
	}
	for i := range h.SegmentCount {
		s := &h.Segments[i]
		if s.Flags&bootinfo.SegmentWrite == 0 && phys >= s.Phys && phys < s.Phys+s.FileSize {
			return true
		}
	}
	return false
}

func within(r bootinfo.Range, addr uint64) bool { return addr >= r.Addr && addr < r.End() }

func mapMetal(r bootinfo.Range, flags pagetable.Entry) bool {
	start := r.Addr &^ (frame.Size - 1)
	for p := start; p < r.End(); p += frame.Size {
		if !mapKernel(bootinfo.MetalBase+uintptr(p), p, flags) {
			return false
		}
	}
	return true
}

// mapKernelProgram maps what the image holds of the kernel program; the rest
// of its data is zero and comes on demand.
func mapKernelProgram() bool {
	for i := range header.SegmentCount {
		s := &header.Segments[i]
		flags, prot := pteROData, uint8(region.Read)
		if s.Flags&bootinfo.SegmentWrite != 0 {
			flags, prot = pteData, region.Read|region.Write
		} else if s.Flags&bootinfo.SegmentExec != 0 {
			flags, prot = pteText, region.Read|region.Exec
		}
		for off := uint64(0); off < s.FileSize; off += frame.Size {
			if !mapKernel(uintptr(s.Virt+off), s.Phys+off, flags) {
				return false
			}
		}
		end := (s.Virt + s.MemSize + frame.Size - 1) &^ (frame.Size - 1)
		if !regions.Set(uintptr(s.Virt), uintptr(end), prot) {
			return false
		}
	}
	return true
}

// kernelFault gives the page at addr a zeroed frame if the kernel program may
// touch it. Without memory for the Go heap the machine cannot go on.
func kernelFault(addr uintptr, write bool) bool {
	page := addr &^ (frame.Size - 1)
	flags := pteData
	if addr >= memfdBase && addr < memfdLimit {
		if !memfdCovers(addr) || frames.FreeFrames() <= userReserve/2 {
			return false
		}
	} else {
		r, ok := regions.Find(addr)
		if !ok || r.Prot == 0 || write && r.Prot&region.Write == 0 {
			return false
		}
		flags = protFlags(r.Prot)
	}
	e := tables.Ensure(kernelRoot, page)
	if e == nil {
		fatalMemory()
	}
	if *e&pagetable.Present != 0 {
		return true // a neighbour's fault brought it in
	}
	f := frames.Alloc(0)
	if f == 0 {
		fatalMemory()
	}
	cpu.ClearPage(directMap + uintptr(f))
	*e = pagetable.Entry(f) | flags
	return true
}

func protFlags(prot uint8) pagetable.Entry {
	flags := pteROData
	if prot&region.Write != 0 {
		flags = pteData
	}
	if prot&region.Exec != 0 {
		flags &^= pagetable.NoExecute
	}
	return flags
}

// dropKernelPages takes the frames from a range of kernel memory; what is
// touched again is zero.
func dropKernelPages(start, end uintptr) {
	for va := start; va < end; {
		e, size := tables.Lookup(kernelRoot, va)
		if e != nil && size == frame.Size && *e != 0 {
			f := frame.Addr(e.Addr())
			*e = 0
			cpu.Invalidate(va)
			freeFrame(f)
		}
		va = pagetable.Next(va, size, end)
	}
}

// freeFrame gives back a frame of kernel memory. Frames of the image are not
// the allocator's and stay as they are.
func freeFrame(f frame.Addr) {
	if frames.Managed(f) {
		frames.Free(f, 0)
	}
}

// protectKernelPages sets the rights of the pages that are present.
func protectKernelPages(start, end uintptr, prot uint8) {
	for va := start; va < end; {
		e, size := tables.Lookup(kernelRoot, va)
		if e != nil && size == frame.Size && *e != 0 {
			f := e.Addr()
			*e = pagetable.Entry(f) | protFlags(prot)
			if prot == 0 {
				*e &^= pagetable.Present // keeps the frame; see kernelFault
			}
			cpu.Invalidate(va)
		}
		va = pagetable.Next(va, size, end)
	}
}
