// Package rng drives virtio entropy devices (virtio 1.2 §5.4).
//
// Context: ordinary goroutines.
package rng

import (
	"errors"
	"fmt"
	"sync"

	"kiln/kernel/machine"
	"kiln/kernel/virtio"
)

const queueRequest = 0

// Device is a source of random bytes.
type Device struct {
	dev *virtio.Device

	mu    sync.Mutex
	queue *virtio.Queue   // guarded by mu
	mem   []byte          // the device's from Push to Pop; else guarded by mu
	phys  virtio.PhysAddr // of mem
}

// Open starts a device.
func Open(t virtio.Transport, mem virtio.Memory) (*Device, error) {
	if id := t.DeviceID(); id != virtio.DeviceRNG {
		return nil, fmt.Errorf("virtio-rng: this is a %v", id)
	}
	// Without event indexes interrupts are simply on.
	dev, err := virtio.Start(t, mem, 0, 0)
	if err != nil {
		return nil, err
	}
	d := &Device{dev: dev}
	if d.queue, err = dev.NewQueue(queueRequest, 2, 1); err == nil {
		d.mem, d.phys, err = mem.Alloc(1)
	}
	if err == nil {
		err = dev.Ready()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Read fills the start of p with random bytes and returns how many the device
// gave. It blocks until there are some.
func (d *Device) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	want := min(len(p), machine.PageSize)
	if _, ok := d.queue.Push(virtio.Segment{Addr: d.phys, Len: uint32(want), Write: true}); !ok {
		return 0, fmt.Errorf("virtio-rng: no room for a request: %w", errors.Join(d.queue.Err(), virtio.ErrDevice))
	}
	d.queue.Kick()
	for {
		_, n, ok, err := d.queue.Pop()
		if err != nil {
			return 0, err
		}
		if ok {
			if n == 0 {
				return 0, fmt.Errorf("virtio-rng: no bytes given: %w", virtio.ErrDevice)
			}
			copy(p, d.mem[:n])
			clear(d.mem[:n]) // nobody else is to know them
			return n, nil
		}
		if err := d.dev.Wait(); err != nil {
			return 0, fmt.Errorf("virtio-rng: interrupt: %w", err)
		}
	}
}

// Close resets the device and gives back its memory. A Read must not be under
// way.
func (d *Device) Close() error {
	if err := d.dev.Close(); err != nil || d.mem == nil {
		return err
	}
	return d.dev.Memory().Free(d.mem)
}
