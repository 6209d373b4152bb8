package virtio

import "unsafe"

// place lays the queue's parts over its memory, which is zeroed, page aligned
// and not the Go heap's.
func (q *Queue) place(availOff, usedOff int) {
	n := int(q.size)
	q.desc = unsafe.Slice((*descriptor)(unsafe.Pointer(&q.mem[0])), n)
	q.avail = q.word(availOff)
	q.ring = unsafe.Slice((*uint16)(unsafe.Pointer(&q.mem[availOff+4])), n)
	q.usedEvent = q.word(availOff + 4 + 2*n)
	q.used = q.word(usedOff)
	q.usedRing = unsafe.Slice((*usedElem)(unsafe.Pointer(&q.mem[usedOff+4])), n)
	q.availEvent = q.word(usedOff + 4 + 8*n)
}

// placeTables lays an indirect table for each head over the memory at off.
func (q *Queue) placeTables(off, segments int) {
	q.indirect = make([][]descriptor, q.size)
	for i := range q.indirect {
		p := (*descriptor)(unsafe.Pointer(&q.mem[off+i*segments*descSize]))
		q.indirect[i] = unsafe.Slice(p, segments)
	}
}

// word returns the aligned 32-bit word at off. With sizes that are powers of
// two from 2 up, the event fields are aligned too.
func (q *Queue) word(off int) *uint32 {
	b := q.mem[off : off+4 : off+4]
	return (*uint32)(unsafe.Pointer(&b[0]))
}
