package virtiotest

import (
	"fmt"
	"sync"

	"kiln/kernel/virtio"
)

// Transport is a virtio.Transport to a device model. The fields above mu are
// set before use.
type Transport struct {
	ID       virtio.DeviceID
	Offered  virtio.Features
	QueueLen []int // largest size, by queue
	Config   []byte
	Mem      *Memory
	IRQ      *Interrupt
	// OnNotify is called for each notification.
	OnNotify func(queue int)
	// RefuseFeatures makes the device clear FEATURES_OK.
	RefuseFeatures bool

	mu       sync.Mutex
	accepted virtio.Features // guarded by mu
	status   uint8           // guarded by mu
	rings    map[int]*Ring   // guarded by mu
}

var _ virtio.Transport = (*Transport)(nil)

func (t *Transport) DeviceID() virtio.DeviceID       { return t.ID }
func (t *Transport) DeviceFeatures() virtio.Features { return t.Offered }

func (t *Transport) SetDriverFeatures(f virtio.Features) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted = f
}

func (t *Transport) Status() uint8 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

func (t *Transport) SetStatus(s uint8) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == 0 {
		t.rings, t.accepted = map[int]*Ring{}, 0
	}
	if t.RefuseFeatures || t.accepted&^t.Offered != 0 {
		s &^= 8
	}
	t.status = s
	return nil
}

func (t *Transport) QueueMax(i int) int {
	if i >= len(t.QueueLen) {
		return 0
	}
	return t.QueueLen[i]
}

func (t *Transport) EnableQueue(i, size int, desc, avail, used virtio.PhysAddr) error {
	if size > t.QueueMax(i) || size&(size-1) != 0 {
		return fmt.Errorf("queue %d of size %d", i, size)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := NewRing(t.Mem, size, desc, avail, used, t.accepted&virtio.FeatureEventIdx != 0)
	if err != nil {
		return err
	}
	t.rings[i] = r
	return nil
}

// Ring returns the device's side of a queue, nil if it is not enabled.
func (t *Transport) Ring(i int) *Ring {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rings[i]
}

// Accepted returns the features that the driver accepted.
func (t *Transport) Accepted() virtio.Features {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accepted
}

func (t *Transport) Notify(i int) {
	if r := t.Ring(i); r != nil {
		r.Notifications.Add(1)
	}
	if t.OnNotify != nil {
		t.OnNotify(i)
	}
}

func (t *Transport) ReadConfig(off int, b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if off < 0 || off+len(b) > len(t.Config) {
		return fmt.Errorf("configuration %d+%d of %d bytes", off, len(b), len(t.Config))
	}
	copy(b, t.Config[off:])
	return nil
}

// SetConfig changes the configuration and interrupts the driver.
func (t *Transport) SetConfig(off int, b []byte) {
	t.mu.Lock()
	copy(t.Config[off:], b)
	t.mu.Unlock()
	t.IRQ.Fire()
}

func (t *Transport) Wait() error  { return t.IRQ.Wait() }
func (t *Transport) Close() error { return t.IRQ.Close() }
