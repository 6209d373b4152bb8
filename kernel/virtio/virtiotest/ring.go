package virtiotest

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"kiln/kernel/virtio"
)

// Ring is a split virtqueue seen from the device (virtio 1.2 §2.7). It is used
// by one goroutine at a time.
type Ring struct {
	mem              *Memory
	size             uint16
	desc             []byte
	avail            []byte
	used             []byte
	eventIdx         bool
	seen, done       uint16 // next available entry, next used entry
	signalled        uint16 // done when the driver was last interrupted
	Notifications    atomic.Int64
	Interrupts       atomic.Int64
	SuppressNotifies bool // always tell the driver not to notify
}

// Buffer is a chain of descriptors that the driver offered.
type Buffer struct {
	Head  uint16
	Read  [][]byte // from the driver
	Write [][]byte // for the device to fill
}

// NewRing returns the ring at the given addresses.
func NewRing(mem *Memory, size int, desc, avail, used virtio.PhysAddr, eventIdx bool) (*Ring, error) {
	r := &Ring{
		mem: mem, size: uint16(size), eventIdx: eventIdx,
		desc:  mem.At(desc, 16*size),
		avail: mem.At(avail, 4+2*size+4),
		used:  mem.At(used, 4+8*size+4),
	}
	if r.desc == nil || r.avail == nil || r.used == nil {
		return nil, fmt.Errorf("ring at %#x, %#x, %#x is not in memory", desc, avail, used)
	}
	if desc%16 != 0 || avail%2 != 0 || used%4 != 0 {
		return nil, fmt.Errorf("ring at %#x, %#x, %#x is misaligned", desc, avail, used)
	}
	return r, nil
}

func word(b []byte, off int) *uint32 { return (*uint32)(unsafe.Pointer(&b[off : off+4][0])) }

// Pop takes the next buffer, nil if there is none. If there is none it asks to
// be notified of the next one, and looks again.
func (r *Ring) Pop() (*Buffer, error) {
	head, ok, err := r.Take()
	if !ok {
		return nil, err
	}
	b := &Buffer{Head: head}
	return b, r.chain(b, r.desc, head, 0)
}

// Take is Pop without a look at the descriptors, for benchmarks.
func (r *Ring) Take() (head uint16, ok bool, err error) {
	idx := uint16(atomic.LoadUint32(word(r.avail, 0)) >> 16)
	if idx == r.seen && r.eventIdx && !r.SuppressNotifies {
		atomic.StoreUint32(word(r.used, 4+8*int(r.size)), uint32(r.seen))
		idx = uint16(atomic.LoadUint32(word(r.avail, 0)) >> 16)
	}
	if idx == r.seen {
		return 0, false, nil
	}
	if idx-r.seen > r.size {
		return 0, false, fmt.Errorf("available index %d is more than a ring past %d", idx, r.seen)
	}
	head = binary.LittleEndian.Uint16(r.avail[4+2*int(r.seen&(r.size-1)):])
	r.seen++
	return head, true, nil
}

// chain collects the segments of a chain that begins at i of a table.
func (r *Ring) chain(b *Buffer, table []byte, i uint16, depth int) error {
	for n := 0; ; n++ {
		if n > int(r.size) || int(i) >= len(table)/16 {
			return fmt.Errorf("descriptor %d of %d, %d in the chain", i, len(table)/16, n)
		}
		d := table[16*int(i):]
		addr := virtio.PhysAddr(binary.LittleEndian.Uint64(d))
		size := int(binary.LittleEndian.Uint32(d[8:]))
		flags := binary.LittleEndian.Uint16(d[12:])
		mem := r.mem.At(addr, size)
		switch {
		case mem == nil:
			return fmt.Errorf("descriptor %d: %d bytes at %#x are not in memory", i, size, addr)
		case flags&4 != 0:
			if depth > 0 || flags != 4 {
				return fmt.Errorf("descriptor %d: flags %#x at depth %d", i, flags, depth)
			}
			return r.chain(b, mem, 0, 1)
		case flags&2 != 0:
			b.Write = append(b.Write, mem)
		case len(b.Write) > 0:
			return fmt.Errorf("descriptor %d: to read, behind one to write", i)
		default:
			b.Read = append(b.Read, mem)
		}
		if flags&1 == 0 {
			return nil
		}
		i = binary.LittleEndian.Uint16(d[14:])
	}
}

// Push gives a buffer back, visible at once, after writing n bytes.
func (r *Ring) Push(b *Buffer, n int) { r.PushAll([]Used{{uint32(b.Head), uint32(n)}}) }

// Used is an entry of the used ring.
type Used struct{ ID, Len uint32 }

// PushAll gives buffers back, all visible at the same time. It does not check
// them.
func (r *Ring) PushAll(us []Used) {
	for _, u := range us {
		e := r.used[4+8*int(r.done&(r.size-1)):]
		binary.LittleEndian.PutUint32(e, u.ID)
		binary.LittleEndian.PutUint32(e[4:], u.Len)
		r.done++
	}
	r.SetUsedIndex(r.done)
}

// SetUsedIndex writes the used ring's header.
func (r *Ring) SetUsedIndex(idx uint16) {
	var flags uint32
	if r.SuppressNotifies {
		flags = 1
	}
	atomic.StoreUint32(word(r.used, 0), flags|uint32(idx)<<16)
}

// WantsInterrupt tells whether the driver wants to hear of what was pushed
// since it was last asked.
func (r *Ring) WantsInterrupt() bool {
	old := r.signalled
	if r.done == old {
		return false
	}
	r.signalled = r.done
	want := atomic.LoadUint32(word(r.avail, 0))&1 == 0
	if r.eventIdx {
		event := uint16(atomic.LoadUint32(word(r.avail, 4+2*int(r.size))))
		want = r.done-event-1 < r.done-old
	}
	if want {
		r.Interrupts.Add(1)
	}
	return want
}
