package net

import (
	"fmt"

	"kiln/kernel/virtio"
)

// receiveBufferSize holds a header and a frame of the usual MTU.
const receiveBufferSize = 2048 // bytes

// receiver has the receive queue and the buffers in it. It is used by one
// goroutine.
type receiver struct {
	queue     *virtio.Queue
	mem       []byte
	phys      virtio.PhysAddr
	size      int      // bytes of a buffer
	buffer    []uint16 // index of the buffer, by identity in the queue
	mergeable bool

	parts [][]byte // of the current frame, reused
	held  []uint16 // buffers of the current frame, reused
	head  Header
}

func newReceiver(dev *virtio.Device, mtu, buffers int) (*receiver, error) {
	if buffers <= 0 {
		buffers = defaultReceiveBuffers
	}
	q, err := dev.NewQueue(queueReceive, buffers, 1)
	if err != nil {
		return nil, err
	}
	r := &receiver{queue: q, size: receiveBufferSize, mergeable: dev.Has(FeatureMergeable)}
	if need := HeaderSize + etherHeader + mtu; need > r.size && !r.mergeable {
		r.size = (need + 63) &^ 63
	}
	n := q.Size()
	if r.mem, r.phys, err = dev.Memory().Alloc(virtio.Pages(n * r.size)); err != nil {
		return nil, fmt.Errorf("virtio-net: receive buffers: %w", err)
	}
	r.buffer = make([]uint16, n)
	r.parts = make([][]byte, 0, n)
	r.held = make([]uint16, 0, n)
	for i := range n {
		r.offer(uint16(i))
	}
	return r, nil
}

// offer gives buffer i to the device.
func (r *receiver) offer(i uint16) {
	id, ok := r.queue.Push(virtio.Segment{
		Addr: r.phys + virtio.PhysAddr(int(i)*r.size), Len: uint32(r.size), Write: true,
	})
	// There are as many descriptors as buffers; only a broken queue refuses.
	if ok {
		r.buffer[id] = i
	}
}

// receive delivers up to limit frames and returns how many there were.
func (r *receiver) receive(h Handler, limit int) (n int, err error) {
	for n < limit {
		ok, err := r.gather()
		if err != nil {
			return n, err
		}
		if !ok {
			break
		}
		n++
		size := -HeaderSize
		for _, p := range r.parts {
			size += len(p)
		}
		// What cannot be a frame is dropped, like a runt on a wire.
		r.parts[0] = r.parts[0][HeaderSize:]
		if size <= MaxFrame && len(r.parts[0]) >= etherHeader {
			h.Frame(&r.head, r.parts, size)
		}
		for _, i := range r.held {
			r.offer(i)
		}
	}
	// The device wants to hear of each refill, which is a trip to the
	// hypervisor; half the buffers are plenty for it to go on with.
	if r.queue.Unpublished() >= r.queue.Size()/2 {
		r.queue.Kick()
	}
	return n, nil
}

// gather takes one frame's buffers from the device into parts and held.
func (r *receiver) gather() (bool, error) {
	r.parts, r.held = r.parts[:0], r.held[:0]
	want := 1
	for len(r.held) < want {
		id, written, ok, err := r.queue.Pop()
		if err != nil {
			return false, err
		}
		if !ok {
			if len(r.held) == 0 {
				return false, nil
			}
			// The device makes all buffers of a frame visible at once
			// (virtio 1.2 §5.1.6.4).
			return false, fmt.Errorf("virtio-net: frame of %d buffers ends after %d: %w", want, len(r.held), virtio.ErrDevice)
		}
		i := r.buffer[id]
		off := int(i) * r.size
		part := r.mem[off : off+written : off+written] // Pop checked written
		if len(r.held) == 0 {
			if written < HeaderSize {
				return false, fmt.Errorf("virtio-net: %d bytes received, less than a header: %w", written, virtio.ErrDevice)
			}
			n := r.head.decode(part)
			if r.mergeable {
				want = n
			}
			if want < 1 || want > r.queue.Size() {
				return false, fmt.Errorf("virtio-net: frame of %d buffers of %d: %w", want, r.queue.Size(), virtio.ErrDevice)
			}
		}
		r.held = append(r.held, i)
		r.parts = append(r.parts, part)
	}
	return true, nil
}
