// Package net drives virtio network devices (virtio 1.2 §5.1): one pair of
// queues, checksum and segmentation offload, mergeable receive buffers.
//
// Frames are copied between the device's buffers and the caller's: small ones,
// which decide requests per second, cost less to copy than to translate and
// pin.
//
// Context: Run is one goroutine, which receives and tells of room to send; all
// of the receive side belongs to it. The transmit side is guarded by the
// Transmitter's lock. Run calls its Handler without any lock.
package net

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"kiln/kernel/virtio"
)

// Features, virtio 1.2 §5.1.3.
const (
	FeatureChecksum      virtio.Features = 1 << 0  // device completes checksums
	FeatureGuestChecksum virtio.Features = 1 << 1  // driver takes incomplete ones
	FeatureMTU           virtio.Features = 1 << 3  // device says its MTU
	FeatureMAC           virtio.Features = 1 << 5  // device says its address
	FeatureGuestTSO4     virtio.Features = 1 << 7  // driver takes large segments
	FeatureGuestTSO6     virtio.Features = 1 << 8  //
	FeatureHostTSO4      virtio.Features = 1 << 11 // device cuts large segments
	FeatureHostTSO6      virtio.Features = 1 << 12 //
	FeatureMergeable     virtio.Features = 1 << 15 // a frame may fill several buffers
	FeatureStatus        virtio.Features = 1 << 16 // device tells if the link is up

	// Wanted are all that this driver can make use of.
	Wanted = FeatureChecksum | FeatureGuestChecksum | FeatureMTU | FeatureMAC |
		FeatureGuestTSO4 | FeatureGuestTSO6 | FeatureHostTSO4 | FeatureHostTSO6 |
		FeatureMergeable | FeatureStatus | virtio.FeatureEventIdx
)

// Device configuration, virtio 1.2 §5.1.4.
const (
	configMAC    = 0  // 6 bytes
	configStatus = 6  // 16 bit
	configMTU    = 10 // 16 bit

	statusLinkUp = 1 << 0
)

const (
	queueReceive  = 0
	queueTransmit = 1

	etherHeader = 14
	// MaxFrame is the largest frame: an Ethernet header and an IP packet.
	MaxFrame = etherHeader + 65535

	defaultMTU = 1500
	minMTU     = 68 // RFC 791
)

// Options are what memory to spend on a device.
type Options struct {
	ReceiveBuffers int // of 2 KB, or of the MTU if larger; 0 means 128
	TransmitBytes  int // of buffer for frames on their way out; 0 means 256 KB
	// Exclude are features to do without.
	Exclude virtio.Features
}

const (
	defaultReceiveBuffers = 128
	defaultTransmitBytes  = 256 << 10
	transmitQueueSize     = 256
)

// Device is a network device.
type Device struct {
	// Tx sends.
	Tx  *Transmitter
	rx  *receiver
	dev *virtio.Device
	mac [6]byte
	mtu int
}

// Open starts a device.
func Open(t virtio.Transport, mem virtio.Memory, o Options) (*Device, error) {
	if id := t.DeviceID(); id != virtio.DeviceNet {
		return nil, fmt.Errorf("virtio-net: this is a %v", id)
	}
	dev, err := virtio.Start(t, mem, 0, usable(t.DeviceFeatures()&^o.Exclude))
	if err != nil {
		return nil, err
	}
	d := &Device{dev: dev}
	if err := d.setUp(o); err != nil {
		// The first error counts; Close has reset the device.
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Device) setUp(o Options) error {
	if err := d.readConfig(); err != nil {
		return err
	}
	var err error
	if d.rx, err = newReceiver(d.dev, d.mtu, o.ReceiveBuffers); err != nil {
		return err
	}
	if d.Tx, err = newTransmitter(d.dev, o.TransmitBytes); err != nil {
		return err
	}
	if err := d.dev.Ready(); err != nil {
		return err
	}
	d.rx.queue.Kick()
	return nil
}

// usable returns what to accept of an offer. Features that stand on others are
// of no use without them (virtio 1.2 §5.1.3.1). Without mergeable buffers each
// receive buffer would need room for a large segment.
func usable(offered virtio.Features) virtio.Features {
	f := offered & Wanted
	if f&FeatureChecksum == 0 {
		f &^= FeatureHostTSO4 | FeatureHostTSO6
	}
	if f&FeatureGuestChecksum == 0 || f&FeatureMergeable == 0 {
		f &^= FeatureGuestTSO4 | FeatureGuestTSO6
	}
	return f
}

func (d *Device) readConfig() error {
	d.mtu = defaultMTU
	if d.dev.Has(FeatureMAC) {
		if err := d.dev.ReadConfig(configMAC, d.mac[:]); err != nil {
			return err
		}
	} else {
		// A locally administered address of our own; one device has none.
		d.mac = [6]byte{0x02, 'k', 'i', 'l', 'n', 0}
	}
	if d.dev.Has(FeatureMTU) {
		var b [2]byte
		if err := d.dev.ReadConfig(configMTU, b[:]); err != nil {
			return err
		}
		d.mtu = int(binary.LittleEndian.Uint16(b[:]))
		if d.mtu < minMTU {
			return fmt.Errorf("virtio-net: MTU %d is below %d: %w", d.mtu, minMTU, virtio.ErrDevice)
		}
	}
	return nil
}

// MAC returns the device's Ethernet address.
func (d *Device) MAC() [6]byte { return d.mac }

// MTU returns the largest IP packet that a frame can carry, without
// segmentation offload.
func (d *Device) MTU() int { return d.mtu }

// Has tells whether the device and the driver agreed on features.
func (d *Device) Has(f virtio.Features) bool { return d.dev.Has(f) }

// LinkUp tells whether the link is up, as far as the device can tell.
func (d *Device) LinkUp() (bool, error) {
	if !d.dev.Has(FeatureStatus) {
		return true, nil
	}
	var b [2]byte
	err := d.dev.ReadConfig(configStatus, b[:])
	return b[0]&statusLinkUp != 0, err
}

// Handler takes what Run receives.
type Handler interface {
	// Frame takes one frame, in one or more parts, which are the device's
	// again when it returns. The first part has at least an Ethernet
	// header.
	Frame(h *Header, parts [][]byte, size int)
	// Idle is called after a batch of frames, before Run waits.
	Idle()
	// Writable is called when there is room to send after
	// Transmitter.WantRoom.
	Writable()
}

// batch is how many frames are received before others may run.
const batch = 64

// Run receives until the device fails or is closed, and returns why.
func (d *Device) Run(h Handler) error {
	q := d.rx.queue
	for {
		n, err := d.rx.receive(h, batch)
		if err != nil {
			return err
		}
		if d.Tx.roomAgain() {
			h.Writable()
		}
		h.Idle()
		if n > 0 {
			// Let the goroutines that this woke run, then look again,
			// all with interrupts off: under load frames gather
			// meanwhile and cost no interrupt each.
			runtime.Gosched()
			continue
		}
		if !q.EnableInterrupt(0) {
			continue
		}
		if err := d.dev.Wait(); err != nil {
			return fmt.Errorf("virtio-net: interrupt: %w", err)
		}
		q.DisableInterrupt()
	}
}

// Close resets the device and gives back its memory. Run returns, if it is in
// Wait; neither it nor the Transmitter may be used afterwards.
func (d *Device) Close() error {
	if err := d.dev.Close(); err != nil {
		return err // buffers stay allocated: the device may still write
	}
	mem := d.dev.Memory()
	if d.rx != nil {
		if err := mem.Free(d.rx.mem); err != nil {
			return err
		}
	}
	if d.Tx != nil {
		return mem.Free(d.Tx.mem)
	}
	return nil
}
