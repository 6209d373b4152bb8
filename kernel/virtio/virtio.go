// Package virtio drives virtio 1.2 devices (OASIS, 2022-07-01) of the modern
// kind: split virtqueues, the MMIO and the PCI transport.
//
// A driver finds its device with Discover, starts it with Start, which agrees
// on features, makes its queues and calls Ready. Hardware is reached through
// the interfaces Transport, Memory and Interrupt, so that queues, transports
// and drivers run on a host against package virtiotest.
//
// A device is not trusted with memory safety: what it writes to a ring is
// checked, and nonsense becomes an error that sticks to the queue.
//
// Context: ordinary goroutines. A Queue is used by one goroutine at a time;
// drivers say which lock guards it.
package virtio

import (
	"errors"
	"fmt"

	"kiln/kernel/machine"
)

// PhysAddr is the address by which a device knows memory.
type PhysAddr = machine.PhysAddr

// DeviceID is a kind of device, virtio 1.2 §5.
type DeviceID uint32

const (
	DeviceNone    DeviceID = 0 // an empty MMIO slot
	DeviceNet     DeviceID = 1
	DeviceBlock   DeviceID = 2
	DeviceConsole DeviceID = 3
	DeviceRNG     DeviceID = 4
	Device9P      DeviceID = 9
)

func (id DeviceID) String() string {
	switch id {
	case DeviceNone:
		return "no device"
	case DeviceNet:
		return "virtio-net"
	case DeviceBlock:
		return "virtio-blk"
	case DeviceConsole:
		return "virtio-console"
	case Device9P:
		return "virtio-9p"
	case DeviceRNG:
		return "virtio-rng"
	}
	return fmt.Sprintf("virtio device %d", uint32(id))
}

// Device status bits, virtio 1.2 §2.1.
const (
	statusAcknowledge = 1 << 0
	statusDriver      = 1 << 1
	statusDriverOK    = 1 << 2
	statusFeaturesOK  = 1 << 3
	statusNeedsReset  = 1 << 6
	statusFailed      = 1 << 7
)

// Transport is how a driver reaches one device.
type Transport interface {
	// DeviceID says what kind of device it is.
	DeviceID() DeviceID
	// DeviceFeatures returns what the device offers.
	DeviceFeatures() Features
	// SetDriverFeatures tells the device what the driver accepts.
	SetDriverFeatures(Features)
	Status() uint8
	// SetStatus sets the status; 0 resets the device and waits until it has.
	SetStatus(uint8) error
	// QueueMax returns the largest size of a queue, 0 if the device has no
	// such queue.
	QueueMax(index int) int
	// EnableQueue tells the device where a queue lies.
	EnableQueue(index, size int, desc, avail, used PhysAddr) error
	// Notify tells the device of new buffers in a queue.
	Notify(index int)
	// ReadConfig reads device configuration, all of b from one generation.
	ReadConfig(off int, b []byte) error
	// Wait blocks until the device interrupts, and acknowledges it.
	Wait() error
	// Close gives back the interrupt. The device has been reset.
	Close() error
}

// Interrupt is a device interrupt: *machine.Interrupt, or a fake.
type Interrupt interface {
	Wait() error
	Ack() error
	Close() error
}

// Memory gives out memory that devices can reach.
type Memory interface {
	// Alloc returns zeroed, physically contiguous pages.
	Alloc(pages int) ([]byte, PhysAddr, error)
	Free([]byte) error
}

// Mapper is a Memory whose devices reach all memory of the kernel program.
type Mapper interface {
	// Phys fills in the addresses of the pages that b lies in, one each, and
	// makes sure that the pages are there. They stay where they are as long
	// as b is in use. It fails with ENOMEM if there is no memory for them.
	Phys(b []byte, pages []PhysAddr) error
}

// DMA is the machine's Memory.
type DMA struct{}

// Phys implements Mapper.
func (DMA) Phys(b []byte, pages []PhysAddr) error { return machine.PhysPages(b, pages) }

// Alloc allocates pages from the machine.
func (DMA) Alloc(pages int) ([]byte, PhysAddr, error) { return machine.AllocDMA(pages) }

// Free gives back what Alloc returned.
func (DMA) Free(b []byte) error { return machine.FreeDMA(b) }

// Pages returns how many pages hold n bytes.
func Pages(n int) int { return (n + machine.PageSize - 1) / machine.PageSize }

// ErrDevice is wrapped by errors that say that a device broke the protocol.
var ErrDevice = errors.New("device broke the virtio protocol")

// Device is a started device: features are agreed on, queues can be made.
type Device struct {
	Transport
	mem      Memory
	features Features
	queues   []*Queue
}

// Start resets the device and agrees on features with it: all of required, and
// of optional what it offers (virtio 1.2 §3.1.1, steps 1 to 6).
func Start(t Transport, mem Memory, required, optional Features) (*Device, error) {
	id := t.DeviceID()
	if err := t.SetStatus(0); err != nil {
		return nil, fmt.Errorf("%v: reset: %w", id, err)
	}
	if err := t.SetStatus(statusAcknowledge | statusDriver); err != nil {
		return nil, fmt.Errorf("%v: %w", id, err)
	}
	d := &Device{Transport: t, mem: mem}
	offered := t.DeviceFeatures()
	required |= FeatureVersion1
	if missing := required &^ offered; missing != 0 {
		d.fail()
		return nil, fmt.Errorf("%v: device does not offer %v (it offers %v)", id, missing, offered)
	}
	d.features = offered & (required | optional)
	t.SetDriverFeatures(d.features)
	if err := t.SetStatus(statusAcknowledge | statusDriver | statusFeaturesOK); err != nil {
		return nil, fmt.Errorf("%v: %w", id, err)
	}
	if t.Status()&statusFeaturesOK == 0 {
		d.fail()
		return nil, fmt.Errorf("%v: device refuses the features %v", id, d.features)
	}
	return d, nil
}

// fail tells the device that the driver has given up.
func (d *Device) fail() {
	// The error that led here is the one to report.
	_ = d.SetStatus(d.Status() | statusFailed)
}

// Has tells whether all of f were agreed on.
func (d *Device) Has(f Features) bool { return d.features&f == f }

// Features returns what was agreed on.
func (d *Device) Features() Features { return d.features }

// Memory returns where the device's buffers come from.
func (d *Device) Memory() Memory { return d.mem }

// Ready lets the device go to work. All queues have been made.
func (d *Device) Ready() error {
	s := uint8(statusAcknowledge | statusDriver | statusFeaturesOK | statusDriverOK)
	if err := d.SetStatus(s); err != nil {
		return fmt.Errorf("%v: %w", d.DeviceID(), err)
	}
	if got := d.Status(); got&(statusNeedsReset|statusFailed) != 0 {
		return fmt.Errorf("%v: status %#x after start: %w", d.DeviceID(), got, ErrDevice)
	}
	return nil
}

// Close resets the device, after which it touches no memory, and frees its
// queues. Buffers are the driver's to free, after Close.
func (d *Device) Close() error {
	err := d.SetStatus(0)
	if err != nil {
		// The device may still write to its rings: leak them.
		return errors.Join(fmt.Errorf("%v: reset: %w", d.DeviceID(), err), d.Transport.Close())
	}
	for _, q := range d.queues {
		err = errors.Join(err, d.mem.Free(q.mem))
	}
	d.queues = nil
	return errors.Join(err, d.Transport.Close())
}
