// Package console drives virtio consoles (virtio 1.2 §5.3): port 0, without the
// multiport feature.
//
// Context: ordinary goroutines. One goroutine of the package waits for
// interrupts and wakes who waits for the queues.
package console

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"kiln/kernel/machine"
	"kiln/kernel/virtio"
)

// FeatureSize: the device says the console's size.
const FeatureSize virtio.Features = 1 << 0

const (
	queueReceive  = 0
	queueTransmit = 1

	buffers    = 4 // in each queue
	bufferSize = machine.PageSize

	configSize = 0 // columns, rows: 16 bit each
)

// Device is a console.
type Device struct {
	dev     *virtio.Device
	resized func(columns, rows int)

	mu     sync.Mutex
	wake   sync.Cond // something has happened; L is mu
	err    error     // guarded by mu: the device is out of order
	rx, tx queue     // guarded by mu

	input         []byte // received, not yet read; part of inputBuffer
	inputBuffer   int    // guarded by mu
	columns, rows int    // guarded by mu
}

// queue is a virtqueue with a page for each buffer.
type queue struct {
	*virtio.Queue
	mem    []byte
	phys   virtio.PhysAddr
	buffer [buffers]int // index of the page, by identity in the queue
	free   []int        // pages that the device does not have
}

// Open starts a device. resized, which may be nil, is called with the
// console's size at first and when it changes, on a goroutine of the package.
func Open(t virtio.Transport, mem virtio.Memory, resized func(columns, rows int)) (*Device, error) {
	if id := t.DeviceID(); id != virtio.DeviceConsole {
		return nil, fmt.Errorf("virtio-console: this is a %v", id)
	}
	// Without event indexes interrupts are simply on.
	dev, err := virtio.Start(t, mem, 0, FeatureSize)
	if err != nil {
		return nil, err
	}
	d := &Device{dev: dev, resized: resized}
	d.wake.L = &d.mu
	if err := d.setUp(); err != nil {
		return nil, errors.Join(err, d.dev.Close(), d.release())
	}
	go d.run()
	return d, nil
}

func (d *Device) setUp() error {
	for index, q := range [...]*queue{queueReceive: &d.rx, queueTransmit: &d.tx} {
		vq, err := d.dev.NewQueue(index, buffers, 1)
		if err != nil {
			return err
		}
		q.Queue = vq
		if q.mem, q.phys, err = d.dev.Memory().Alloc(vq.Size()); err != nil {
			return fmt.Errorf("virtio-console: %w", err)
		}
		for i := range vq.Size() {
			q.free = append(q.free, i)
		}
	}
	for len(d.rx.free) > 0 {
		d.rx.offer(bufferSize, true)
	}
	if err := d.dev.Ready(); err != nil {
		return err
	}
	d.rx.Kick()
	return nil
}

// offer gives the first free page to the device.
func (q *queue) offer(n int, write bool) {
	i := q.free[0]
	id, ok := q.Push(virtio.Segment{Addr: q.phys + virtio.PhysAddr(i*bufferSize), Len: uint32(n), Write: write})
	// There are as many descriptors as pages; only a broken queue refuses.
	q.free = q.free[1:]
	if ok {
		q.buffer[id] = i
	}
}

// run wakes those who wait for the device, until it fails or is closed.
func (d *Device) run() {
	for {
		d.checkSize()
		err := d.dev.Wait()
		d.mu.Lock()
		if err != nil && d.err == nil {
			d.err = fmt.Errorf("virtio-console: interrupt: %w", err)
		}
		d.wake.Broadcast()
		d.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// checkSize looks if the console has a new size. Interrupts are few, so each
// is taken as a change of configuration.
func (d *Device) checkSize() {
	if !d.dev.Has(FeatureSize) {
		return
	}
	var b [4]byte
	if err := d.dev.ReadConfig(configSize, b[:]); err != nil {
		d.fail(err)
		return
	}
	columns, rows := int(binary.LittleEndian.Uint16(b[:])), int(binary.LittleEndian.Uint16(b[2:]))
	d.mu.Lock()
	changed := columns != d.columns || rows != d.rows
	d.columns, d.rows = columns, rows
	d.mu.Unlock()
	if changed && d.resized != nil {
		d.resized(columns, rows)
	}
}

func (d *Device) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
	d.wake.Broadcast()
}

// Size returns the console's size, 0, 0 if it is not known.
func (d *Device) Size() (columns, rows int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.columns, d.rows
}

// Read returns what was typed. It blocks until there is something.
func (d *Device) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.input) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		id, n, ok, err := d.rx.Pop()
		switch {
		case err != nil:
			d.err = err
		case !ok:
			d.wake.Wait()
		default:
			d.inputBuffer = d.rx.buffer[id]
			off := d.inputBuffer * bufferSize
			d.input = d.rx.mem[off : off+n]
			if n == 0 {
				d.recycle()
			}
		}
	}
	n := copy(p, d.input)
	if d.input = d.input[n:]; len(d.input) == 0 {
		d.recycle()
	}
	return n, nil
}

// recycle gives the input's page back to the device. The caller holds mu.
func (d *Device) recycle() {
	d.rx.free = append(d.rx.free, d.inputBuffer)
	d.rx.offer(bufferSize, true)
	d.rx.Kick()
}

// Write prints. It returns when the device has, or will without further ado,
// and blocks while the device has more than it can print.
func (d *Device) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	written := 0
	for written < len(p) {
		if d.err != nil {
			return written, d.err
		}
		if len(d.tx.free) == 0 {
			id, _, ok, err := d.tx.Pop()
			switch {
			case err != nil:
				d.err = err
			case !ok:
				d.tx.Kick()
				d.wake.Wait()
			default:
				d.tx.free = append(d.tx.free, d.tx.buffer[id])
			}
			continue
		}
		off := d.tx.free[0] * bufferSize
		n := copy(d.tx.mem[off:off+bufferSize], p[written:])
		d.tx.offer(n, false)
		d.tx.Kick()
		written += n
	}
	return written, nil
}

// Close resets the device and gives back its memory. Output that it has not
// printed is lost. Neither Read nor Write may be used afterwards; a Read that
// is under way ends with an error.
func (d *Device) Close() error {
	if err := d.dev.Close(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = errors.New("virtio-console: closed")
	}
	d.input = nil
	d.wake.Broadcast()
	return d.release()
}

// release frees the pages. The device has been reset.
func (d *Device) release() error {
	var err error
	for _, q := range []*queue{&d.rx, &d.tx} {
		if q.mem != nil {
			err = errors.Join(err, d.dev.Memory().Free(q.mem))
			q.mem = nil
		}
	}
	return err
}
