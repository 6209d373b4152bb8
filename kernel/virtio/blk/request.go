package blk

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"kiln/kernel/virtio"
)

// Request types and status, virtio 1.2 §5.2.6.
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeDiscard     = 11
	typeWriteZeroes = 13

	statusOK          = 0
	statusUnsupported = 2    // any other is an I/O error
	statusNone        = 0xff // the device has written none
)

// A slot's memory: the header (type, reserved, sector), the range of a discard
// or write zeroes (sector, sectors, flags), the status byte.
const (
	headerSize = 16
	rangeOff   = 16
	rangeSize  = 16
	statusOff  = 32
	slotSize   = 64 // a cache line
)

// pollTime is how long a request's goroutine looks for its end before it
// sleeps. To stop an idle virtual CPU and wake it again takes longer than most
// requests that the host has in its page cache.
const pollTime = 100 * time.Microsecond

// slot is what one request needs beside its data. It belongs to a goroutine
// from take until submit, then to the device until reap.
type slot struct {
	mem    []byte
	phys   virtio.PhysAddr
	segs   []virtio.Segment
	frames []virtio.PhysAddr
	bounce []byte // for data that the device cannot reach; nil until needed
	at     virtio.PhysAddr
	data   []byte // where bounce goes when the device is done, or nil
}

// op is one call of a method: it may take several requests.
type op struct {
	left   int           // guarded by Device.mu: requests not done, plus 1 while it makes more
	err    error         // guarded by Device.mu: the first failure
	status byte          // guarded by Device.mu: of the request that failed
	done   chan struct{} // gets a token when left is 0
}

// request is what the device has.
type request struct {
	op   *op // nil: nothing
	slot *slot
}

func newOp() *op { return &op{left: 1, done: make(chan struct{}, 1)} }

// makeSlots allocates the slots' memory.
func (d *Device) makeSlots() error {
	mem, phys, err := d.dev.Memory().Alloc(virtio.Pages(requests * slotSize))
	if err != nil {
		return fmt.Errorf("virtio-blk: %w", err)
	}
	d.pages = mem
	for i := range d.slots {
		d.slots[i] = &slot{
			mem: mem[i*slotSize : (i+1)*slotSize], phys: phys + virtio.PhysAddr(i*slotSize),
			segs: make([]virtio.Segment, 0, d.segments+2), frames: make([]virtio.PhysAddr, d.segments),
		}
	}
	d.free = append(d.free, d.slots[:]...)
	return nil
}

// take waits for a free slot.
func (d *Device) take() (*slot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.free) == 0 && d.failed == nil {
		if d.arm(); len(d.free) == 0 {
			d.room.Wait()
		}
	}
	if d.failed != nil {
		return nil, d.failed
	}
	s := d.free[len(d.free)-1]
	d.free = d.free[:len(d.free)-1]
	return s, nil
}

// giveBack returns a slot that was not submitted.
func (d *Device) giveBack(s *slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = append(d.free, s)
	d.room.Signal()
}

// begin writes a request's header. Sectors are units of 512 bytes whatever the
// device's sector size is.
func (s *slot) begin(kind uint32, off int64) {
	binary.LittleEndian.PutUint32(s.mem, kind)
	binary.LittleEndian.PutUint32(s.mem[4:], 0)
	binary.LittleEndian.PutUint64(s.mem[8:], uint64(off)/unit)
	s.mem[statusOff] = statusNone
	s.segs = append(s.segs[:0], virtio.Segment{Addr: s.phys, Len: headerSize})
	s.data = nil
}

// submit gives the device the request in s, for o. The data is the device's
// until o is done.
func (d *Device) submit(o *op, s *slot) error {
	s.segs = append(s.segs, virtio.Segment{Addr: s.phys + statusOff, Len: 1, Write: true})
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.failed == nil {
		id, ok := d.queue.Push(s.segs...)
		if ok {
			d.flight[id] = request{o, s}
			o.left++
			d.queue.Kick()
			// The interrupt comes in any case. It costs little if the
			// end is seen before, and breaks a program off that the
			// poll has let run.
			d.arm()
			return nil
		}
		if d.queue.Err() != nil {
			d.fail(d.queue.Err())
			break
		}
		if d.arm(); d.queue.Free() < len(s.segs) {
			d.room.Wait()
		}
	}
	d.free = append(d.free, s)
	return d.failed
}

// reap takes back what the device is done with.
//
// Called with mu held.
func (d *Device) reap() {
	for {
		id, _, ok, err := d.queue.Pop()
		if err != nil {
			d.fail(err)
			return
		}
		if !ok {
			return
		}
		o, s := d.flight[id].op, d.flight[id].slot
		d.flight[id] = request{}
		if s.data != nil {
			copy(s.data, s.bounce)
			s.data = nil
		}
		status := s.mem[statusOff]
		if status != statusOK && o.err == nil {
			o.status = status
			o.err = fmt.Errorf("virtio-blk: request failed with status %d: %w", status, syscall.EIO)
		}
		d.free = append(d.free, s)
		d.room.Signal()
		o.finish()
	}
}

// arm takes back what the device is done with and asks for an interrupt for the
// rest. Whoever goes to sleep on a request calls it before.
//
// Called with mu held.
func (d *Device) arm() {
	for d.failed == nil {
		d.reap()
		if d.failed != nil || d.queue.InFlight() == 0 || d.queue.EnableInterrupt(0) {
			return
		}
	}
}

// finish counts off a request, or the making of requests.
//
// Called with Device.mu held.
func (o *op) finish() {
	if o.left--; o.left == 0 {
		o.done <- struct{}{}
	}
}

// fail puts the device out of order: nothing that it says from now on can be
// trusted. It is reset so that it leaves memory alone that callers get back.
//
// Called with mu held.
func (d *Device) fail(err error) {
	if d.failed != nil {
		return
	}
	d.failed = fmt.Errorf("%w: %w", err, syscall.EIO)
	if err != errClosed {
		if err := d.dev.SetStatus(0); err != nil {
			d.failed = fmt.Errorf("%w (reset: %v)", d.failed, err)
		}
	}
	for id, r := range d.flight {
		o := r.op
		if o == nil {
			continue
		}
		d.flight[id] = request{}
		if o.err == nil {
			o.err = d.failed
		}
		o.finish()
	}
	d.room.Broadcast()
}

// wait ends the making of requests for o and waits for all of them.
func (d *Device) wait(o *op, err error) error {
	d.mu.Lock()
	if err != nil && o.err == nil {
		o.err = err
	}
	o.finish()
	d.mu.Unlock()
	for begin := time.Now(); ; {
		d.mu.Lock()
		if d.failed == nil {
			d.reap()
		}
		sleep := time.Since(begin) > pollTime
		if sleep {
			d.arm()
		}
		left := o.left
		d.mu.Unlock()
		if left == 0 || sleep {
			break
		}
		runtime.Gosched()
	}
	<-o.done
	return o.err
}

// run takes back requests when the device interrupts.
func (d *Device) run() {
	for {
		err := d.dev.Wait()
		d.mu.Lock()
		if err != nil {
			d.fail(fmt.Errorf("virtio-blk: interrupt: %w", err))
		}
		if d.failed != nil {
			d.mu.Unlock()
			return
		}
		d.arm()
		d.mu.Unlock()
	}
}
