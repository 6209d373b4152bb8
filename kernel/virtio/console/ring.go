package console

import (
	"fmt"

	"kiln/kernel/virtio"
)

// ring is a virtqueue with memory of its own: buffers of one size.
type ring struct {
	*virtio.Queue
	mem   []byte
	phys  virtio.PhysAddr
	size  int   // of a buffer
	index []int // of the buffer, by identity in the queue
	free  []int // buffers that neither the device nor a caller has
}

// open makes queue number index with so many buffers of size bytes.
func (r *ring) open(dev *virtio.Device, index, buffers, size int) error {
	q, err := dev.NewQueue(index, buffers, 1)
	if err != nil {
		return err
	}
	if q.Size() < buffers {
		return fmt.Errorf("virtio-console: queue %d has room for %d buffers, want %d", index, q.Size(), buffers)
	}
	r.Queue, r.size, r.index = q, size, make([]int, q.Size())
	if r.mem, r.phys, err = dev.Memory().Alloc(virtio.Pages(buffers * size)); err != nil {
		return fmt.Errorf("virtio-console: %w", err)
	}
	for i := range buffers {
		r.free = append(r.free, i)
	}
	return nil
}

// bytes returns buffer i.
func (r *ring) bytes(i int) []byte { return r.mem[i*r.size:][:r.size:r.size] }

// take returns a free buffer, of which there is one.
func (r *ring) take() int {
	i := r.free[0]
	r.free = r.free[1:]
	return i
}

// push gives the first n bytes of buffer i to the device, to write there or to
// read.
func (r *ring) push(i, n int, write bool) {
	// There are as many descriptors as buffers; only a broken queue refuses,
	// and pop says so.
	if id, ok := r.Push(virtio.Segment{Addr: r.phys + virtio.PhysAddr(i*r.size), Len: uint32(n), Write: write}); ok {
		r.index[id] = i
	}
}

// pop takes a buffer back from the device, with n bytes written.
func (r *ring) pop() (i, n int, ok bool, err error) {
	id, n, ok, err := r.Pop()
	if !ok || err != nil {
		return 0, 0, false, err
	}
	return r.index[id], n, true, nil
}
