package main

import (
	"kiln/kernel/metal/abi"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/raw"
)

// privateCall answers the hostcalls of package abi.
func privateCall(nr uint64, a1, a2, a3, a4, a5 uintptr) int64 {
	switch nr {
	case abi.SysPTNew:
		if root := tables.New(); root != 0 {
			return int64(root)
		}
		return -linux.ENOMEM
	case abi.SysPTFree:
		return freeUserTable(a1)
	case abi.SysPTMap:
		return mapUser(a1, a2, a3, a4, a5)
	case abi.SysPTUnmap:
		return unmapUser(a1, a2, a3)
	case abi.SysPTLookup:
		e, _ := tables.Lookup(frameOf(a1), a2)
		if e == nil {
			return 0
		}
		return int64(*e)
	case abi.SysPTCount:
		return countUser(frameOf(a1))
	case abi.SysDMAAlloc:
		return allocDMA(a1, raw.At[uint64](a2))
	case abi.SysDMAFree:
		return freeDMA(a1, a2)
	case abi.SysPhysPages:
		return physPages(a1, a2, a3)
	case abi.SysMMIOMap:
		if va := mapMMIO(uint64(a1), a2); va != 0 {
			return int64(va)
		}
		return -linux.ENOMEM
	case abi.SysIRQOpen:
		return openIRQ()
	case abi.SysIRQRoute:
		return routeIRQ(int(a1), int(a2), a3 != 0)
	case abi.SysIRQMSI:
		return messageIRQ(int(a1), raw.At[[2]uint64](a2))
	case abi.SysIRQAck:
		return ackIRQ(int(a1))
	case abi.SysFPSave:
		saveUserFloat()
	case abi.SysFPDrop:
		dropUserFloat(raw.At[userContext](a1))
	case abi.SysInterrupt:
		return interruptUser(raw.At[userContext](a1))
	case abi.SysPowerOff:
		powerOff(int(a1))
	case abi.SysClockInfo:
		*raw.At[abi.ClockInfo](a1) = abi.ClockInfo{Base: clock.tscBase, Rate: uint64(clock.mult), Wall: clock.wallOffset}
	case abi.SysMemInfo:
		memInfo(raw.At[abi.MemInfo](a1))
	case abi.SysPopulate:
		return populate(a1, a2, userReserve)
	case abi.SysFreeCounter:
		return int64(raw.Addr(frames.FreeCounter()))
	case abi.SysPromised:
		return int64(raw.Addr(&promisedFrames))
	}
	return 0
}

// physPages writes the physical address of each of count pages from va's on to
// out, and brings in those that have no frame. out is touched by metal while it
// fills pages, so that it may lie in one of them.
func physPages(va, count, out uintptr) int64 {
	for i := range count {
		page := va&^(frame.Size-1) + i*frame.Size
		phys, ok := tables.Translate(kernelRoot, page)
		if !ok {
			if frames.FreeFrames() <= userReserve {
				return -linux.ENOMEM
			}
			if int64(page) >= 0 || !kernelFault(page, true) {
				return -linux.EFAULT
			}
			if phys, ok = tables.Translate(kernelRoot, page); !ok {
				return -linux.EFAULT
			}
		}
		*raw.At[uint64](out + i*8) = phys
	}
	return 0
}

// mapUser maps length bytes at addr in a program's page table to what backs
// the kernel's memory at va. Pages without a frame become lazy entries.
func mapUser(pt, addr, va, length, prot uintptr) int64 {
	if (addr|va|length)%frame.Size != 0 || addr+length > lowerHalfEnd || addr+length < addr {
		return -linux.EINVAL
	}
	root := frameOf(pt)
	var flags pagetable.Entry
	if prot&abi.ProtWrite != 0 {
		flags |= pagetable.Writable
	}
	if prot&abi.ProtExec == 0 {
		flags |= pagetable.NoExecute
	}
	replaced := false
	for end := addr + length; addr < end; {
		// A run within one last-level table on both sides.
		dst := tables.Ensure(root, addr)
		if dst == nil {
			return -linux.ENOMEM
		}
		n := min(end-addr, tableSpan-addr%tableSpan, tableSpan-va%tableSpan) / frame.Size
		src, size := tables.Lookup(kernelRoot, va)
		for i := range n {
			d := entryAt(dst, i)
			replaced = replaced || *d&pagetable.Present != 0
			*d = userEntry(src, size, va+i*frame.Size, i, flags)
		}
		addr += n * frame.Size
		va += n * frame.Size
	}
	if replaced {
		flushUser(pt)
	}
	return 0
}

const (
	tableSpan    = pagetable.LargeSize // what a last-level table maps
	lowerHalfEnd = 1 << 47
)

// userEntry makes the program's entry for kernel page va. src is the kernel's
// entry for the run's first page, which maps size bytes; i counts from there.
func userEntry(src *pagetable.Entry, size, va, i uintptr, flags pagetable.Entry) pagetable.Entry {
	switch {
	case src == nil:
		return pagetable.Lazy(va, flags)
	case size == frame.Size:
		e := *entryAt(src, i)
		if e&pagetable.Present == 0 {
			return pagetable.Lazy(va, flags)
		}
		return pagetable.Entry(e.Addr()) | flags | pagetable.User | pagetable.Present
	default: // a large page of the direct map
		phys := src.Addr()&^uint64(size-1) | uint64(va&(size-1))
		return pagetable.Entry(phys) | flags | pagetable.User | pagetable.Present
	}
}

// entryAt returns the entry i places after e in the same table.
func entryAt(e *pagetable.Entry, i uintptr) *pagetable.Entry {
	return raw.At[pagetable.Entry](raw.Addr(e) + 8*i)
}

// unmapUser removes what a program's page table maps of a range.
func unmapUser(pt, addr, length uintptr) int64 {
	if (addr|length)%frame.Size != 0 || addr >= lowerHalfEnd {
		return -linux.EINVAL
	}
	length = min(length, lowerHalfEnd-addr)
	if tables.Clear(frameOf(pt), addr, length) {
		flushUser(pt)
	}
	return 0
}

// countUser counts the frames behind the lower half of a page table.
func countUser(root frame.Addr) int64 {
	n, mapped := int64(1), int64(0)
	for va := uintptr(0); va < lowerHalfEnd; {
		e, size := tables.Lookup(root, va)
		if e == nil || size != frame.Size {
			va = pagetable.Next(va, size, lowerHalfEnd)
			continue
		}
		n++ // the table that e is in
		for i := range (tableSpan - va%tableSpan) / frame.Size {
			if d := *entryAt(e, i); d.IsLazy() {
				_, there := tables.Translate(kernelRoot, d.LazyAddr())
				n += int64(count(there))
				mapped++
			} else if d&pagetable.Present != 0 {
				n += int64(count(frames.Managed(frame.Addr(d.Addr()))))
				mapped++
			}
		}
		va = (va + tableSpan) &^ (tableSpan - 1)
	}
	return mapped<<32 | n
}

// count returns 1 for true.
func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// flushUser drops the TLB's entries for a page table. Another CPU's, with one
// CPU, there are none; tables that are not loaded have none either.
func flushUser(pt uintptr) {
	if c := thisCPU(); c.cr3 == pt {
		cpu.WriteCR3(uint64(pt))
	}
}

// freeUserTable frees a program's page table, which this CPU leaves if it has it
// loaded.
func freeUserTable(pt uintptr) int64 {
	if c := thisCPU(); c.cr3 == pt {
		c.cr3 = uintptr(kernelRoot)
		cpu.WriteCR3(uint64(kernelRoot))
	}
	tables.Free(frameOf(pt))
	return 0
}

// order returns the smallest power of two of frames that holds pages.
func order(pages uintptr) uint {
	o := uint(0)
	for uintptr(1)<<o < pages {
		o++
	}
	return o
}

// allocDMA returns the address of contiguous page frames, pages or more, and
// writes where they are to phys.
func allocDMA(pages uintptr, phys *uint64) int64 {
	if pages == 0 || pages > 1<<frame.MaxOrder {
		return -linux.EINVAL
	}
	va := allocPages(order(pages))
	if va == 0 {
		return -linux.ENOMEM
	}
	*phys = uint64(va - directMap)
	return int64(va)
}

// freeDMA frees what allocDMA returned for as many pages.
func freeDMA(va, pages uintptr) int64 {
	if va < directMap || !frames.Free(frame.Addr(va-directMap), order(pages)) {
		return -linux.EINVAL
	}
	return 0
}

// interruptUser ends a current EnterUser of u, or the next.
func interruptUser(u *userContext) int64 {
	for i := range threadTop {
		if t := threads[i]; t != nil && t.state != threadFree && t.user == u && t.kind == kindUser {
			leaveUser(t, exitInterrupt, 0, 0)
			return 0
		}
	}
	u.Pending = 1
	return 0
}

// memInfo writes the state of memory.
func memInfo(m *abi.MemInfo) {
	s := frames.Stats()
	*m = abi.MemInfo{
		Total: s.Total, Free: s.Free, Peak: s.Peak,
		PageTables: tables.Count(), Image: imageFrames,
		LowWater: userReserve, Programs: programFrames, Floor: kernelFloor, Below: belowFloor,
	}
}
