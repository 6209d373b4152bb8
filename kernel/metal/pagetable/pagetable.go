// Package pagetable builds and walks x86-64 four-level page tables (Intel SDM
// vol. 3A §4.5, December 2023).
//
// A table belongs to one root (PML4). Roots that New makes share the kernel's
// upper half: its second-level tables exist from the start, so that what one
// root maps there, all see.
//
// Entries that are not present may be lazy: they name the kernel address whose
// page frame is to be mapped when the program first touches the page.
//
// Context: trap context; the caller holds metal's lock and flushes the TLB.
package pagetable

import (
	"unsafe"

	"kiln/kernel/metal/frame"
)

// Entry is a page table entry.
type Entry uint64

// Entry bits, Intel SDM vol. 3A table 4-20.
const (
	Present      Entry = 1 << 0
	Writable     Entry = 1 << 1
	User         Entry = 1 << 2
	WriteThrough Entry = 1 << 3
	CacheDisable Entry = 1 << 4
	Accessed     Entry = 1 << 5
	Dirty        Entry = 1 << 6
	Large        Entry = 1 << 7 // in a PD or PDPT: maps 2 MB or 1 GB
	Global       Entry = 1 << 8
	lazy         Entry = 1 << 9 // software: not present, see Lazy
	NoExecute    Entry = 1 << 63

	addrMask Entry = 0x000ffffffffff000
)

const (
	entries    = 512
	LargeSize  = 2 << 20 // bytes mapped by a large PD entry
	HugeSize   = 1 << 30 // bytes mapped by a large PDPT entry
	upperHalf  = entries / 2
	lowerLimit = 1 << 47
)

// Addr returns the physical address in a present entry.
func (e Entry) Addr() uint64 { return uint64(e & addrMask) }

// Lazy returns a non-present entry for what backs kernel address va, to be
// mapped with flags (Writable, NoExecute; User is implied).
func Lazy(va uintptr, flags Entry) Entry {
	return Entry(va)&0x0000fffffffff000 | lazy | flags&(Writable|NoExecute)
}

// IsLazy reports whether e is a lazy entry.
func (e Entry) IsLazy() bool { return e&(Present|lazy) == lazy }

// LazyAddr returns the kernel address of a lazy entry.
func (e Entry) LazyAddr() uintptr {
	return uintptr(e&0x0000fffffffff000) | 0xffff<<48
}

// LazyFlags returns the flags for the entry that replaces a lazy one.
func (e Entry) LazyFlags() Entry { return e&(Writable|NoExecute) | User | Present }

// Tables makes page tables out of page frames.
type Tables struct {
	frames *frame.Allocator
	direct uintptr // virtual address of physical address 0
	kernel frame.Addr
	count  uint64 // frames in use as page tables
	zero   func(page uintptr)
}

// Init sets t up. zero clears one page.
func (t *Tables) Init(frames *frame.Allocator, direct uintptr, zero func(uintptr)) {
	t.frames, t.direct, t.zero = frames, direct, zero
}

// Moved tells t that physical address 0 is now mapped at direct.
func (t *Tables) Moved(direct uintptr) { t.direct = direct }

// Count returns how many page frames hold page tables.
func (t *Tables) Count() uint64 { return t.count }

// NewKernel makes the kernel's root, with a second-level table for every
// upper-half slot listed. It reports whether there was memory.
func (t *Tables) NewKernel(slots []uintptr) (frame.Addr, bool) {
	root := t.newTable()
	if root == 0 {
		return 0, false
	}
	for _, va := range slots {
		e := t.slot(root, va, 3)
		if *e&Present != 0 {
			continue
		}
		f := t.newTable()
		if f == 0 {
			return 0, false
		}
		*e = Entry(f) | Present | Writable
	}
	t.kernel = root
	return root, true
}

// New makes a root with an empty lower half, or returns 0.
func (t *Tables) New() frame.Addr {
	root := t.newTable()
	if root == 0 {
		return 0
	}
	src, dst := t.table(t.kernel), t.table(root)
	for i := upperHalf; i < entries; i++ {
		dst[i] = src[i]
	}
	return root
}

// Free gives back a root made by New, with the tables of its lower half; the
// pages that they map are not its.
func (t *Tables) Free(root frame.Addr) {
	t.freeLevel(root, 3, upperHalf)
}

func (t *Tables) freeLevel(f frame.Addr, level, n int) {
	if level > 0 {
		tab := t.table(f)
		for i := range n {
			if e := tab[i]; e&Present != 0 && e&Large == 0 {
				t.freeLevel(frame.Addr(e.Addr()), level-1, entries)
			}
		}
	}
	t.freeTable(f)
}

// Lookup returns the entry that maps va, and how many bytes it maps: 4 KB,
// 2 MB or 1 GB. If a table on the way is missing, the entry is nil, and the size
// that of all which the table would map: nothing there is mapped.
func (t *Tables) Lookup(root frame.Addr, va uintptr) (*Entry, uintptr) {
	f := root
	for level := 3; ; level-- {
		e := t.slot(f, va, level)
		if level == 0 {
			return e, frame.Size
		}
		if *e&Present == 0 {
			return nil, 1 << (12 + 9*level)
		}
		if *e&Large != 0 {
			return e, 1 << (12 + 9*level)
		}
		f = frame.Addr(e.Addr())
	}
}

// Next returns where a walk goes on after va, of which Lookup said size: at the
// next entry, or at end if that comes first.
func Next(va, size, end uintptr) uintptr {
	if rest := size - va&(size-1); rest < end-va {
		return va + rest
	}
	return end
}

// Translate returns the physical address of va and whether it is mapped.
func (t *Tables) Translate(root frame.Addr, va uintptr) (uint64, bool) {
	e, size := t.Lookup(root, va)
	if e == nil || *e&Present == 0 {
		return 0, false
	}
	return e.Addr()&^uint64(size-1) | uint64(va&(size-1)), true
}

// Ensure returns the 4 KB entry for va, making the tables on the way. It
// returns nil if there is no memory, or a large page is in the way.
func (t *Tables) Ensure(root frame.Addr, va uintptr) *Entry { return t.ensure(root, va, 0) }

// EnsureRun is Ensure for va and the pages behind it, as many as have their
// entries in the same table. It returns none where Ensure returns nil.
func (t *Tables) EnsureRun(root frame.Addr, va uintptr) []Entry {
	e := t.ensure(root, va, 0)
	if e == nil {
		return nil
	}
	return unsafe.Slice(e, entries-va>>12&(entries-1))
}

// EnsureLarge is Ensure for the entry that maps 2 MB (level 1) or 1 GB
// (level 2).
func (t *Tables) EnsureLarge(root frame.Addr, va uintptr, level int) *Entry {
	return t.ensure(root, va, level)
}

func (t *Tables) ensure(root frame.Addr, va uintptr, to int) *Entry {
	f := root
	for level := 3; level > to; level-- {
		e := t.slot(f, va, level)
		if *e&Present == 0 {
			next := t.newTable()
			if next == 0 {
				return nil
			}
			flags := Present | Writable
			if va < lowerLimit {
				flags |= User
			}
			*e = Entry(next) | flags
		} else if *e&Large != 0 {
			return nil
		}
		f = frame.Addr(e.Addr())
	}
	return t.slot(f, va, to)
}

// Clear removes the 4 KB mappings of a lower-half range and returns whether
// any was present. Last-level tables that the range covers are given back.
//
// Ranges may be much longer than what is mapped in them: the Sentry unmaps all
// between two mappings for what was one page. So tables are looked through for
// what is there.
func (t *Tables) Clear(root frame.Addr, va, length uintptr) (present bool) {
	if length == 0 {
		return false
	}
	return t.clear(root, 3, va, va+length-1)
}

// clear is Clear for what one table of a level maps from va to last.
func (t *Tables) clear(f frame.Addr, level int, va, last uintptr) (present bool) {
	tab := t.table(f)
	shift := 12 + 9*uint(level)
	i, n := va>>shift&(entries-1), last>>shift&(entries-1)
	if level == 0 {
		for ; i <= n; i++ {
			present = present || tab[i]&Present != 0
			tab[i] = 0
		}
		return present
	}
	base := va &^ (1<<(shift+9) - 1)
	for ; i <= n; i++ {
		if tab[i] == 0 {
			continue
		}
		first := base + i<<shift
		from, to := max(va, first), min(last, first+1<<shift-1)
		next := frame.Addr(tab[i].Addr())
		if t.clear(next, level-1, from, to) {
			present = true
		}
		if level == 1 && to-from == 1<<shift-1 {
			tab[i] = 0
			t.freeTable(next)
			present = true // the paging-structure caches may hold the table
		}
	}
	return present
}

// Prune gives back the last-level tables of a range that map nothing, and returns
// whether there was any: the paging-structure caches may hold it.
func (t *Tables) Prune(root frame.Addr, va, length uintptr) (pruned bool) {
	for end := va + length; va < end; {
		pd, span := t.level1(root, va)
		if pd != nil && *pd&Present != 0 && *pd&Large == 0 {
			if pt := frame.Addr(pd.Addr()); t.empty(pt) {
				*pd = 0
				t.freeTable(pt)
				pruned = true
			}
		}
		va = Next(va, span, end)
	}
	return pruned
}

// empty reports whether a table has no entry.
func (t *Tables) empty(f frame.Addr) bool {
	tab := t.table(f)
	for i := range tab {
		if tab[i] != 0 {
			return false
		}
	}
	return true
}

// level1 returns the page directory entry for va, and how many bytes it maps.
// If there is none, the entry is nil, and the size that of the entry above
// that is missing.
func (t *Tables) level1(root frame.Addr, va uintptr) (*Entry, uintptr) {
	f := root
	for level := 3; level > 1; level-- {
		e := t.slot(f, va, level)
		if *e&Present == 0 {
			return nil, 1 << (12 + 9*level)
		}
		f = frame.Addr(e.Addr())
	}
	return t.slot(f, va, 1), LargeSize
}

func (t *Tables) newTable() frame.Addr {
	f := t.frames.Alloc(0)
	if f != 0 {
		t.zero(t.direct + uintptr(f))
		t.count++
	}
	return f
}

func (t *Tables) freeTable(f frame.Addr) {
	t.frames.Free(f, 0)
	t.count--
}

func (t *Tables) table(f frame.Addr) *[entries]Entry {
	p := t.direct + uintptr(f)
	return *(**[entries]Entry)(unsafe.Pointer(&p))
}

func (t *Tables) slot(f frame.Addr, va uintptr, level int) *Entry {
	return &t.table(f)[va>>(12+9*uint(level))&(entries-1)]
}
