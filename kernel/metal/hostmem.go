package main

import (
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/hostfile"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/region"
)

// mmap flags, protections and advice, include/uapi/asm-generic/mman-common.h.
const (
	protMask = region.Read | region.Write | region.Exec

	// Linux's end of user space. The Sentry probes for it.
	linuxTaskSize = 0x7ffffffff000
)

// hostMmap: anonymous memory anywhere in the mmap area, memfds in their
// windows, the root file system in the direct map.
func hostMmap(addr, length uintptr, prot, flags, fd int, off uintptr) int64 {
	if length == 0 || off%frame.Size != 0 {
		return -linux.EINVAL
	}
	if length > mmapLimit-mmapBase {
		return -linux.ENOMEM
	}
	length = (length + frame.Size - 1) &^ (frame.Size - 1)
	if flags&linux.MAP_ANONYMOUS == 0 {
		return mapFile(fd, off, length, flags)
	}
	if flags&(linux.MAP_FIXED|linux.MAP_FIXED_NOREPLACE) != 0 {
		if addr >= linuxTaskSize-length && addr < mmapBase {
			return -linux.ENOMEM
		}
		if addr%frame.Size != 0 {
			return -linux.EINVAL
		}
		if !ownRange(addr, length) {
			return -linux.ENOMEM
		}
		if flags&linux.MAP_FIXED_NOREPLACE != 0 && regions.Overlaps(addr, addr+length) {
			return -linux.EEXIST
		}
		dropKernelPages(addr, addr+length)
	} else {
		addr = placeMapping(addr, length)
		if addr == 0 {
			return -linux.ENOMEM
		}
	}
	if !regions.Set(addr, addr+length, uint8(prot&protMask)) {
		return -linux.ENOMEM
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
	f := files.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	if flags&linux.MAP_FIXED != 0 {
		return -linux.EINVAL
	}
	switch f.Kind {
	case hostfile.Memory:
		if off+length > memfdWindow {
			return -linux.ENOMEM
		}
		return int64(f.Data + off)
	case hostfile.Static:
		if f.Data%frame.Size != 0 || off >= f.Size {
			return -linux.ENODEV
		}
		return int64(f.Data + off)
	}
	return -linux.ENODEV
}

// hostMunmap frees a range of the mmap area.
func hostMunmap(addr, length uintptr) int64 {
	if addr%frame.Size != 0 || length == 0 {
		return -linux.EINVAL
	}
	end := (addr + length + frame.Size - 1) &^ (frame.Size - 1)
	if addr < mmapBase || end > mmapLimit {
		return 0 // a file's fixed place stays
	}
	dropKernelPages(addr, end)
	if !regions.Remove(addr, end) {
		return -linux.ENOMEM
	}
	return 0
}

// hostMprotect sets the rights of a range that is mapped without a gap.
func hostMprotect(addr, length uintptr, prot int) int64 {
	if addr%frame.Size != 0 {
		return -linux.EINVAL
	}
	end := (addr + length + frame.Size - 1) &^ (frame.Size - 1)
	if !regions.Covered(addr, end) {
		return -linux.ENOMEM
	}
	if !regions.Set(addr, end, uint8(prot&protMask)) {
		return -linux.ENOMEM
	}
	protectKernelPages(addr, end, uint8(prot&protMask))
	return 0
}

// hostMadvise frees pages, or brings them in; other advice changes nothing.
func hostMadvise(addr, length uintptr, advice int) int64 {
	if addr%frame.Size != 0 {
		return -linux.EINVAL
	}
	end := (addr + length + frame.Size - 1) &^ (frame.Size - 1)
	switch advice {
	case linux.MADV_DONTNEED, linux.MADV_FREE, linux.MADV_REMOVE:
		if addr >= mmapBase && end <= mmapLimit || addr >= memfdBase && end <= memfdLimit && advice == linux.MADV_REMOVE {
			dropKernelPages(addr, end)
		}
	case linux.MADV_POPULATE_READ, linux.MADV_POPULATE_WRITE:
		// The memory file's owner asks this to save page faults, and would
		// never ask again after an error.
		populate(addr, length, kernelFloor)
	case linux.MADV_COLLAPSE:
		return -linux.EINVAL
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
			return -linux.ENOMEM
		}
	}
	return 0
}

// hostMincore writes one byte a page: whether it has a frame.
func hostMincore(addr, length, vec uintptr) int64 {
	if addr%frame.Size != 0 {
		return -linux.EINVAL
	}
	pages := (length + frame.Size - 1) / frame.Size
	for i := range pages {
		e, _ := tables.Lookup(kernelRoot, addr+i*frame.Size)
		*raw.At[bool](vec + i) = e != nil && *e&pagetable.Present != 0
	}
	return 0
}
