package blk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"kiln/kernel/machine"
	"kiln/kernel/virtio"
)

// ReadAt implements block.Device.
func (d *Device) ReadAt(p []byte, off int64) error {
	if err := d.check("read", off, int64(len(p))); err != nil {
		return err
	}
	return d.transfer(typeIn, p, off)
}

// WriteAt implements block.Device.
func (d *Device) WriteAt(p []byte, off int64) error {
	if err := d.checkWrite("write", off, int64(len(p))); err != nil {
		return err
	}
	return d.transfer(typeOut, p, off)
}

// transfer moves data in as many requests as it takes, all at once.
func (d *Device) transfer(kind uint32, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	o := newOp()
	var err error
	for len(p) > 0 && err == nil {
		var n int
		n, err = d.move(o, kind, p, off)
		p, off = p[n:], off+int64(n)
	}
	return d.wait(o, err)
}

// move submits one request for the start of p and returns how long that is.
func (d *Device) move(o *op, kind uint32, p []byte, off int64) (int, error) {
	s, err := d.take()
	if err != nil {
		return 0, err
	}
	s.begin(kind, off)
	n, err := d.attach(s, p, kind == typeIn)
	if err == nil && n == 0 {
		err = fmt.Errorf("virtio-blk: no room for a sector in a request: %w", virtio.ErrDevice)
	}
	if err != nil {
		d.giveBack(s)
		return 0, err
	}
	return n, d.submit(o, s)
}

// attach adds the start of p to a request and returns how long that is: whole
// sectors.
func (d *Device) attach(s *slot, p []byte, write bool) (int, error) {
	m, ok := d.dev.Memory().(virtio.Mapper)
	// A sector may take several segments. A device that has too few of them
	// gets a buffer in one piece.
	if !ok || d.segments < 2+d.sector/min(d.segment, machine.PageSize) {
		return d.attachBounce(s, p, write)
	}
	limit := len(p)
	if pages := (pageOffset(p) + limit + machine.PageSize - 1) / machine.PageSize; pages > d.segments {
		limit = d.segments*machine.PageSize - pageOffset(p)
	}
	limit = min(limit, requestBytes)
	limit -= limit % d.sector
	pages := (pageOffset(p) + limit + machine.PageSize - 1) / machine.PageSize
	if err := m.Phys(p[:limit], s.frames[:pages]); err != nil {
		return 0, fmt.Errorf("virtio-blk: buffer: %w", err)
	}
	n := d.attachFrames(s, limit, pageOffset(p), s.frames[:pages], write)
	return n, nil
}

// attachFrames adds the first bytes in frames, from offset on, as long as there
// are segments.
func (d *Device) attachFrames(s *slot, length, offset int, frames []virtio.PhysAddr, write bool) int {
	first := len(s.segs)
	for n := 0; n < length; {
		f := frames[0] + virtio.PhysAddr(offset)
		last := &s.segs[len(s.segs)-1]
		size := min(machine.PageSize-offset, length-n)
		if len(s.segs) > first && last.Addr+virtio.PhysAddr(last.Len) == f && int(last.Len) < d.segment {
			size = min(size, d.segment-int(last.Len))
			last.Len += uint32(size)
		} else {
			if len(s.segs)-first == d.segments {
				return d.trim(s, n)
			}
			size = min(size, d.segment)
			s.segs = append(s.segs, virtio.Segment{Addr: f, Len: uint32(size), Write: write})
		}
		n += size
		if offset += size; offset == machine.PageSize {
			frames, offset = frames[1:], 0
		}
	}
	return length
}

// trim cuts a request of n bytes to whole sectors.
func (d *Device) trim(s *slot, n int) int {
	for excess := n % d.sector; excess > 0; {
		last := &s.segs[len(s.segs)-1]
		cut := min(excess, int(last.Len))
		if last.Len -= uint32(cut); last.Len == 0 {
			s.segs = s.segs[:len(s.segs)-1]
		}
		excess -= cut
		n -= cut
	}
	return n
}

// bouncePages is the size of a slot's own buffer.
const bouncePages = 16

// attachBounce adds the start of p by way of the slot's buffer.
func (d *Device) attachBounce(s *slot, p []byte, write bool) (int, error) {
	if s.bounce == nil {
		var err error
		if s.bounce, s.at, err = d.dev.Memory().Alloc(bouncePages); err != nil {
			return 0, fmt.Errorf("virtio-blk: buffer: %w", err)
		}
	}
	n := min(len(p), len(s.bounce), d.segment)
	n -= n % d.sector
	s.segs = append(s.segs, virtio.Segment{Addr: s.at, Len: uint32(n), Write: write})
	if write {
		s.data = p[:n]
	} else {
		copy(s.bounce, p[:n])
	}
	return n, nil
}

// Flush implements block.Device.
func (d *Device) Flush() error {
	if !d.flush || d.readOnly {
		return nil // no write cache
	}
	s, err := d.take()
	if err != nil {
		return err
	}
	s.begin(typeFlush, 0)
	o := newOp()
	return d.wait(o, d.submit(o, s))
}

// Discard implements block.Device.
func (d *Device) Discard(off, length int64) error {
	if err := d.checkWrite("discard", off, length); err != nil {
		return err
	}
	if d.discard == 0 {
		return nil
	}
	err := d.ranges(typeDiscard, off, length, d.discard)
	if errors.Is(err, errUnsupported) {
		return nil // it was only a hint
	}
	return err
}

// WriteZeroes implements block.Device.
func (d *Device) WriteZeroes(off, length int64) error {
	if err := d.checkWrite("write zeroes", off, length); err != nil {
		return err
	}
	if d.writeZeroes > 0 {
		err := d.ranges(typeWriteZeroes, off, length, d.writeZeroes)
		if !errors.Is(err, errUnsupported) {
			return err
		}
	}
	zeros := make([]byte, min(length, zeroBuffer))
	for length > 0 {
		n := min(length, int64(len(zeros)))
		if err := d.transfer(typeOut, zeros[:n], off); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

// zeroBuffer is how many zeros are written at a time, in bytes.
const zeroBuffer = 64 << 10

// errUnsupported says that the device does not know a request.
var errUnsupported = fmt.Errorf("virtio-blk: request is not supported: %w", syscall.EIO)

// ranges makes requests about a range, which hold no data. The unmap flag stays
// off (virtio 1.2 §5.2.6): the space of zeros was allocated on purpose.
func (d *Device) ranges(kind uint32, off, length, most int64) error {
	o := newOp()
	var err error
	for length > 0 && err == nil {
		n := min(length, most)
		var s *slot
		if s, err = d.take(); err != nil {
			break
		}
		s.begin(kind, 0)
		binary.LittleEndian.PutUint64(s.mem[rangeOff:], uint64(off)/unit)
		binary.LittleEndian.PutUint32(s.mem[rangeOff+8:], uint32(n/unit))
		binary.LittleEndian.PutUint32(s.mem[rangeOff+12:], 0)
		s.segs = append(s.segs, virtio.Segment{Addr: s.phys + rangeOff, Len: rangeSize})
		err = d.submit(o, s)
		off, length = off+n, length-n
	}
	err = d.wait(o, err)
	if err != nil && o.status == statusUnsupported {
		return errUnsupported
	}
	return err
}
