package virtio

import (
	"fmt"

	"kiln/kernel/pci"
	"kiln/kernel/pci/mmio"
)

// PCI identifiers, virtio 1.2 §4.1.2.
const (
	pciVendor     = 0x1af4
	pciModern     = 0x1040 // plus DeviceID
	pciTransition = 0x1000 // to 0x103f: DeviceID is the subsystem
)

// Capability layout and types, virtio 1.2 §4.1.4.
const (
	capType       = 3  // 8 bit
	capBAR        = 4  // 8 bit
	capOffset     = 8  // 32 bit
	capLength     = 12 // 32 bit
	capMultiplier = 16 // 32 bit, only in capNotify

	capCommon = 1
	capNotify = 2
	capDevice = 4
)

// Common configuration registers, virtio 1.2 §4.1.4.3.
const (
	pciDeviceSel      = 0x00 // RW, 32 bit
	pciDeviceFeatures = 0x04 // R, 32 bit
	pciDriverSel      = 0x08 // RW, 32 bit
	pciDriverFeatures = 0x0c // RW, 32 bit
	pciConfigVector   = 0x10 // RW, 16 bit
	pciStatus         = 0x14 // RW, 8 bit
	pciGeneration     = 0x15 // R, 8 bit
	pciQueueSel       = 0x16 // RW, 16 bit
	pciQueueSize      = 0x18 // RW, 16 bit: the largest until written
	pciQueueVector    = 0x1a // RW, 16 bit
	pciQueueEnable    = 0x1c // RW, 16 bit
	pciQueueNotifyOff = 0x1e // R, 16 bit
	pciQueueDesc      = 0x20 // RW, 64 bit as two words
	pciQueueDriver    = 0x28
	pciQueueDevice    = 0x30
	pciCommonSize     = 0x38

	pciNoVector = 0xffff
)

// queueVector is the MSI-X entry of everything that a device signals.
const queueVector = 0

// PCI is the transport of a device on a PCI bus.
type PCI struct {
	f      *pci.Function
	common mmio.Registers
	device mmio.Registers // nil if the device has no configuration
	config int            // bytes of device
	irq    Interrupt
	id     DeviceID

	notify     mmio.Registers
	notifySize int
	multiplier int   // bytes between the doorbells of queues
	doorbells  []int // offset in notify, by queue
}

var _ Transport = (*PCI)(nil)

// pciDevice returns the kind of device that a function is.
func pciDevice(f *pci.Function) (DeviceID, bool) {
	switch {
	case f.Vendor != pciVendor:
	case f.Device > pciModern && f.Device < pciModern+0x40:
		return DeviceID(f.Device - pciModern), true
	case f.Device >= pciTransition && f.Device < pciModern:
		return DeviceID(f.Subsystem()), true
	}
	return DeviceNone, false
}

// NewPCI returns the transport of a function, whose interrupt sends the given
// message.
func NewPCI(f *pci.Function, m pci.MapBAR, irq Interrupt, msgAddr uint64, msgData uint32) (*PCI, error) {
	id, ok := pciDevice(f)
	if !ok {
		return nil, fmt.Errorf("%v: not a virtio device", f)
	}
	p := &PCI{f: f, irq: irq, id: id}
	if err := p.mapCapabilities(m); err != nil {
		return nil, fmt.Errorf("%v: %v: %w", f, id, err)
	}
	f.Enable()
	x, err := f.NewMSIX(m)
	if err != nil {
		return nil, err
	}
	if err := x.Set(queueVector, msgAddr, msgData); err != nil {
		return nil, err
	}
	return p, nil
}

// mapCapabilities maps the register ranges that the function's vendor
// capabilities point to; of each type the first that can be mapped counts.
func (p *PCI) mapCapabilities(m pci.MapBAR) error {
	var last error
	for _, c := range p.f.Capabilities(pci.CapVendor) {
		bar := int(p.f.Read8(c + capBAR))
		off := int(p.f.Read32(c + capOffset))
		n := int(p.f.Read32(c + capLength))
		var to *mmio.Registers
		switch p.f.Read8(c + capType) {
		case capCommon:
			to = &p.common
			if n < pciCommonSize {
				last = fmt.Errorf("common configuration of %#x bytes, want %#x", n, pciCommonSize)
				continue
			}
		case capNotify:
			to = &p.notify
		case capDevice:
			to = &p.device
		}
		if to == nil || *to != nil {
			continue
		}
		regs, err := m(bar, off, n)
		if err != nil {
			last = err
			continue
		}
		*to = regs
		switch to {
		case &p.notify:
			p.notifySize = n
			p.multiplier = int(p.f.Read32(c + capMultiplier))
		case &p.device:
			p.config = n
		}
	}
	if p.common == nil || p.notify == nil {
		if last == nil {
			last = fmt.Errorf("not a modern device: it lacks the common or the notification capability")
		}
		return last
	}
	return nil
}

// DeviceID implements Transport.
func (p *PCI) DeviceID() DeviceID { return p.id }

// DeviceFeatures implements Transport.
func (p *PCI) DeviceFeatures() Features {
	p.common.Write32(pciDeviceSel, 0)
	f := Features(p.common.Read32(pciDeviceFeatures))
	p.common.Write32(pciDeviceSel, 1)
	return f | Features(p.common.Read32(pciDeviceFeatures))<<32
}

// SetDriverFeatures implements Transport.
func (p *PCI) SetDriverFeatures(f Features) {
	p.common.Write32(pciDriverSel, 0)
	p.common.Write32(pciDriverFeatures, uint32(f))
	p.common.Write32(pciDriverSel, 1)
	p.common.Write32(pciDriverFeatures, uint32(f>>32))
}

// Status implements Transport.
func (p *PCI) Status() uint8 { return p.common.Read8(pciStatus) }

// SetStatus implements Transport.
func (p *PCI) SetStatus(s uint8) error {
	p.common.Write8(pciStatus, s)
	if s != 0 {
		return nil
	}
	if err := awaitReset(p); err != nil {
		return err
	}
	// Reset has forgotten the vectors. Changes of configuration share the
	// queues': drivers that care look at it when they wake up.
	return p.setVector(pciConfigVector)
}

// setVector makes a vector register signal queueVector.
func (p *PCI) setVector(reg int) error {
	p.common.Write16(reg, queueVector)
	if got := p.common.Read16(reg); got != queueVector {
		return fmt.Errorf("no interrupt vector (register %#x reads %#x): %w", reg, got, ErrDevice)
	}
	return nil
}

// QueueMax implements Transport.
func (p *PCI) QueueMax(index int) int {
	p.common.Write16(pciQueueSel, uint16(index))
	return int(p.common.Read16(pciQueueSize))
}

// EnableQueue implements Transport.
func (p *PCI) EnableQueue(index, size int, desc, avail, used PhysAddr) error {
	p.common.Write16(pciQueueSel, uint16(index))
	if p.common.Read16(pciQueueEnable) != 0 {
		return fmt.Errorf("queue is in use already: %w", ErrDevice)
	}
	bell := int(p.common.Read16(pciQueueNotifyOff)) * p.multiplier
	if bell > p.notifySize-2 {
		return fmt.Errorf("doorbell at %#x of %#x bytes: %w", bell, p.notifySize, ErrDevice)
	}
	for len(p.doorbells) <= index {
		p.doorbells = append(p.doorbells, 0)
	}
	p.doorbells[index] = bell
	p.common.Write16(pciQueueSize, uint16(size))
	if err := p.setVector(pciQueueVector); err != nil {
		return err
	}
	for _, r := range []struct {
		off  int
		addr PhysAddr
	}{{pciQueueDesc, desc}, {pciQueueDriver, avail}, {pciQueueDevice, used}} {
		p.common.Write32(r.off, uint32(r.addr))
		p.common.Write32(r.off+4, uint32(r.addr>>32))
	}
	p.common.Write16(pciQueueEnable, 1)
	return nil
}

// Notify implements Transport.
func (p *PCI) Notify(index int) { p.notify.Write16(p.doorbells[index], uint16(index)) }

// ReadConfig implements Transport.
func (p *PCI) ReadConfig(off int, b []byte) error {
	if off < 0 || off+len(b) > p.config {
		return fmt.Errorf("%v: configuration %#x+%#x is outside of its %#x bytes", p.id, off, len(b), p.config)
	}
	return readGeneration(b,
		func() uint32 { return uint32(p.common.Read8(pciGeneration)) },
		func(i int) uint8 { return p.device.Read8(off + i) })
}

// Wait implements Transport. A message needs no acknowledgement at the device.
func (p *PCI) Wait() error { return p.irq.Wait() }

// Close implements Transport.
func (p *PCI) Close() error { return p.irq.Close() }
