// Package p9 drives virtio devices that carry 9P (device number 9 in virtio 1.2
// §5; their layout is that of Linux's include/uapi/linux/virtio_9p.h): one
// queue, whose buffers are a message to the server and room for its reply. A
// device has a tag, by which it is mounted.
//
// A Device is what kernel/fs/ninep calls a Transport.
//
// Context: ordinary goroutines, any number at once. A goroutine of the device's
// wakes them on an interrupt.
package p9

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"unicode/utf8"

	"kiln/kernel/virtio"
)

// FeatureMountTag says that there is a tag in the configuration.
const FeatureMountTag virtio.Features = 1 << 0

// Device configuration: the tag's length, 16 bits, and the tag.
const (
	configTagLength = 0
	configTag       = 2
	maxTag          = 255 // bytes
)

const (
	queueRequest = 0
	requests     = 4        // in flight
	maxMessage   = 64 << 10 // bytes
	segments     = 2        // of a buffer: message and reply
)

// A slot is memory for a request and its reply.
type slot struct {
	mem  []byte          // the device's from Push to Pop
	phys virtio.PhysAddr // of mem
	done chan int        // gets the bytes that the device wrote; closed if it failed
}

func (s *slot) request() []byte { return s.mem[:maxMessage] }
func (s *slot) reply() []byte   { return s.mem[maxMessage:] }

// Device is a 9P device.
type Device struct {
	dev  *virtio.Device
	tag  string
	free chan *slot // those not in use
	all  []*slot

	mu     sync.Mutex
	queue  *virtio.Queue              // guarded by mu
	flight [requests * segments]*slot // guarded by mu: by buffer identity
	failed error                      // guarded by mu: why the device is out of order
}

// Open starts a device.
func Open(t virtio.Transport, mem virtio.Memory) (*Device, error) {
	if id := t.DeviceID(); id != virtio.Device9P {
		return nil, fmt.Errorf("virtio-9p: this is a %v", id)
	}
	dev, err := virtio.Start(t, mem, FeatureMountTag, virtio.FeatureEventIdx)
	if err != nil {
		return nil, err
	}
	d := &Device{dev: dev, free: make(chan *slot, requests)}
	if err := d.setUp(mem); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	go d.run()
	return d, nil
}

func (d *Device) setUp(mem virtio.Memory) error {
	var err error
	if d.tag, err = readTag(d.dev); err != nil {
		return err
	}
	if d.queue, err = d.dev.NewQueue(queueRequest, requests*segments, 1); err != nil {
		return err
	}
	// A queue of the device's choice may be shorter.
	for range min(requests, d.queue.Size()/segments) {
		s := &slot{}
		if s.mem, s.phys, err = mem.Alloc(virtio.Pages(2 * maxMessage)); err != nil {
			return fmt.Errorf("virtio-9p: %w", err)
		}
		d.all = append(d.all, s)
		d.free <- s
	}
	return d.dev.Ready()
}

// readTag reads the tag.
func readTag(dev *virtio.Device) (string, error) {
	var length [2]byte
	if err := dev.ReadConfig(configTagLength, length[:]); err != nil {
		return "", fmt.Errorf("virtio-9p: %w", err)
	}
	n := binary.LittleEndian.Uint16(length[:])
	if n == 0 || n > maxTag {
		return "", fmt.Errorf("virtio-9p: a tag of %d bytes: %w", n, virtio.ErrDevice)
	}
	tag := make([]byte, n)
	if err := dev.ReadConfig(configTag, tag); err != nil {
		return "", fmt.Errorf("virtio-9p: %w", err)
	}
	if !utf8.Valid(tag) {
		return "", fmt.Errorf("virtio-9p: the tag %q is no text: %w", tag, virtio.ErrDevice)
	}
	return string(tag), nil
}

// Tag returns the name by which the device is mounted.
func (d *Device) Tag() string { return d.tag }

// MaxMessage returns the size of the largest message, in bytes.
func (d *Device) MaxMessage() int { return maxMessage }

// RoundTrip sends the message that the parts of request are, and puts what the
// server answers into the parts of reply, filling one after the other. It
// returns how many bytes the answer has.
func (d *Device) RoundTrip(request, reply [][]byte) (int, error) {
	s := <-d.free
	defer func() { d.free <- s }()
	send, receive := 0, 0
	for _, p := range request {
		if len(p) > maxMessage-send {
			return 0, fmt.Errorf("virtio-9p: a message of more than %d bytes: %w", maxMessage, syscall.EMSGSIZE)
		}
		send += copy(s.request()[send:], p)
	}
	for _, p := range reply {
		receive = min(receive+len(p), maxMessage)
	}
	if err := d.push(s, send, receive); err != nil {
		return 0, err
	}
	n, ok := <-s.done
	if !ok {
		return 0, d.why()
	}
	got := s.reply()[:n]
	for _, p := range reply {
		got = got[copy(p, got):]
	}
	return n, nil
}

// push gives a slot's buffers to the device.
func (d *Device) push(s *slot, send, receive int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return d.failed
	}
	id, ok := d.queue.Push(
		virtio.Segment{Addr: s.phys, Len: uint32(send)},
		virtio.Segment{Addr: s.phys + maxMessage, Len: uint32(receive), Write: true},
	)
	if !ok {
		// There are descriptors for all slots.
		return d.fail(fmt.Errorf("no room for a request: %w", errors.Join(d.queue.Err(), virtio.ErrDevice)))
	}
	s.done = make(chan int, 1)
	d.flight[id] = s
	d.queue.Kick()
	return nil
}

// run takes back buffers until the device fails or is closed.
func (d *Device) run() {
	for d.take() {
		if err := d.dev.Wait(); err != nil {
			d.mu.Lock()
			// What fail returns is told to who asks next.
			_ = d.fail(fmt.Errorf("interrupt: %w", err))
			d.mu.Unlock()
			return
		}
	}
}

// take takes back what the device is done with, and asks for an interrupt for
// the next. It returns false if the device has failed.
func (d *Device) take() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		id, n, ok, err := d.queue.Pop()
		switch {
		case err != nil:
			_ = d.fail(err) // as above
			return false
		case ok:
			d.flight[id].done <- n
			d.flight[id] = nil
		case d.queue.EnableInterrupt(0):
			return true
		}
	}
}

// fail marks the device as out of order, once, and wakes who waits for it. It
// returns why it is. The caller holds mu.
func (d *Device) fail(err error) error {
	if d.failed == nil {
		d.failed = fmt.Errorf("virtio-9p: %w: %w", err, syscall.EIO)
	}
	for id, s := range d.flight {
		if s != nil {
			close(s.done)
			d.flight[id] = nil
		}
	}
	return d.failed
}

func (d *Device) why() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Close resets the device and gives back its memory. Requests must not be
// under way.
func (d *Device) Close() error {
	if err := d.dev.Close(); err != nil {
		return err // the device may still write to its memory: leak it
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.fail(errors.New("closed")) // for who still tries
	var err error
	for _, s := range d.all {
		err = errors.Join(err, d.dev.Memory().Free(s.mem))
	}
	d.all = nil
	return err
}
