// Package frame is the physical page allocator: a buddy system over page
// frames, with statistics.
//
// A free block of 2^n frames is linked into the list of its order through its
// own first frame, so that memory nobody uses costs one byte a frame.
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
)

// Addr is the physical address of a page frame. 0 is never allocated and
// stands for none.
type Addr uint64

// Frame states, one byte each in Allocator.state.
const (
	stateUsed     = 0x00 // allocated, or inside a free block
	stateFreeHead = 0x80 // | order: the first frame of a free block
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
	stats  Stats
}

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
	for i := range state {
		state[i] = stateNone
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
	for f := start; f < end; f += Size {
		a.state[f>>Shift] = stateUsed
		a.stats.Total++
	}
	for start < end {
		order := uint(0)
		for order < MaxOrder && start&(Size<<order) == 0 && start+Size<<(order+1) <= end {
			order++
		}
		a.Free(Addr(start), order)
		start += Size << order
	}
	a.stats.Peak = 0
}

// Stats returns the counts.
func (a *Allocator) Stats() Stats { return a.stats }

// FreeFrames returns how many frames are free.
func (a *Allocator) FreeFrames() uint64 { return a.stats.Free }

// Alloc returns a block of 2^order frames, aligned to its size, with
// undefined contents, or 0 if there is none.
func (a *Allocator) Alloc(order uint) Addr {
	o := order
	for o <= MaxOrder && a.heads[o] == 0 {
		o++
	}
	if o > MaxOrder {
		return 0
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

// Free gives back a block of 2^order frames. It reports false, and does
// nothing, if f is not an allocated frame of this allocator.
func (a *Allocator) Free(f Addr, order uint) bool {
	pfn := uint64(f) >> Shift
	if f == 0 || pfn >= uint64(len(a.state)) || a.state[pfn] != stateUsed {
		return false
	}
	a.stats.Free += 1 << order
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
	return true
}

// Managed reports whether f is a frame that Add was given.
func (a *Allocator) Managed(f Addr) bool {
	pfn := uint64(f) >> Shift
	return pfn < uint64(len(a.state)) && a.state[pfn] != stateNone
}

// FreeBlocks returns how many free blocks of an order there are.
func (a *Allocator) FreeBlocks(order uint) int {
	n := 0
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
