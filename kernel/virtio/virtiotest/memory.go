// Package virtiotest models the device's side of virtio for tests: memory that
// has physical addresses, an interrupt, rings seen from the device, and a
// transport to a device model.
package virtiotest

import (
	"fmt"
	"sync"
	"unsafe"

	"kiln/kernel/machine"
	"kiln/kernel/virtio"
)

// Memory gives out memory with made-up physical addresses. Its zero value is
// ready. Allocations are apart from each other, so that an access past the end
// of one is noticed.
type Memory struct {
	mu     sync.Mutex
	blocks []block                   // guarded by mu
	mapped map[virtio.PhysAddr]block // guarded by mu: by Phys, for good, by page
	next   virtio.PhysAddr
	// Limit is how many pages can be allocated at once; 0 means no limit.
	Limit int
}

type block struct {
	addr virtio.PhysAddr
	mem  []byte
}

var _ virtio.Memory = (*Memory)(nil)

// Alloc implements virtio.Memory.
func (m *Memory) Alloc(pages int) ([]byte, virtio.PhysAddr, error) {
	if pages <= 0 || m.Limit != 0 && pages > m.Limit {
		return nil, 0, fmt.Errorf("cannot allocate %d pages", pages)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == 0 {
		m.next = 1 << 32
	}
	// Page aligned, as the machine's is.
	raw := make([]byte, (pages+1)*machine.PageSize)
	skip := -int(uintptr(unsafe.Pointer(&raw[0]))) & (machine.PageSize - 1)
	b := block{m.next, raw[skip : skip+pages*machine.PageSize : skip+pages*machine.PageSize]}
	m.blocks = append(m.blocks, b)
	m.next += virtio.PhysAddr((pages + 1) * machine.PageSize)
	return b.mem, b.addr, nil
}

// Free implements virtio.Memory.
func (m *Memory) Free(mem []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, b := range m.blocks {
		if &b.mem[0] == &mem[0] && len(b.mem) == len(mem) {
			m.blocks = append(m.blocks[:i:i], m.blocks[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("free of %d bytes that were not allocated", len(mem))
}

// Allocated returns how many allocations have not been freed.
func (m *Memory) Allocated() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blocks)
}

// At returns n bytes at a physical address, nil if they are not all allocated.
func (m *Memory) At(addr virtio.PhysAddr, n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.mapped[addr&^(machine.PageSize-1)]; ok && addr >= b.addr && n <= len(b.mem)-int(addr-b.addr) {
		return b.mem[addr-b.addr:][:n:n]
	}
	for _, b := range m.blocks {
		if addr >= b.addr && addr-b.addr <= virtio.PhysAddr(len(b.mem)) && n <= len(b.mem)-int(addr-b.addr) {
			off := int(addr - b.addr)
			return b.mem[off : off+n : off+n]
		}
	}
	return nil
}

// Mapped is a Memory whose devices reach other memory, too.
type Mapped struct{ *Memory }

var _ virtio.Mapper = Mapped{}

// Phys implements virtio.Mapper. Each page gets an address of its own, under
// which only the part of it in b is there.
func (m Mapped) Phys(b []byte, pages []virtio.PhysAddr) error {
	offset := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % machine.PageSize)
	if want := (offset + len(b) + machine.PageSize - 1) / machine.PageSize; want != len(pages) {
		return fmt.Errorf("%d bytes at %d in a page lie in %d pages, not in %d", len(b), offset, want, len(pages))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == 0 {
		m.next = 1 << 32
	}
	if m.mapped == nil {
		m.mapped = map[virtio.PhysAddr]block{}
	}
	for i := range pages {
		n := min(len(b), machine.PageSize-offset)
		m.mapped[m.next] = block{m.next + virtio.PhysAddr(offset), b[:n:n]}
		pages[i] = m.next
		m.next += 2 * machine.PageSize
		b, offset = b[n:], 0
	}
	return nil
}

// Interrupt is a virtio.Interrupt that Fire fires. Fires before a Wait are one.
type Interrupt struct {
	c    chan struct{}
	once sync.Once
	done chan struct{}

	mu    sync.Mutex
	fired int // guarded by mu
	acks  int // guarded by mu
}

// NewInterrupt returns an interrupt that has not fired.
func NewInterrupt() *Interrupt {
	return &Interrupt{c: make(chan struct{}, 1), done: make(chan struct{})}
}

// ErrClosed is what Wait returns after Close.
var ErrClosed = fmt.Errorf("interrupt is closed")

// Fire fires the interrupt.
func (i *Interrupt) Fire() {
	i.mu.Lock()
	i.fired++
	i.mu.Unlock()
	select {
	case i.c <- struct{}{}:
	default:
	}
}

// Wait implements virtio.Interrupt.
func (i *Interrupt) Wait() error {
	select {
	case <-i.c:
		return nil
	case <-i.done:
		return ErrClosed
	}
}

// Ack implements virtio.Interrupt.
func (i *Interrupt) Ack() error {
	i.mu.Lock()
	i.acks++
	i.mu.Unlock()
	return nil
}

// Close implements virtio.Interrupt.
func (i *Interrupt) Close() error {
	i.once.Do(func() { close(i.done) })
	return nil
}

// Counts returns how often the interrupt was fired and acknowledged.
func (i *Interrupt) Counts() (fired, acks int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fired, i.acks
}
