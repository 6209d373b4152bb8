package console_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/console"
	"kiln/kernel/virtio/virtiotest"
)

// model is a console device: it prints to out, and types what it is told.
type model struct {
	*virtiotest.Transport
	mu      sync.Mutex // guards the rings and out
	out     bytes.Buffer
	printed chan struct{}
}

func newModel(features virtio.Features) *model {
	m := &model{printed: make(chan struct{}, 1)}
	m.Transport = &virtiotest.Transport{
		ID: virtio.DeviceConsole, Offered: virtio.FeatureVersion1 | features, QueueLen: []int{64, 64},
		Mem: new(virtiotest.Memory), IRQ: virtiotest.NewInterrupt(), Config: make([]byte, 4),
	}
	m.OnNotify = func(i int) {
		if i == 1 {
			go m.print()
		}
	}
	return m
}

func (m *model) print() {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.Ring(1)
	if r == nil {
		return // reset meanwhile
	}
	for {
		b, err := r.Pop()
		if err != nil {
			panic(err)
		}
		if b == nil {
			break
		}
		m.out.Write(b.Read[0])
		r.Push(b, 0)
	}
	if r.WantsInterrupt() {
		m.IRQ.Fire()
	}
	select {
	case m.printed <- struct{}{}:
	default:
	}
}

func (m *model) typed(t *testing.T, text string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.Ring(0)
	b, err := r.Pop()
	if err != nil || b == nil {
		t.Fatalf("no buffer to type into: %v", err)
	}
	r.Push(b, copy(b.Write[0], text))
	if r.WantsInterrupt() {
		m.IRQ.Fire()
	}
}

func TestReadWrite(t *testing.T) {
	m := newModel(0)
	d, err := console.Open(m, m.Mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	// More than all buffers together, so that Write has to wait.
	text := []byte(strings.Repeat("0123456789abcdef", 5000))
	if n, err := d.Write(text); n != len(text) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	for {
		m.mu.Lock()
		done := m.out.Len() >= len(text)
		m.mu.Unlock()
		if done {
			break
		}
		<-m.printed
	}
	if !bytes.Equal(m.out.Bytes(), text) {
		t.Error("what was printed is not what was written")
	}
	for i := range 20 {
		want := strings.Repeat("x", i+1)
		m.typed(t, want)
		var got []byte
		for len(got) < len(want) {
			b := make([]byte, 3)
			n, err := d.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		if string(got) != want {
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
}

func TestResize(t *testing.T) {
	m := newModel(console.FeatureSize)
	binary.LittleEndian.PutUint16(m.Config, 80)
	binary.LittleEndian.PutUint16(m.Config[2:], 25)
	sizes := make(chan [2]int, 4)
	d, err := console.Open(m, m.Mem, func(c, r int) { sizes <- [2]int{c, r} })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := <-sizes, [2]int{80, 25}; got != want {
		t.Errorf("size %v, want %v", got, want)
	}
	m.SetConfig(0, []byte{132, 0, 43, 0})
	if got, want := <-sizes, [2]int{132, 43}; got != want {
		t.Errorf("size %v, want %v", got, want)
	}
	if c, r := d.Size(); c != 132 || r != 43 {
		t.Errorf("Size = %d, %d; want 132, 43", c, r)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMisbehaviour(t *testing.T) {
	m := newModel(0)
	d, err := console.Open(m, m.Mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Ring(0).PushAll([]virtiotest.Used{{ID: 0, Len: 1 << 30}})
	if _, err := d.Read(make([]byte, 8)); !errors.Is(err, virtio.ErrDevice) {
		t.Errorf("Read = %v, want %v", err, virtio.ErrDevice)
	}
	if _, err := d.Write([]byte("x")); !errors.Is(err, virtio.ErrDevice) {
		t.Errorf("Write after that = %v, want %v", err, virtio.ErrDevice)
	}
}
