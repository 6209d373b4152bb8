package virtio

import (
	"fmt"
	"sync/atomic"

	"kiln/kernel/machine"
)

// Layout of a split virtqueue, virtio 1.2 §2.7. The three parts lie in one
// allocation:
//
//	descriptor table  16 bytes each
//	available ring    flags, idx, ring[size], used_event     driver writes
//	used ring         flags, idx, ring[size], avail_event    device writes
//
// flags and idx of a ring are 16 bits each and share an aligned 32-bit word,
// which is what the atomics below access; likewise each event field and the
// unused half word after it.
const (
	descSize     = 16 // bytes
	availAlign   = 4  // the specification asks for 2
	usedAlign    = 64 // it asks for 4; a cache line of its own
	maxQueueSize = 32768
)

// Descriptor flags, virtio 1.2 §2.7.5.
const (
	descNext     = 1 << 0 // chain continues at next
	descWrite    = 1 << 1 // the device writes
	descIndirect = 1 << 2 // addr is a table of descriptors
)

// Ring flags, virtio 1.2 §2.7.6 and §2.7.8, without FeatureEventIdx.
const (
	availNoInterrupt = 1 << 0
	usedNoNotify     = 1 << 0
)

// descriptor is an entry of the descriptor table.
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// usedElem is an entry of the used ring.
type usedElem struct {
	id  uint32 // head of the chain
	len uint32 // bytes that the device wrote
}

// Segment is one contiguous part of a buffer.
type Segment struct {
	Addr  PhysAddr
	Len   uint32 // bytes
	Write bool   // the device writes; such segments come after all others
}

// chain is what the driver keeps of a buffer that the device has. The device
// can write to the descriptor table, so nothing is read back from there.
type chain struct {
	used     uint16 // descriptors; 0: the device does not have it
	writable uint32 // bytes
}

// Queue is a split virtqueue with any number of buffers in flight.
//
// A buffer goes through Push (descriptors filled), Kick (visible to the
// device), and Pop (back from the device). It belongs to the device from Kick
// until Pop returns it.
type Queue struct {
	t     Transport
	index int
	mem   []byte
	size  uint16 // a power of two

	desc       []descriptor
	avail      *uint32  // flags 15:0, idx 31:16; written by the driver
	ring       []uint16 // available ring
	usedEvent  *uint32  // written by the driver
	used       *uint32  // flags 15:0, idx 31:16; written by the device
	usedRing   []usedElem
	availEvent *uint32 // written by the device

	eventIdx bool
	indirect [][]descriptor // table of each head, if any
	tables   PhysAddr

	chains []chain
	next   []uint16 // free list and chains, by descriptor
	free   uint16   // first free descriptor
	nfree  uint16

	pushed   uint16 // idx of the next available entry
	kicked   uint16 // idx when the device was last told
	popped   uint16 // idx of the next used entry
	flags    uint16 // of the available ring
	inflight uint16 // chains that the device has
	err      error  // sticks once the device broke the protocol
}

// NewQueue makes queue index with at most maxSize buffers. If segments is
// above 1 and the device agreed to indirect descriptors, buffers of up to that
// many segments take one descriptor.
func (d *Device) NewQueue(index, maxSize, segments int) (*Queue, error) {
	size, err := queueSize(d.QueueMax(index), maxSize)
	if err != nil {
		return nil, fmt.Errorf("%v: queue %d: %w", d.DeviceID(), index, err)
	}
	availOff := align(size*descSize, availAlign)
	usedOff := align(availOff+4+2*size+4, usedAlign)
	tableOff := align(usedOff+4+8*size+4, descSize)
	end := tableOff
	if segments > 1 && d.Has(FeatureIndirect) {
		end += size * segments * descSize
	}
	mem, phys, err := d.mem.Alloc(Pages(end))
	if err != nil {
		return nil, fmt.Errorf("%v: queue %d: %w", d.DeviceID(), index, err)
	}
	q := &Queue{
		t: d.Transport, index: index, mem: mem, size: uint16(size),
		eventIdx: d.Has(FeatureEventIdx),
		chains:   make([]chain, size), next: make([]uint16, size), nfree: uint16(size),
	}
	q.place(availOff, usedOff)
	if end > tableOff {
		q.placeTables(tableOff, segments)
		q.tables = phys + PhysAddr(tableOff)
	}
	for i := range q.next {
		q.next[i] = uint16(i + 1)
	}
	if err := d.EnableQueue(index, size, phys, phys+PhysAddr(availOff), phys+PhysAddr(usedOff)); err != nil {
		// The device has not been started: it does not touch the memory.
		return nil, fmt.Errorf("%v: queue %d: %w (and %v)", d.DeviceID(), index, err, d.mem.Free(mem))
	}
	d.queues = append(d.queues, q)
	return q, nil
}

// queueSize returns the largest power of two that suits both sides.
func queueSize(deviceMax, driverMax int) (int, error) {
	n := min(deviceMax, driverMax, maxQueueSize)
	if n < 2 {
		return 0, fmt.Errorf("size %d is less than 2", n)
	}
	for n&(n-1) != 0 {
		n &= n - 1
	}
	return n, nil
}

func align(n, to int) int { return (n + to - 1) &^ (to - 1) }

// Size returns how many descriptors the queue has.
func (q *Queue) Size() int { return int(q.size) }

// Free returns how many more descriptors can be pushed.
func (q *Queue) Free() int { return int(q.nfree) }

// InFlight returns how many buffers the device has.
func (q *Queue) InFlight() int { return int(q.inflight) }

// Err returns why the queue is out of order, or nil.
func (q *Queue) Err() error { return q.err }

// Push offers a buffer to the device and returns its identity, which is below
// Size and unique among buffers in flight. The device sees it after Kick. It
// returns false if there are not enough descriptors.
func (q *Queue) Push(segs ...Segment) (id int, ok bool) {
	if len(segs) == 0 || q.err != nil {
		return 0, false
	}
	var writable uint32
	for _, s := range segs {
		if s.Write {
			writable += s.Len
		}
	}
	head := q.free
	n := uint16(1)
	if len(segs) > 1 && q.indirect != nil && len(segs) <= len(q.indirect[0]) {
		if q.nfree < 1 {
			return 0, false
		}
		q.fillIndirect(head, segs)
		q.free = q.next[head]
	} else {
		if len(segs) > int(q.nfree) {
			return 0, false
		}
		n = uint16(len(segs))
		q.free = q.fill(head, segs)
	}
	q.nfree -= n
	q.inflight++
	q.chains[head] = chain{used: n, writable: writable}
	q.ring[q.pushed&(q.size-1)] = head
	q.pushed++
	return int(head), true
}

// fill writes a chain of descriptors from head and returns the descriptor that
// follows it in the free list.
func (q *Queue) fill(head uint16, segs []Segment) uint16 {
	i := head
	for n, s := range segs {
		d := descriptor{addr: uint64(s.Addr), len: s.Len, flags: segFlags(s)}
		if n < len(segs)-1 {
			d.flags |= descNext
			d.next = q.next[i]
		}
		q.desc[i] = d
		i = q.next[i]
	}
	return i
}

// fillIndirect writes head's table of descriptors, virtio 1.2 §2.7.5.3.
func (q *Queue) fillIndirect(head uint16, segs []Segment) {
	table := q.indirect[head]
	for n, s := range segs {
		d := descriptor{addr: uint64(s.Addr), len: s.Len, flags: segFlags(s)}
		if n < len(segs)-1 {
			d.flags |= descNext
			d.next = uint16(n + 1)
		}
		table[n] = d
	}
	at := q.tables + PhysAddr(int(head)*len(table)*descSize)
	q.desc[head] = descriptor{addr: uint64(at), len: uint32(len(segs) * descSize), flags: descIndirect}
}

func segFlags(s Segment) uint16 {
	if s.Write {
		return descWrite
	}
	return 0
}

// Kick makes all pushed buffers visible to the device and notifies it if it
// wants to know.
func (q *Queue) Kick() {
	if q.pushed == q.kicked || q.err != nil {
		return
	}
	// Publish last: the device may read descriptors and ring entries once
	// idx covers them (virtio 1.2 §2.7.13.2). The fence keeps the load of
	// the device's wish behind the store (§2.7.13.4): else both sides could
	// miss each other, the device going to sleep while we believe it awake.
	atomic.StoreUint32(q.avail, uint32(q.flags)|uint32(q.pushed)<<16)
	machine.Fence()
	old := q.kicked
	q.kicked = q.pushed
	if q.wanted(old) {
		q.t.Notify(q.index)
	}
}

// Unpublished returns how many buffers were pushed since the last Kick.
func (q *Queue) Unpublished() int { return int(q.pushed - q.kicked) }

// wanted tells whether the device wants to hear of the entries since old.
func (q *Queue) wanted(old uint16) bool {
	if !q.eventIdx {
		return atomic.LoadUint32(q.used)&usedNoNotify == 0
	}
	event := uint16(atomic.LoadUint32(q.availEvent))
	// Did idx step over event? Modulo 2^16, virtio 1.2 §2.7.10.
	return q.pushed-event-1 < q.pushed-old
}

// Pending tells whether Pop has something to say.
func (q *Queue) Pending() bool {
	return q.err == nil && uint16(atomic.LoadUint32(q.used)>>16) != q.popped
}

// Pop takes back a buffer that the device is done with: its identity and how
// many bytes the device wrote. ok is false if there is none.
func (q *Queue) Pop() (id int, written int, ok bool, err error) {
	if q.err != nil {
		return 0, 0, false, q.err
	}
	// The load orders the reads of the ring and of the buffer behind it.
	idx := uint16(atomic.LoadUint32(q.used) >> 16)
	if idx == q.popped {
		return 0, 0, false, nil
	}
	if n := idx - q.popped; n > q.inflight {
		return q.broken("used index %#x is %d past %#x with %d buffers in flight", idx, n, q.popped, q.inflight)
	}
	e := q.usedRing[q.popped&(q.size-1)] // a copy: the device could change it
	if e.id >= uint32(q.size) || q.chains[e.id].used == 0 {
		return q.broken("used entry %#x names buffer %d, which is not in flight", q.popped, e.id)
	}
	c := q.chains[e.id]
	// Some devices give a length for buffers that they only read. It means
	// nothing.
	if c.writable == 0 {
		e.len = 0
	}
	if e.len > c.writable {
		return q.broken("buffer %d has %d bytes written of %d", e.id, e.len, c.writable)
	}
	q.popped++
	q.release(uint16(e.id), c.used)
	return int(e.id), int(e.len), true, nil
}

// release puts a chain's descriptors back on the free list.
func (q *Queue) release(head, n uint16) {
	q.chains[head] = chain{}
	last := head
	for range n - 1 {
		last = q.next[last]
	}
	q.next[last] = q.free
	q.free = head
	q.nfree += n
	q.inflight--
}

func (q *Queue) broken(format string, args ...any) (int, int, bool, error) {
	q.err = fmt.Errorf("%v: queue %d: %s: %w", q.t.DeviceID(), q.index, fmt.Sprintf(format, args...), ErrDevice)
	return 0, 0, false, q.err
}

// EnableInterrupt asks for an interrupt once the device has used after more
// buffers than it has now. It returns false if it already has: then there may
// be no interrupt, and the caller looks again.
func (q *Queue) EnableInterrupt(after int) bool {
	want := q.popped + uint16(after)
	if q.eventIdx {
		atomic.StoreUint32(q.usedEvent, uint32(want))
	} else {
		q.flags &^= availNoInterrupt
		atomic.StoreUint32(q.avail, uint32(q.flags)|uint32(q.kicked)<<16)
	}
	// The load of idx must come after the store (virtio 1.2 §2.7.14).
	machine.Fence()
	idx := uint16(atomic.LoadUint32(q.used) >> 16)
	return idx-q.popped <= uint16(after)
}

// DisableInterrupt asks for no more interrupts. The device may still send one.
func (q *Queue) DisableInterrupt() {
	if q.eventIdx {
		// An index that has been passed is not reached for another 2^16
		// buffers. EnableInterrupt left it at one that is, or will be.
		return
	}
	if q.flags&availNoInterrupt == 0 {
		q.flags |= availNoInterrupt
		atomic.StoreUint32(q.avail, uint32(q.flags)|uint32(q.kicked)<<16)
	}
}
