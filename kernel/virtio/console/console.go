// Package console drives port 1 of virtio consoles with several ports (virtio
// 1.2 §5.3), which other than port 0 waits for a host that does not read: what
// was written is not lost.
//
// Context: ordinary goroutines. One goroutine of the package waits for
// interrupts and wakes who waits for the queues. Device.tx is a leaf lock.
package console

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"kiln/kernel/machine"
	"kiln/kernel/virtio"
)

// FeatureMultiport: the device has several ports and control queues.
const FeatureMultiport virtio.Features = 1 << 1

// Queues, virtio 1.2 §5.3.2.
const (
	queueControlReceive  = 2
	queueControlTransmit = 3
	queueReceive         = 4 // of port 1
	queueTransmit        = 5
)

// Sizes. BufferSize is how much is sent at once at the most.
const (
	BufferSize     = 8 * machine.PageSize
	sendBuffers    = 4
	receiveBuffers = 8
	receiveSize    = machine.PageSize // QEMU gives no more at once
	controlBuffers = 8
	controlSize    = machine.PageSize / controlBuffers
)

// openTimeout is how long a device may take to show its port.
const openTimeout = 2 * time.Second

// ErrNoPort says that a console has no port of the wanted name.
var ErrNoPort = errors.New("virtio-console: no such port")

// Device is a console with its port 1 open.
type Device struct {
	dev   *virtio.Device
	space func() // called when a Buffer may be had again

	mu       sync.Mutex
	wake     sync.Cond // the device has interrupted; L is mu
	err      error     // guarded by mu: the device is out of order
	control  ring      // guarded by mu
	commands ring      // guarded by mu
	rx       ring      // guarded by mu
	input    []byte    // received, not yet read; part of buffer inputIndex of rx
	inputAt  int       // guarded by mu

	txMu    sync.Mutex
	tx      ring  // guarded by txMu
	txErr   error // guarded by txMu
	waiting bool  // somebody wants a Buffer; guarded by txMu
}

// Open starts a device, and opens its port 1 if that has the name. space is
// called on a goroutine of the package when a Buffer may be had again that
// there was not; it may be nil.
func Open(t virtio.Transport, mem virtio.Memory, name string, space func()) (*Device, error) {
	if id := t.DeviceID(); id != virtio.DeviceConsole {
		return nil, fmt.Errorf("virtio-console: this is a %v", id)
	}
	if t.DeviceFeatures()&FeatureMultiport == 0 {
		return nil, errors.Join(ErrNoPort, t.Close())
	}
	// Without event indexes interrupts are on or off.
	dev, err := virtio.Start(t, mem, FeatureMultiport, 0)
	if err != nil {
		return nil, err
	}
	d := &Device{dev: dev, space: space}
	d.wake.L = &d.mu
	if err := d.setUp(); err != nil {
		return nil, errors.Join(err, d.dev.Close(), d.release())
	}
	go d.run()
	if err := d.connect(name); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// setUp makes the queues, and gives the device buffers to fill.
func (d *Device) setUp() error {
	for _, q := range []struct {
		ring          *ring
		index         int
		buffers, size int
	}{
		{&d.control, queueControlReceive, controlBuffers, controlSize},
		{&d.commands, queueControlTransmit, controlBuffers, controlSize},
		{&d.rx, queueReceive, receiveBuffers, receiveSize},
		{&d.tx, queueTransmit, sendBuffers, BufferSize},
	} {
		if err := q.ring.open(d.dev, q.index, q.buffers, q.size); err != nil {
			return err
		}
	}
	d.tx.DisableInterrupt()
	d.commands.DisableInterrupt()
	for _, r := range []*ring{&d.control, &d.rx} {
		for len(r.free) > 0 {
			r.push(r.take(), r.size, true)
		}
	}
	if err := d.dev.Ready(); err != nil {
		return err
	}
	d.control.Kick()
	d.rx.Kick()
	return nil
}

// run wakes those who wait for the device, until it fails or is closed.
func (d *Device) run() {
	for {
		err := d.dev.Wait()
		if err != nil {
			d.fail(fmt.Errorf("virtio-console: interrupt: %w", err))
			return
		}
		d.mu.Lock()
		d.wake.Broadcast()
		d.mu.Unlock()
		d.checkSpace()
	}
}

// fail puts the device out of order, and wakes who waits for it.
func (d *Device) fail(err error) {
	d.mu.Lock()
	if d.err == nil {
		d.err = err
	}
	d.wake.Broadcast()
	d.mu.Unlock()
	d.txMu.Lock()
	if d.txErr == nil {
		d.txErr = err
	}
	d.txMu.Unlock()
	if d.space != nil {
		d.space()
	}
}

// Read returns what the host has sent. It blocks until there is something. One
// goroutine may read.
func (d *Device) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.input) == 0 {
		i, n, ok, err := d.rx.pop()
		switch {
		case d.err != nil:
			return 0, d.err
		case err != nil:
			d.err = err
		case !ok:
			d.wake.Wait()
		default:
			d.inputAt, d.input = i, d.rx.bytes(i)[:n]
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

// recycle gives the input's buffer back to the device. The caller holds mu.
func (d *Device) recycle() {
	d.rx.push(d.inputAt, receiveSize, true)
	d.rx.Kick()
}

// A Buffer is memory that the device can send.
type Buffer struct {
	Bytes []byte // BufferSize of them
	index int
}

// Buffer returns memory for the caller to fill and to Send or Cancel, or nil if
// the device has all of it: then space will be called.
func (d *Device) Buffer() (*Buffer, error) {
	d.txMu.Lock()
	defer d.txMu.Unlock()
	for {
		if err := d.reap(); err != nil {
			return nil, err
		}
		if len(d.tx.free) > 0 {
			i := d.tx.take()
			return &Buffer{d.tx.bytes(i), i}, nil
		}
		d.waiting = true
		if d.tx.EnableInterrupt(0) {
			return nil, nil
		}
	}
}

// reap takes back what the device has sent. The caller holds txMu.
func (d *Device) reap() error {
	for d.txErr == nil {
		i, _, ok, err := d.tx.pop()
		if err != nil {
			d.txErr = err
		}
		if !ok {
			break
		}
		d.tx.free = append(d.tx.free, i)
	}
	return d.txErr
}

// checkSpace calls space if somebody waits for a Buffer and there is one.
func (d *Device) checkSpace() {
	d.txMu.Lock()
	wanted := d.waiting && (d.reap() != nil || len(d.tx.free) > 0)
	if wanted {
		d.waiting = false
		d.tx.DisableInterrupt()
	}
	d.txMu.Unlock()
	if wanted && d.space != nil {
		d.space()
	}
}

// Send sends the first n bytes of a Buffer, which is the device's from then on.
func (d *Device) Send(b *Buffer, n int) error {
	d.txMu.Lock()
	defer d.txMu.Unlock()
	if d.txErr != nil {
		return d.txErr
	}
	d.tx.push(b.index, n, false)
	d.tx.Kick()
	return nil
}

// Cancel gives back a Buffer that is not to be sent.
func (d *Device) Cancel(b *Buffer) {
	d.txMu.Lock()
	d.tx.free = append(d.tx.free, b.index)
	wanted := d.waiting
	d.waiting = false
	d.txMu.Unlock()
	if wanted && d.space != nil {
		d.space()
	}
}

// Flush waits until the host has all that was sent, at the most for so long. It
// reports whether that was enough.
func (d *Device) Flush(patience time.Duration) bool {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		d.txMu.Lock()
		err := d.reap()
		left := d.tx.InFlight()
		d.txMu.Unlock()
		if left == 0 || err != nil {
			return err == nil
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Close resets the device and gives back its memory. What it has not sent is
// lost. The device may not be used afterwards; a Read that is under way ends
// with an error.
func (d *Device) Close() error {
	if err := d.dev.Close(); err != nil {
		return err
	}
	d.fail(errors.New("virtio-console: closed"))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.txMu.Lock()
	defer d.txMu.Unlock()
	d.input = nil
	return d.release()
}

// release frees the buffers. The device has been reset.
func (d *Device) release() error {
	var err error
	for _, r := range []*ring{&d.control, &d.commands, &d.rx, &d.tx} {
		if r.mem != nil {
			err = errors.Join(err, d.dev.Memory().Free(r.mem))
			r.mem = nil
		}
	}
	return err
}
