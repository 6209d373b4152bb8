package main

import (
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/region"
)

// mmap flags, protections and advice, include/uapi/asm-generic/mman-common.h.
const (
	mapFixed     = 0x10
	mapAnonymous = 0x20
	mapNoReplace = 0x100000

	protMask = region.Read | region.Write | region.Exec

	madvDontneed      = 4
	madvFree          = 8
	madvRemove        = 9
	madvCollapse      = 25
	madvPopulateRead  = 22
	madvPopulateWrite = 23

	// Linux's end of user space. The Sentry probes for it.
	linuxTaskSize = 0x7ffffffff000
)

// hostMmap: anonymous memory anywhere in the mmap area, memfds in their
// windows, the root file system in the direct map.
func hostMmap(addr, length uintptr, prot, flags, fd int, off uintptr) int64 {
	if length == 0 || off%frame.Size != 0 {
		return -eINVAL
	}
	if length > mmapLimit-mmapBase {
		return -eNOMEM
	}
	length = (length + frame.Size - 1) &^ (frame.Size - 1)
	if flags&mapAnonymous == 0 {
		return mapFile(fd, off, length, flags)
	}
	if flags&(mapFixed|mapNoReplace) != 0 {
		if addr >= linuxTaskSize-length && addr < mmapBase {
			return -eNOMEM
		}
		if addr%frame.Size != 0 {
			return -eINVAL
		}
		if !ownRange(addr, length) {
			return -eNOMEM
		}
		if flags&mapNoReplace != 0 && regions.Overlaps(addr, addr+length) {
			return -eEXIST
		}
		dropKernelPages(addr, addr+length)
	} else {
		addr = placeMapping(addr, length)
		if addr == 0 {
			return -eNOMEM
		}
	}
	if !regions.Set(addr, addr+length, uint8(prot&protMask)) {
		return -eNOMEM
	}
	return int64(addr)
}

// ownRange reports whether a range lies in the mmap area or is already mapped.
func ownRange(addr, length uintptr) bool {
	return addr >= mmapBase && addr+length <= mmapLimit || regions.Covered(addr, addr+length)
}

// placeMapping chooses an address: the hint, if it is free and ours, else the
// next in the area, and once that is used up, the first that is free again.
// Large mappings are aligned to 64 MB, so that the heap's arenas need no
// trimming.
func placeMapping(hint, length uintptr) uintptr {
	if hint%frame.Size == 0 && hint >= mmapBase && hint+length <= mmapLimit &&
		!regions.Overlaps(hint, hint+length) {
		mmapNext = max(mmapNext, hint+length)
		return hint
	}
	align := uintptr(frame.Size)
	switch {
	case length >= 64<<20:
		align = 64 << 20
	case length >= 2<<20:
		align = 2 << 20
	}
	addr := (mmapNext + align - 1) &^ (align - 1)
	if addr+length > mmapLimit {
		return regions.Gap(mmapBase, mmapLimit, align, length)
	}
	mmapNext = addr + length
	return addr
}

// mapFile maps a file. Each has one fixed place, so the mapping is shared
// whatever is asked, and mapping costs nothing.
func mapFile(fd int, off, length uintptr, flags int) int64 {
	f := findFile(fd)
	if f == nil {
		return -eBADF
	}
	if flags&mapFixed != 0 {
		return -eINVAL
	}
	switch f.kind {
	case fileMemfd:
		if off+length > memfdWindow {
			return -eNOMEM
		}
		return int64(f.data + off)
	case fileStatic:
		if f.data%frame.Size != 0 || off >= f.size {
			return -eNODEV
		}
		return int64(f.data + off)
	}
	return -eNODEV
}

func hostMunmap(addr, length uintptr) int64 {
	if addr%frame.Size != 0 || length == 0 {
		return -eINVAL
	}
	end := (addr + length + frame.Size - 1) &^ (frame.Size - 1)
	if addr < mmapBase || end > mmapLimit {
		return 0 // a file's fixed place stays
	}
	dropKernelPages(addr, end)
	if !regions.Remove(addr, end) {
		return -eNOMEM
	}
	return 0
}

func hostMprotect(addr, length uintptr, prot int) int64 {
	if addr%frame.Size != 0 {
		return -eINVAL
	}
	end := (addr + length + frame.Size - 1) &^ (frame.Size - 1)
	if !regions.Covered(addr, end) {
		return -eNOMEM
	}
	if !regions.Set(addr, end, uint8(prot&protMask)) {
		return -eNOMEM
	}
	protectKernelPages(addr, end, uint8(prot&protMask))
	return 0
}

func hostMadvise(addr, length uintptr, advice int) int64 {
	if addr%frame.Size != 0 {
		return -eINVAL
	}
	end := (addr + length + frame.Size - 1) &^ (frame.Size - 1)
	switch advice {
	case madvDontneed, madvFree, madvRemove:
		if addr >= mmapBase && end <= mmapLimit || addr >= memfdBase && end <= memfdLimit && advice == madvRemove {
			dropKernelPages(addr, end)
		}
	case madvPopulateRead, madvPopulateWrite:
		// The memory file's owner asks this to save page faults, and would
		// never ask again after an error.
		populate(addr, length, kernelFloor)
	case madvCollapse:
		return -eINVAL
	}
	return 0
}

// populate brings in the pages of a range while more than reserve frames are
// free.
func populate(addr, length uintptr, reserve uint64) int64 {
	end := (addr + length + frame.Size - 1) &^ (frame.Size - 1)
	for p := addr &^ (frame.Size - 1); p < end; p += frame.Size {
		if e, _ := tables.Lookup(kernelRoot, p); e != nil && *e&pagetable.Present != 0 {
			continue
		}
		if frames.FreeFrames() <= reserve || int64(p) >= 0 || !kernelFault(p, true) {
			return -eNOMEM
		}
	}
	return 0
}

// hostMincore writes one byte a page: whether it has a frame.
func hostMincore(addr, length, vec uintptr) int64 {
	if addr%frame.Size != 0 {
		return -eINVAL
	}
	pages := (length + frame.Size - 1) / frame.Size
	for i := range pages {
		e, _ := tables.Lookup(kernelRoot, addr+i*frame.Size)
		*at[bool](vec + i) = e != nil && *e&pagetable.Present != 0
	}
	return 0
}
