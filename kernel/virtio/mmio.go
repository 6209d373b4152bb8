package virtio

import (
	"fmt"
	"runtime"

	"kiln/kernel/pci/mmio"
)

// MMIO registers, virtio 1.2 §4.2.2. All are 32 bits wide.
const (
	mmioMagic          = 0x000 // R: "virt"
	mmioVersion        = 0x004 // R: 2; 1 is a legacy device
	mmioDeviceID       = 0x008 // R
	mmioDeviceFeatures = 0x010 // R: 32 bits, chosen by the next
	mmioDeviceSel      = 0x014 // W
	mmioDriverFeatures = 0x020 // W: 32 bits, chosen by the next
	mmioDriverSel      = 0x024 // W
	mmioQueueSel       = 0x030 // W: which queue the next ones mean
	mmioQueueMax       = 0x034 // R: largest size, 0: no such queue
	mmioQueueSize      = 0x038 // W
	mmioQueueReady     = 0x044 // RW
	mmioQueueNotify    = 0x050 // W: queue index
	mmioIntACK         = 0x064 // W: intUsedBuffer, intConfigChange
	mmioStatus         = 0x070 // RW
	mmioQueueDesc      = 0x080 // W: low half; high half in the next word
	mmioQueueAvail     = 0x090 // W
	mmioQueueUsed      = 0x0a0 // W
	mmioGeneration     = 0x0fc // R
	mmioConfig         = 0x100 // RW

	intUsedBuffer   = 1 << 0
	intConfigChange = 1 << 1

	mmioMagicValue    = 0x74726976
	mmioVersionModern = 2
	mmioVersionLegacy = 1
	mmioMinSize       = 0x100 // bytes up to the configuration
)

// resetTries bounds the wait for a device to reset itself. Emulated devices
// are done at the first look.
const resetTries = 100000

// configTries bounds how often configuration is read again because it changed
// underneath.
const configTries = 100

// MMIO is the transport of a device whose registers lie at a fixed address.
type MMIO struct {
	regs mmio.Registers
	size int // bytes of registers
	irq  Interrupt
	id   DeviceID
}

var _ Transport = (*MMIO)(nil)

// probeMMIO returns what kind of device has these registers.
func probeMMIO(regs mmio.Registers) (DeviceID, error) {
	if got := regs.Read32(mmioMagic); got != mmioMagicValue {
		return DeviceNone, fmt.Errorf("magic value %#x, want %#x", got, mmioMagicValue)
	}
	id := DeviceID(regs.Read32(mmioDeviceID))
	switch v := regs.Read32(mmioVersion); {
	case v == mmioVersionModern, id == DeviceNone:
		return id, nil
	case v == mmioVersionLegacy:
		return id, fmt.Errorf("%v is a legacy device (QEMU makes modern ones with -global virtio-mmio.force-legacy=false)", id)
	default:
		return id, fmt.Errorf("%v has version %d, want %d", id, v, mmioVersionModern)
	}
}

// NewMMIO returns the transport over size bytes of registers. irq is already
// routed, edge-triggered.
func NewMMIO(regs mmio.Registers, size int, irq Interrupt) (*MMIO, error) {
	if size < mmioMinSize {
		return nil, fmt.Errorf("virtio MMIO: %#x bytes of registers, want at least %#x", size, mmioMinSize)
	}
	id, err := probeMMIO(regs)
	if err != nil {
		return nil, fmt.Errorf("virtio MMIO: %w", err)
	}
	return &MMIO{regs: regs, size: size, irq: irq, id: id}, nil
}

// DeviceID implements Transport.
func (m *MMIO) DeviceID() DeviceID { return m.id }

// DeviceFeatures implements Transport.
func (m *MMIO) DeviceFeatures() Features {
	m.regs.Write32(mmioDeviceSel, 0)
	f := Features(m.regs.Read32(mmioDeviceFeatures))
	m.regs.Write32(mmioDeviceSel, 1)
	return f | Features(m.regs.Read32(mmioDeviceFeatures))<<32
}

// SetDriverFeatures implements Transport.
func (m *MMIO) SetDriverFeatures(f Features) {
	m.regs.Write32(mmioDriverSel, 0)
	m.regs.Write32(mmioDriverFeatures, uint32(f))
	m.regs.Write32(mmioDriverSel, 1)
	m.regs.Write32(mmioDriverFeatures, uint32(f>>32))
}

// Status implements Transport.
func (m *MMIO) Status() uint8 { return uint8(m.regs.Read32(mmioStatus)) }

// SetStatus implements Transport.
func (m *MMIO) SetStatus(s uint8) error {
	m.regs.Write32(mmioStatus, uint32(s))
	if s != 0 {
		return nil
	}
	return awaitReset(m)
}

// awaitReset waits until a device that was told to reset has done so.
func awaitReset(t Transport) error {
	for range resetTries {
		if t.Status() == 0 {
			return nil
		}
		runtime.Gosched()
	}
	return fmt.Errorf("status still %#x after reset: %w", t.Status(), ErrDevice)
}

// QueueMax implements Transport.
func (m *MMIO) QueueMax(index int) int {
	m.regs.Write32(mmioQueueSel, uint32(index))
	return int(m.regs.Read32(mmioQueueMax))
}

// EnableQueue implements Transport.
func (m *MMIO) EnableQueue(index, size int, desc, avail, used PhysAddr) error {
	m.regs.Write32(mmioQueueSel, uint32(index))
	if m.regs.Read32(mmioQueueReady) != 0 {
		return fmt.Errorf("queue is in use already: %w", ErrDevice)
	}
	m.regs.Write32(mmioQueueSize, uint32(size))
	for _, r := range []struct {
		off  int
		addr PhysAddr
	}{{mmioQueueDesc, desc}, {mmioQueueAvail, avail}, {mmioQueueUsed, used}} {
		m.regs.Write32(r.off, uint32(r.addr))
		m.regs.Write32(r.off+4, uint32(r.addr>>32))
	}
	m.regs.Write32(mmioQueueReady, 1)
	return nil
}

// Notify implements Transport.
func (m *MMIO) Notify(index int) { m.regs.Write32(mmioQueueNotify, uint32(index)) }

// ReadConfig implements Transport.
func (m *MMIO) ReadConfig(off int, b []byte) error {
	if off < 0 || off+len(b) > m.size-mmioConfig {
		return fmt.Errorf("%v: configuration %#x+%#x is outside of the device's registers", m.id, off, len(b))
	}
	return readGeneration(b,
		func() uint32 { return m.regs.Read32(mmioGeneration) },
		func(i int) uint8 { return m.regs.Read8(mmioConfig + off + i) })
}

// readGeneration reads b until the device's generation is the same before and
// after (virtio 1.2 §2.5.3.1).
func readGeneration(b []byte, generation func() uint32, read func(i int) uint8) error {
	for range configTries {
		before := generation()
		for i := range b {
			b[i] = read(i)
		}
		if generation() == before {
			return nil
		}
	}
	return fmt.Errorf("configuration does not stop changing: %w", ErrDevice)
}

// Wait implements Transport.
func (m *MMIO) Wait() error {
	if err := m.irq.Wait(); err != nil {
		return err
	}
	// The input is edge-triggered: unless the line goes down now, there is
	// no next interrupt. Both reasons are acknowledged unread, as the caller
	// looks at the queues and at the configuration in any case, and each
	// access to a register is a trip to the hypervisor. A reason that arises
	// after this raises the line anew.
	m.regs.Write32(mmioIntACK, intUsedBuffer|intConfigChange)
	return nil
}

// Close implements Transport.
func (m *MMIO) Close() error { return m.irq.Close() }
