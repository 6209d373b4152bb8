// Package frame is the physical page allocator: a buddy system over page
// frames, with statistics.
//
// A free block of 2^n frames is linked into the list of its order through its
// own first frame, so that memory nobody uses costs one byte a frame.
//
// Memory that was never handed out is fresh: it is in no list and not written
// to, and given out in rising order, a large page's worth at a time. The
// hypervisor thus provides memory only as the guest comes to need it.
//
// Context: trap context. Nothing here allocates or blocks; the caller holds
// metal's lock.
package frame

import "unsafe"

const (
	// Size is the size of a page frame in bytes; Shift its logarithm.
	Size  = 1 << Shift
	Shift = 12

	// MaxOrder is the order of the largest block: 2^10 frames, 4 MB.
	MaxOrder = 10

	// freshOrder is the order in which fresh memory is taken: 2 MB, what the
	// hypervisor is likely to provide at once.
	freshOrder = 9
	// maxFresh bounds how many ranges of fresh memory are known.
	maxFresh = 64
)

// Addr is the physical address of a page frame. 0 is never allocated and
// stands for none.
type Addr uint64

// Frame states, one byte each in Allocator.state.
const (
	stateUsed     = 0x00 // allocated, or inside a free block
	stateFreeHead = 0x80 // | order: the first frame of a free block
	stateFresh    = 0xfe // free, and in no block yet
	stateNone     = 0xff // not the allocator's
)

// Stats counts page frames.
type Stats struct {
	Total uint64 // managed
	Free  uint64
	Peak  uint64 // the most that were in use at once
}

// Allocator hands out page frames. The zero value must be given to Init.
type Allocator struct {
	direct uintptr // virtual address of physical address 0
	state  []uint8 // by page frame number
	heads  [MaxOrder + 1]Addr
	fresh  [maxFresh]span
	freshN int // of fresh, in use
	stats  Stats
}

// span is memory from start to end.
type span struct{ start, end uint64 }

// link lies in the first frame of a free block.
type link struct {
	next, prev Addr // 0 ends the list
}

// Init sets up an allocator without memory. direct is the virtual address at
// which physical address 0 is (or would be) mapped. state needs one byte for
// each page frame below the end of memory and belongs to the allocator.
func (a *Allocator) Init(direct uintptr, state []uint8) {
	a.direct = direct
	a.state = state
	fill(state, stateNone)
}

// fill sets all of p, eight bytes at a time: there are 256 of them for each MB
// of memory.
func fill(p []uint8, v uint8) {
	for ; len(p) >= 8; p = p[8:] {
		*(*uint64)(unsafe.Pointer(unsafe.SliceData(p))) = uint64(v) * 0x0101010101010101
	}
	for i := range p {
		p[i] = v
	}
}

// Add gives the allocator the memory from start to end, which lies within
// what state covers and was not added before. Partial frames are left out.
func (a *Allocator) Add(start, end uint64) {
	start = (start + Size - 1) &^ (Size - 1)
	end &^= Size - 1
	if start == 0 {
		start = Size
	}
	if start >= end {
		return
	}
	fill(a.state[start>>Shift:end>>Shift], stateFresh)
	a.stats.Total += (end - start) >> Shift
	a.stats.Free += (end - start) >> Shift
	if a.freshN < maxFresh {
		a.fresh[a.freshN] = span{start, end}
		a.freshN++
		return
	}
	for s := (span{start, end}); s.start < s.end; {
		a.take(&s, MaxOrder)
	}
}

// take makes a free block of the start of s, of at most 2^limit frames.
func (a *Allocator) take(s *span, limit uint) {
	f, order := s.start, s.order(limit)
	s.start += Size << order
	for i := range uint64(1) << order {
		a.state[f>>Shift+i] = stateUsed
	}
	a.insert(Addr(f), order)
}

// order is the order of the largest block at the start of s, at most limit.
func (s span) order(limit uint) uint {
	order := uint(0)
	for order < limit && s.start&(Size<<order) == 0 && s.start+Size<<(order+1) <= s.end {
		order++
	}
	return order
}

// takeFresh makes a free block of fresh memory, of 2^order frames if it can,
// and reports whether there was any.
func (a *Allocator) takeFresh(order uint) bool {
	for i := range a.freshN {
		if s := &a.fresh[i]; s.start < s.end {
			a.take(s, max(order, freshOrder))
			return true
		}
	}
	return false
}

// Stats returns the counts.
func (a *Allocator) Stats() Stats { return a.stats }

// FreeCounter returns where the number of free frames is kept.
func (a *Allocator) FreeCounter() *uint64 { return &a.stats.Free }

// FreeFrames returns how many frames are free.
func (a *Allocator) FreeFrames() uint64 { return a.stats.Free }

// Alloc returns a block of 2^order frames, aligned to its size, with
// undefined contents, or 0 if there is none.
func (a *Allocator) Alloc(order uint) Addr {
	o := a.smallest(order)
	for o > MaxOrder {
		if order > MaxOrder || !a.takeFresh(order) {
			return 0
		}
		o = a.smallest(order)
	}
	f := a.heads[o]
	a.unlink(f, o)
	a.state[f>>Shift] = stateUsed
	for o > order { // give back the upper halves
		o--
		a.push(f+Size<<o, o)
	}
	a.stats.Free -= 1 << order
	if used := a.stats.Total - a.stats.Free; used > a.stats.Peak {
		a.stats.Peak = used
	}
	return f
}

// smallest returns the lowest order, from order up, that has a free block, or
// more than MaxOrder.
func (a *Allocator) smallest(order uint) uint {
	for order <= MaxOrder && a.heads[order] == 0 {
		order++
	}
	return order
}

// Free gives back a block of 2^order frames. It reports false, and does
// nothing, if f is not an allocated frame of this allocator.
func (a *Allocator) Free(f Addr, order uint) bool {
	pfn := uint64(f) >> Shift
	if f == 0 || pfn >= uint64(len(a.state)) || a.state[pfn] != stateUsed {
		return false
	}
	a.stats.Free += 1 << order
	a.insert(f, order)
	return true
}

// insert puts a block into the list of its order, or what it and its free
// neighbours make into the list of that.
func (a *Allocator) insert(f Addr, order uint) {
	for order < MaxOrder {
		buddy := f ^ Size<<order
		bpfn := uint64(buddy) >> Shift
		if bpfn >= uint64(len(a.state)) || a.state[bpfn] != stateFreeHead|uint8(order) {
			break
		}
		a.unlink(buddy, order)
		a.state[bpfn] = stateUsed
		f &^= Size << order
		order++
	}
	a.push(f, order)
}

// Managed reports whether f is a frame that Add was given.
func (a *Allocator) Managed(f Addr) bool {
	pfn := uint64(f) >> Shift
	return pfn < uint64(len(a.state)) && a.state[pfn] != stateNone
}

// FreeBlocks returns how many free blocks of an order there are. Fresh memory
// counts as the largest blocks that it can make.
func (a *Allocator) FreeBlocks(order uint) int {
	n := 0
	for _, s := range a.fresh[:a.freshN] {
		for s.start < s.end {
			o := s.order(MaxOrder)
			if o == order {
				n++
			}
			s.start += Size << o
		}
	}
	for f := a.heads[order]; f != 0; f = a.link(f).next {
		n++
	}
	return n
}

func (a *Allocator) link(f Addr) *link {
	p := a.direct + uintptr(f)
	return *(**link)(unsafe.Pointer(&p))
}

func (a *Allocator) push(f Addr, order uint) {
	head := a.heads[order]
	*a.link(f) = link{next: head}
	if head != 0 {
		a.link(head).prev = f
	}
	a.heads[order] = f
	a.state[f>>Shift] = stateFreeHead | uint8(order)
}

func (a *Allocator) unlink(f Addr, order uint) {
	l := a.link(f)
	if l.prev != 0 {
		a.link(l.prev).next = l.next
	} else {
		a.heads[order] = l.next
	}
	if l.next != 0 {
		a.link(l.next).prev = l.prev
	}
}

// Moved tells the allocator that physical address 0 is now mapped at direct,
// and the frame states at state.
func (a *Allocator) Moved(direct uintptr, state []uint8) { a.direct, a.state = direct, state }
