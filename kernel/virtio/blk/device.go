// Package blk drives virtio block devices (virtio 1.2 §5.2): one queue with
// many requests in flight, flush, discard and write zeroes.
//
// Data goes straight between the device and the caller's memory, page by page
// frame, where the machine can tell physical addresses (virtio.Mapper);
// otherwise through buffers of the device's own.
//
// Context: ordinary goroutines, any number at once. The goroutine that made a
// request looks for its end itself for a short time, then sleeps; a goroutine
// of the device's wakes it on an interrupt.
package blk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"kiln/kernel/fs/block"
	"kiln/kernel/virtio"
)

// Features, virtio 1.2 §5.2.3.
const (
	FeatureSizeMax     virtio.Features = 1 << 1  // largest segment is in the configuration
	FeatureSegMax      virtio.Features = 1 << 2  // most segments are
	FeatureReadOnly    virtio.Features = 1 << 5  // no writes
	FeatureBlockSize   virtio.Features = 1 << 6  // sector size is in the configuration
	FeatureFlush       virtio.Features = 1 << 9  // volatile write cache, and flush
	FeatureDiscard     virtio.Features = 1 << 13 //
	FeatureWriteZeroes virtio.Features = 1 << 14 //

	// Wanted are all that this driver can make use of.
	Wanted = FeatureSizeMax | FeatureSegMax | FeatureReadOnly | FeatureBlockSize | FeatureFlush |
		FeatureDiscard | FeatureWriteZeroes | virtio.FeatureEventIdx | virtio.FeatureIndirect
)

// Device configuration, virtio 1.2 §5.2.4. All is little endian.
const (
	configCapacity       = 0  // 64 bit, units of unit
	configSizeMax        = 8  // 32 bit, bytes
	configSegMax         = 12 // 32 bit
	configBlockSize      = 20 // 32 bit, bytes
	configDiscardMax     = 36 // 32 bit, units of unit
	configWriteZeroesMax = 48 // 32 bit, units of unit
	unit                 = 512
	minSector, maxSector = 512, 4096
	queueRequest         = 0
	queueSize            = 64            // descriptors
	requests             = 32            // in flight
	segments             = queueSize - 2 // of data, at most: a chain is no longer than the queue, §2.7.5.3.1
	requestBytes         = 1 << 20
	defaultSegments      = 1 // without FeatureSegMax
	maxCapacity          = 1 << 62 / unit
)

// limits are what the device can take.
type limits struct {
	size        int64 // bytes
	sector      int   // bytes
	segment     int   // longest segment, bytes
	segments    int   // of data in a request
	discard     int64 // longest discard, bytes; 0: none
	writeZeroes int64 // longest write zeroes, bytes; 0: none
	readOnly    bool
	flush       bool
}

// Device is a block device.
type Device struct {
	dev *virtio.Device
	limits

	mu     sync.Mutex
	room   *sync.Cond         // waits for a slot, or for descriptors
	queue  *virtio.Queue      // guarded by mu
	free   []*slot            // guarded by mu
	flight [queueSize]request // guarded by mu: by buffer identity
	failed error              // guarded by mu: why the device is out of order
	slots  [requests]*slot
	pages  []byte // headers and status bytes of the slots
}

var _ block.Device = (*Device)(nil)

// Open starts a device.
func Open(t virtio.Transport, mem virtio.Memory) (*Device, error) {
	if id := t.DeviceID(); id != virtio.DeviceBlock {
		return nil, fmt.Errorf("virtio-blk: this is a %v", id)
	}
	dev, err := virtio.Start(t, mem, 0, Wanted)
	if err != nil {
		return nil, err
	}
	d := &Device{dev: dev}
	d.room = sync.NewCond(&d.mu)
	if err := d.setUp(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	go d.run()
	return d, nil
}

func (d *Device) setUp() error {
	var err error
	if d.limits, err = readLimits(d.dev); err != nil {
		return err
	}
	// A header and a status byte come with the data.
	if d.queue, err = d.dev.NewQueue(queueRequest, queueSize, d.segments+2); err != nil {
		return err
	}
	if d.segments = min(d.segments, d.queue.Size()-2); d.segments < 1 {
		return fmt.Errorf("virtio-blk: queue of %d descriptors has no room for a request: %w", d.queue.Size(), virtio.ErrDevice)
	}
	if err := d.makeSlots(); err != nil {
		return err
	}
	return d.dev.Ready()
}

// configReader is what readLimits needs of a *virtio.Device.
type configReader interface {
	Has(virtio.Features) bool
	ReadConfig(off int, b []byte) error
}

// readLimits reads the configuration.
func readLimits(c configReader) (limits, error) {
	var err error
	field := func(f virtio.Features, off, bytes int, otherwise uint64) uint64 {
		if err != nil || f != 0 && !c.Has(f) {
			return otherwise
		}
		var b [8]byte
		err = c.ReadConfig(off, b[:bytes])
		return binary.LittleEndian.Uint64(b[:])
	}
	capacity := field(0, configCapacity, 8, 0)
	sector := field(FeatureBlockSize, configBlockSize, 4, minSector)
	segMax := field(FeatureSegMax, configSegMax, 4, defaultSegments)
	sizeMax := field(FeatureSizeMax, configSizeMax, 4, requestBytes)
	discard := field(FeatureDiscard, configDiscardMax, 4, 0)
	zeroes := field(FeatureWriteZeroes, configWriteZeroesMax, 4, 0)
	if err != nil {
		return limits{}, fmt.Errorf("virtio-blk: %w", err)
	}
	l := limits{
		size: int64(min(capacity, maxCapacity)) * unit, sector: int(sector),
		segments: int(min(max(segMax, 1), segments)), segment: int(min(sizeMax, requestBytes)),
		discard: int64(discard) * unit, writeZeroes: int64(zeroes) * unit,
		readOnly: c.Has(FeatureReadOnly), flush: c.Has(FeatureFlush),
	}
	if sector < minSector || sector > maxSector || sector&(sector-1) != 0 {
		return l, fmt.Errorf("virtio-blk: sectors of %d bytes: %w", sector, virtio.ErrDevice)
	}
	// A part of a sector at the end cannot be reached.
	l.size -= l.size % int64(l.sector)
	l.discard -= l.discard % int64(l.sector)
	l.writeZeroes -= l.writeZeroes % int64(l.sector)
	// A segment that is no whole sector could not end a request.
	if l.segment -= l.segment % l.sector; l.segment == 0 {
		return l, fmt.Errorf("virtio-blk: segments of at most %d bytes: %w", sizeMax, virtio.ErrDevice)
	}
	return l, nil
}

// SectorSize implements block.Device.
func (d *Device) SectorSize() int { return d.sector }

// Size implements block.Device.
func (d *Device) Size() int64 { return d.size }

// ReadOnly implements block.Device.
func (d *Device) ReadOnly() bool { return d.readOnly }

// check returns what is wrong with a range.
func (d *Device) check(what string, off, length int64) error {
	align := int64(d.sector)
	if off < 0 || length < 0 || off%align != 0 || length%align != 0 || off > d.size || length > d.size-off {
		return fmt.Errorf("virtio-blk: %s of %d bytes at %d of %d: %w", what, length, off, d.size, syscall.EINVAL)
	}
	return nil
}

// checkWrite is check, and whether the device may be changed.
func (d *Device) checkWrite(what string, off, length int64) error {
	if d.readOnly {
		return fmt.Errorf("virtio-blk: %s: %w", what, syscall.EROFS)
	}
	return d.check(what, off, length)
}

// Close resets the device and gives back its memory. Requests under way fail.
func (d *Device) Close() error {
	err := d.dev.Close()
	if err != nil {
		return err // the device may still write to its memory: leak it
	}
	mem := d.dev.Memory()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail(errClosed)
	for _, s := range d.slots {
		if s != nil && s.bounce != nil {
			err = errors.Join(err, mem.Free(s.bounce))
		}
	}
	if d.pages != nil {
		err = errors.Join(err, mem.Free(d.pages))
	}
	return err
}

var errClosed = errors.New("virtio-blk: device is closed")
