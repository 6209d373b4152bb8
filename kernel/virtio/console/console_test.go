package console_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/console"
	"kiln/kernel/virtio/virtiotest"
)

const portName = "the.port"

// model is a console device with a port 1: what is sent there goes to out, as
// long as its host reads.
type model struct {
	*virtiotest.Transport
	name string

	mu     sync.Mutex // guards the rings and what follows
	out    bytes.Buffer
	held   bool // the host does not read
	opened bool
}

func newModel(name string, features virtio.Features) *model {
	m := &model{name: name}
	m.Transport = &virtiotest.Transport{
		ID: virtio.DeviceConsole, Offered: virtio.FeatureVersion1 | features, QueueLen: []int{64, 64, 32, 32, 64, 64},
		Mem: new(virtiotest.Memory), IRQ: virtiotest.NewInterrupt(), Config: make([]byte, 12),
	}
	m.OnNotify = func(i int) {
		switch i {
		case 3:
			go m.command()
		case 5:
			go m.take()
		}
	}
	return m
}

func (m *model) isOpen() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opened
}

// received returns what the driver has sent.
func (m *model) received() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Bytes()
}

// hold makes the host read or not.
func (m *model) hold(held bool) {
	m.mu.Lock()
	m.held = held
	m.mu.Unlock()
	m.take()
}

// take reads what the driver has sent.
func (m *model) take() {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.Ring(5)
	for r != nil && !m.held {
		b, err := r.Pop()
		if err != nil {
			panic(err)
		}
		if b == nil {
			break
		}
		m.out.Write(b.Read[0])
		r.Push(b, 0)
		if r.WantsInterrupt() {
			m.IRQ.Fire()
		}
	}
}

// command answers control messages.
func (m *model) command() {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.Ring(3)
	for r != nil {
		b, err := r.Pop()
		if err != nil {
			panic(err)
		}
		if b == nil {
			break
		}
		port, event := binary.LittleEndian.Uint32(b.Read[0]), binary.LittleEndian.Uint16(b.Read[0][4:])
		r.Push(b, 0)
		switch {
		case event == 0 && m.name != "":
			m.say(0, 1, "") // a console first
			m.say(1, 1, "")
		case event == 3 && port == 1:
			m.say(1, 6, "")
			m.say(1, 7, m.name+"\x00")
		case event == 6 && port == 1:
			m.opened = true
		}
	}
}

// say sends a control message. m.mu is held.
func (m *model) say(port uint32, event uint16, text string) {
	r := m.Ring(2)
	b, err := r.Pop()
	if err != nil || b == nil {
		panic("no buffer for a control message")
	}
	binary.LittleEndian.PutUint32(b.Write[0], port)
	binary.LittleEndian.PutUint16(b.Write[0][4:], event)
	binary.LittleEndian.PutUint16(b.Write[0][6:], 1)
	r.Push(b, 8+copy(b.Write[0][8:], text))
	m.IRQ.Fire()
}

// typed gives the driver text to read.
func (m *model) typed(t *testing.T, text string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.Ring(4)
	b, err := r.Pop()
	if err != nil || b == nil {
		t.Fatalf("no buffer to type into: %v", err)
	}
	r.Push(b, copy(b.Write[0], text))
	if r.WantsInterrupt() {
		m.IRQ.Fire()
	}
}

// open opens the model's port; space has a value when there is room again.
func open(t *testing.T, m *model) (*console.Device, chan struct{}) {
	t.Helper()
	space := make(chan struct{}, 1)
	d, err := console.Open(m, m.Mem, portName, func() {
		select {
		case space <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, space
}

// send sends all of text, and waits for room.
func send(t *testing.T, d *console.Device, space chan struct{}, text []byte) {
	t.Helper()
	for len(text) > 0 {
		b, err := d.Buffer()
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			select {
			case <-space:
				continue
			case <-time.After(time.Minute):
				t.Fatal("there is never room again")
			}
		}
		n := copy(b.Bytes, text)
		if err := d.Send(b, n); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
}

func TestReadWrite(t *testing.T) {
	m := newModel(portName, console.FeatureMultiport)
	d, space := open(t, m)
	// More than all buffers together, so that somebody has to wait.
	text := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	send(t, d, space, text)
	if !d.Flush(time.Minute) {
		t.Error("Flush gives up")
	}
	for !m.isOpen() {
		time.Sleep(time.Millisecond)
	}
	if got := m.received(); !bytes.Equal(got, text) {
		t.Errorf("the host got %d bytes, want those %d that were sent", len(got), len(text))
	}
	for i := range 20 {
		want := bytes.Repeat([]byte("x"), i+1)
		m.typed(t, string(want))
		var got []byte
		for len(got) < len(want) {
			b := make([]byte, 3)
			n, err := d.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := m.Mem.Allocated(); n != 0 {
		t.Errorf("%d allocations left after Close", n)
	}
	if _, err := d.Read(make([]byte, 1)); err == nil {
		t.Error("Read after Close did not fail")
	}
	if _, err := d.Buffer(); err == nil {
		t.Error("Buffer after Close did not fail")
	}
}

// TestHostDoesNotRead: nothing is lost, nobody hangs.
func TestHostDoesNotRead(t *testing.T) {
	m := newModel(portName, console.FeatureMultiport)
	d, space := open(t, m)
	m.hold(true)
	sent := 0
	for {
		b, err := d.Buffer()
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			break
		}
		if err := d.Send(b, console.BufferSize); err != nil {
			t.Fatal(err)
		}
		sent += console.BufferSize
	}
	if d.Flush(10 * time.Millisecond) {
		t.Error("Flush says that the host has all")
	}
	m.hold(false)
	select {
	case <-space:
	case <-time.After(time.Minute):
		t.Fatal("nobody is told of room")
	}
	b, err := d.Buffer()
	if b == nil || err != nil {
		t.Fatalf("Buffer = %v, %v, want one", b, err)
	}
	d.Cancel(b)
	if !d.Flush(time.Minute) || len(m.received()) != sent {
		t.Errorf("the host got %d bytes, want %d", len(m.received()), sent)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOtherConsoles: what is not the port is left alone.
func TestOtherConsoles(t *testing.T) {
	for name, m := range map[string]*model{
		"one port":     newModel(portName, 0),
		"another port": newModel("another", console.FeatureMultiport),
		"no port":      newModel("", console.FeatureMultiport),
	} {
		if _, err := console.Open(m, m.Mem, portName, nil); !errors.Is(err, console.ErrNoPort) {
			t.Errorf("%s: Open = %v, want %v", name, err, console.ErrNoPort)
		}
		if n := m.Mem.Allocated(); n != 0 {
			t.Errorf("%s: %d allocations left", name, n)
		}
		if m.isOpen() {
			t.Errorf("%s: its port was opened", name)
		}
	}
}

func TestMisbehaviour(t *testing.T) {
	m := newModel(portName, console.FeatureMultiport)
	d, _ := open(t, m)
	m.Ring(4).PushAll([]virtiotest.Used{{ID: 0, Len: 1 << 30}})
	m.IRQ.Fire()
	if _, err := d.Read(make([]byte, 8)); !errors.Is(err, virtio.ErrDevice) {
		t.Errorf("Read = %v, want %v", err, virtio.ErrDevice)
	}
	m.Ring(5).PushAll([]virtiotest.Used{{ID: 3, Len: 0}})
	if _, err := d.Buffer(); !errors.Is(err, virtio.ErrDevice) {
		t.Errorf("Buffer = %v, want %v", err, virtio.ErrDevice)
	}
}
