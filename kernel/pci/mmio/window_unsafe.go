package mmio

import (
	"fmt"
	"unsafe"

	"kiln/kernel/machine"
)

// Window is a range of device registers mapped uncached.
type Window struct {
	base unsafe.Pointer
	size int // bytes
}

var _ Registers = (*Window)(nil)

// Map maps the device registers at a physical address.
func Map(phys machine.PhysAddr, size int) (*Window, error) {
	// Whole pages: virtio-mmio slots are smaller and share one.
	in := int(phys % machine.PageSize)
	pages := (in + size + machine.PageSize - 1) / machine.PageSize
	base, err := machine.MapMMIO(phys-machine.PhysAddr(in), pages*machine.PageSize)
	if err != nil {
		return nil, fmt.Errorf("registers at %#x: %w", uint64(phys), err)
	}
	return &Window{base: unsafe.Add(base, in), size: size}, nil
}

// at checks one access. An offset outside of the window is a driver's mistake,
// never a device's.
func (w *Window) at(off, width int) unsafe.Pointer {
	if off < 0 || off > w.size-width || off%width != 0 {
		panic(fmt.Sprintf("mmio: %d-byte access at %#x of %#x bytes", width, off, w.size))
	}
	return unsafe.Add(w.base, off)
}

// The accessors below must not be inlined: as calls the compiler can neither
// merge, drop nor reorder them. They are plain MOVs and not sync/atomic, whose
// stores are XCHG: that would also read the register, and emulators have no
// fast path for a locked access to a device. The processor keeps stores to
// uncached memory behind all earlier stores (Intel SDM vol. 3A §8.2.2), so a
// doorbell written here is seen after the ring entries before it.

//go:noinline
func (w *Window) Read8(off int) uint8 { return *(*uint8)(w.at(off, 1)) }

//go:noinline
func (w *Window) Read16(off int) uint16 { return *(*uint16)(w.at(off, 2)) }

//go:noinline
func (w *Window) Read32(off int) uint32 { return *(*uint32)(w.at(off, 4)) }

//go:noinline
func (w *Window) Write8(off int, v uint8) { *(*uint8)(w.at(off, 1)) = v }

//go:noinline
func (w *Window) Write16(off int, v uint16) { *(*uint16)(w.at(off, 2)) = v }

//go:noinline
func (w *Window) Write32(off int, v uint32) { *(*uint32)(w.at(off, 4)) = v }
