package net

import (
	"fmt"
	"sync"
	"sync/atomic"

	"kiln/kernel/virtio"
)

// Transmitter sends frames. Its methods need its lock.
//
// Frames lie one after another in a circular buffer, each contiguous and so in
// one descriptor. Room is taken back when it runs short, without interrupts.
//
//	mem:  [ ...free... | tail: oldest in flight ... newest | head: ...free... ]
type Transmitter struct {
	sync.Mutex

	queue *virtio.Queue
	mem   []byte
	phys  virtio.PhysAddr

	// Positions count bytes since the start, modulo len(mem) they are
	// offsets. Bytes skipped at the end of mem belong to the frame behind.
	head, tail uint64

	// Frames in flight in the order of sending; seq counts frames.
	frames   []flight // by seq modulo len(frames)
	seqOf    []uint64 // by identity in the queue
	sent     uint64   // seq of the next frame
	reaped   uint64   // seq of the oldest frame in flight
	reserved int      // position of the reserved frame in mem
	size     int      // its bytes, header included; 0: none
	next     uint64   // head once it is committed

	waiting atomic.Bool // WantRoom was called, roomAgain not yet true
	err     error       // sticks when the device broke the protocol
}

type flight struct {
	end  uint64 // position behind the frame
	done bool   // the device is done with it, but not with an older one
}

// frameAlign keeps frames from sharing cache lines.
const frameAlign = 64 // bytes

func newTransmitter(dev *virtio.Device, size int) (*Transmitter, error) {
	if size <= 0 {
		size = defaultTransmitBytes
	}
	// With room for two of the largest, one always fits once all is quiet.
	size = max(size, 2*(HeaderSize+MaxFrame+frameAlign))
	q, err := dev.NewQueue(queueTransmit, transmitQueueSize, 1)
	if err != nil {
		return nil, err
	}
	t := &Transmitter{queue: q, frames: make([]flight, q.Size()), seqOf: make([]uint64, q.Size())}
	if t.mem, t.phys, err = dev.Memory().Alloc(virtio.Pages(size)); err != nil {
		return nil, fmt.Errorf("virtio-net: transmit buffer: %w", err)
	}
	q.DisableInterrupt()
	return t, nil
}

// Reserve returns room for a frame of n bytes, to be filled and committed. It
// returns nil if there is none: see WantRoom. A reservation that is not
// committed is replaced by the next.
func (t *Transmitter) Reserve(n int) []byte {
	if n <= 0 || n > MaxFrame || t.err != nil {
		return nil
	}
	if !t.fits(n) && (!t.reap() || !t.fits(n)) {
		return nil
	}
	off := t.reserved
	return t.mem[off+HeaderSize : off+t.size : off+t.size]
}

// fits looks for room for a frame of n bytes and notes it.
func (t *Transmitter) fits(n int) bool {
	// A device may finish frames out of order: descriptors can be free while
	// the oldest frame is still in flight.
	if t.queue.Free() == 0 || t.sent-t.reaped == uint64(len(t.frames)) {
		return false
	}
	size := HeaderSize + n
	start := t.head
	if off := start % uint64(len(t.mem)); off+uint64(size) > uint64(len(t.mem)) {
		start += uint64(len(t.mem)) - off
	}
	next := (start + uint64(size) + frameAlign - 1) &^ (frameAlign - 1)
	if next-t.tail > uint64(len(t.mem)) {
		return false
	}
	t.reserved, t.size, t.next = int(start%uint64(len(t.mem))), size, next
	return true
}

// Commit sends the reserved frame. The device sees it after Kick.
func (t *Transmitter) Commit(h *Header) {
	if t.size == 0 || t.err != nil {
		return
	}
	h.encode(t.mem[t.reserved:])
	id, ok := t.queue.Push(virtio.Segment{Addr: t.phys + virtio.PhysAddr(t.reserved), Len: uint32(t.size)})
	t.size = 0
	if !ok {
		t.err = t.queue.Err() // fits saw a free descriptor
		return
	}
	t.frames[t.sent%uint64(len(t.frames))] = flight{end: t.next}
	t.seqOf[id] = t.sent
	t.sent++
	t.head = t.next
}

// Kick lets the device see what was committed, and notifies it if it sleeps.
func (t *Transmitter) Kick() { t.queue.Kick() }

// Unpublished returns how many frames were committed since the last Kick.
func (t *Transmitter) Unpublished() int { return t.queue.Unpublished() }

// reap takes back the room of frames that were sent, and tells whether there
// were any.
func (t *Transmitter) reap() bool {
	before := t.tail
	for {
		id, _, ok, err := t.queue.Pop()
		if err != nil {
			t.err = err
			return false
		}
		if !ok {
			break
		}
		t.frames[t.seqOf[id]%uint64(len(t.frames))].done = true
	}
	for t.reaped != t.sent {
		f := &t.frames[t.reaped%uint64(len(t.frames))]
		if !f.done {
			break
		}
		t.tail = f.end
		t.reaped++
	}
	return t.tail != before
}

// WantRoom asks for Handler.Writable once half of what is in flight has been
// sent. It returns false if there is room already, or will never be.
func (t *Transmitter) WantRoom() bool {
	if t.err != nil {
		return false
	}
	t.Kick() // what the device has not seen, it does not send
	t.waiting.Store(true)
	if t.queue.EnableInterrupt(t.queue.InFlight() / 2) {
		return true
	}
	t.waiting.Store(false)
	return false
}

// roomAgain tells, once, that what WantRoom asked for has come.
func (t *Transmitter) roomAgain() bool {
	if !t.waiting.Load() {
		return false
	}
	t.Lock()
	defer t.Unlock()
	if !t.reap() && t.err == nil {
		return false
	}
	t.waiting.Store(false)
	t.queue.DisableInterrupt()
	return true
}

// Err returns why nothing can be sent any more, or nil.
func (t *Transmitter) Err() error { return t.err }
