package main

import (
	"kiln/image/bootinfo"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/hostfile"
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
	memfdWindow = hostfile.Window
	maxMemfds   = hostfile.MaxMemory
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
	// userReserve is what programs cannot have. Down to kernelFloor it is
	// for pages of theirs that the Sentry touches between two looks at
	// memory (package sentry/memory); below, for the kernel program's heap.
	userReserve, kernelFloor uint64
	// promisedFrames is what ring 3 cannot have beyond that: the kernel program
	// has promised it to tasks that it is busy with.
	promisedFrames uint64
	// belowFloor counts the frames that went to programs' pages below
	// kernelFloor. Any is a defect of the Sentry's looks.
	belowFloor uint64
	// programFrames counts the frames of memory files: of programs' pages,
	// files in memory and cached ones. Of what the Sentry touches they are
	// the part that is promised.
	programFrames uint64
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
		stop := min(end, (phys+pagetable.LargeSize)&^(pagetable.LargeSize-1))
		if !mapPages(va, phys, stop, flags) {
			return false
		}
		va += uintptr(stop - phys)
		phys = stop
	}
	return true
}

// mapPages maps physical memory with 4 KB pages, the last one wholly.
func mapPages(va uintptr, phys, end uint64, flags pagetable.Entry) bool {
	for phys < end {
		run := tables.EnsureRun(kernelRoot, va)
		if len(run) == 0 {
			return false
		}
		for i := 0; i < len(run) && phys < end; i++ {
			run[i] = pagetable.Entry(phys) | flags
			va += frame.Size
			phys += frame.Size
		}
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
	return protectDirect() && mapMetal(h.MetalText, pteText) && mapMetal(h.MetalROData, pteROData) &&
		mapMetal(h.MetalData, pteData) && mapKernelProgram()
}

// mapDirect adds RAM to the direct map, the image in it page by page.
func mapDirect(start, end uint64) bool {
	start = (start + frame.Size - 1) &^ (frame.Size - 1)
	end &^= frame.Size - 1
	image := header.Image
	from := min(max(image.Addr&^(frame.Size-1), start), end)
	to := min(max((image.End()+frame.Size-1)&^(frame.Size-1), start), end)
	return mapRange(directMapBase+uintptr(start), start, from, pteData) &&
		mapPages(directMapBase+uintptr(from), from, to, pteData) &&
		mapRange(directMapBase+uintptr(to), to, end, pteData)
}

// protectDirect makes read-only in the direct map what of the image is never
// written.
func protectDirect() bool {
	h := &header
	if !protectRange(h.MetalText) || !protectRange(h.MetalROData) || !protectRange(h.RootFS) {
		return false
	}
	for i := range h.SegmentCount {
		s := &h.Segments[i]
		if s.Flags&bootinfo.SegmentWrite == 0 && !protectRange(bootinfo.Range{Addr: s.Phys, Size: s.FileSize}) {
			return false
		}
	}
	return true
}

// protectRange makes the pages of a range read-only in the direct map.
func protectRange(r bootinfo.Range) bool {
	start := r.Addr &^ (frame.Size - 1)
	return mapPages(directMapBase+uintptr(start), start, r.End(), pteROData)
}

// mapMetal maps a part of metal where it is linked.
func mapMetal(r bootinfo.Range, flags pagetable.Entry) bool {
	start := r.Addr &^ (frame.Size - 1)
	return mapPages(bootinfo.MetalBase+uintptr(start), start, r.End(), flags)
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
		if !mapPages(uintptr(s.Virt), s.Phys, s.Phys+s.FileSize, flags) {
			return false
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
	inFile := addr >= memfdBase && addr < memfdLimit
	if inFile {
		if !files.Covers(addr) {
			return false
		}
		if frames.FreeFrames() <= kernelFloor {
			belowFloor++
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
	if inFile {
		programFrames++
	}
	cpu.ClearPage(directMap + uintptr(f))
	*e = pagetable.Entry(f) | flags
	return true
}

// protFlags makes page table flags of mmap's protection bits.
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
			if va >= memfdBase && va < memfdLimit {
				programFrames--
			}
		}
		va = pagetable.Next(va, size, end)
	}
	if start >= memfdBase && start < memfdLimit && tables.Prune(kernelRoot, start, end-start) {
		cpu.Invalidate(start)
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
