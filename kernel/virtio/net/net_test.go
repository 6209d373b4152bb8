package net_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/net"
	"kiln/kernel/virtio/virtiotest"
)

var (
	macA = [6]byte{2, 0, 0, 0, 0, 0xa}
	macB = [6]byte{2, 0, 0, 0, 0, 0xb}
)

// sink is a Handler that keeps what it gets.
type sink struct {
	mu       sync.Mutex
	frames   [][]byte
	headers  []net.Header
	writable int
	got      chan struct{}
}

func newSink() *sink { return &sink{got: make(chan struct{}, 1)} }

func (s *sink) Frame(h *net.Header, parts [][]byte, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := bytes.Join(parts, nil)
	if len(f) != size {
		panic("size is not the sum of the parts")
	}
	s.frames = append(s.frames, f)
	s.headers = append(s.headers, *h)
}

func (s *sink) Idle() {
	select {
	case s.got <- struct{}{}:
	default:
	}
}

func (s *sink) Writable() {
	s.mu.Lock()
	s.writable++
	s.mu.Unlock()
	s.Idle()
}

// await waits until ok holds.
func (s *sink) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-s.got:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// pair opens two devices joined by a wire and runs their receivers.
func pair(t *testing.T, features virtio.Features) (a, b *net.Device, sa, sb *sink, pa, pb *virtiotest.Port) {
	t.Helper()
	pa, pb = virtiotest.NewPort(features, macA, 1500), virtiotest.NewPort(features, macB, 1500)
	sa, sb = newSink(), newSink()
	open := func(p *virtiotest.Port, s *sink) *net.Device {
		d, err := net.Open(p, p.Mem, net.Options{})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- d.Run(s) }()
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, virtiotest.ErrClosed) {
				t.Errorf("Run = %v, want %v", err, virtiotest.ErrClosed)
			}
			if n := p.Mem.Allocated(); n != 0 {
				t.Errorf("%d allocations left after Close", n)
			}
		})
		return d
	}
	a, b = open(pa, sa), open(pb, sb)
	virtiotest.Connect(pa, pb)
	t.Cleanup(func() {
		if err := virtiotest.Stop(pa, pb); err != nil {
			t.Error(err)
		}
	})
	return
}

// send sends one frame, waiting for room.
func send(t *testing.T, d *net.Device, s *sink, h *net.Header, frame []byte) {
	t.Helper()
	for {
		d.Tx.Lock()
		s.mu.Lock()
		before := s.writable
		s.mu.Unlock()
		if b := d.Tx.Reserve(len(frame)); b != nil {
			copy(b, frame)
			d.Tx.Commit(h)
			d.Tx.Kick()
			d.Tx.Unlock()
			return
		}
		wait := d.Tx.WantRoom()
		err := d.Tx.Err()
		d.Tx.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if wait {
			s.await(t, "room to send", func() bool { return s.writable > before })
		}
	}
}

func frame(n int, seed byte) []byte {
	f := make([]byte, n)
	for i := range f {
		f[i] = byte(i*7) + seed
	}
	copy(f, macB[:])
	copy(f[6:], macA[:])
	f[12], f[13] = 0x88, 0xb5 // local experiment, IEEE 802
	return f
}

func TestFrames(t *testing.T) {
	for _, tt := range []struct {
		name     string
		features virtio.Features
	}{
		{"all", net.Wanted},
		{"none", 0},
		{"event index", virtio.FeatureEventIdx},
		{"mergeable", net.FeatureMergeable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _, sa, sb, _, _ := pair(t, tt.features)
			var want [][]byte
			for i := range 2000 {
				f := frame(14+i%1501, byte(i))
				want = append(want, f)
				send(t, a, sa, &net.Header{}, f)
			}
			sb.await(t, "frames", func() bool { return len(sb.frames) == len(want) })
			for i := range want {
				if !bytes.Equal(sb.frames[i], want[i]) {
					t.Fatalf("frame %d of %d bytes arrived different (%d bytes)", i, len(want[i]), len(sb.frames[i]))
				}
			}
		})
	}
}

func TestLargeSegments(t *testing.T) {
	a, _, sa, sb, _, _ := pair(t, net.Wanted)
	h := net.Header{Flags: net.FlagNeedsChecksum, GSOType: net.GSOTCPv4, GSOSize: 1448, HeaderLen: 66, ChecksumStart: 34, ChecksumOffset: 16}
	const rounds = 40
	for i := range rounds {
		send(t, a, sa, &h, frame(net.MaxFrame-i, byte(i)))
	}
	sb.await(t, "large frames", func() bool { return len(sb.frames) == rounds })
	for i, got := range sb.frames {
		if !bytes.Equal(got, frame(net.MaxFrame-i, byte(i))) {
			t.Fatalf("frame %d arrived different", i)
		}
		if sb.headers[i] != h {
			t.Fatalf("header %d = %+v, want %+v", i, sb.headers[i], h)
		}
	}
	if sa.writable == 0 {
		t.Error("sending 2.6 MB never filled 256 KB")
	}
}

func TestConfig(t *testing.T) {
	p := virtiotest.NewPort(net.Wanted, macA, 9000)
	d, err := net.Open(p, p.Mem, net.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.MAC(); got != macA {
		t.Errorf("MAC = %x, want %x", got, macA)
	}
	if got := d.MTU(); got != 9000 {
		t.Errorf("MTU = %d, want 9000", got)
	}
	if up, err := d.LinkUp(); !up || err != nil {
		t.Errorf("LinkUp = %v, %v", up, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenFails(t *testing.T) {
	p := virtiotest.NewPort(net.FeatureMTU, macA, 40)
	if _, err := net.Open(p, p.Mem, net.Options{}); err == nil || !strings.Contains(err.Error(), "MTU 40") {
		t.Errorf("MTU 40: %v", err)
	}
	p = virtiotest.NewPort(0, macA, 1500)
	p.QueueLen = []int{256}
	if _, err := net.Open(p, p.Mem, net.Options{}); err == nil || !strings.Contains(err.Error(), "queue 1") {
		t.Errorf("no transmit queue: %v", err)
	}
	p = virtiotest.NewPort(0, macA, 1500)
	p.Mem.Limit = 4
	if _, err := net.Open(p, p.Mem, net.Options{}); err == nil || !strings.Contains(err.Error(), "receive buffers") {
		t.Errorf("no memory: %v", err)
	}
	p = virtiotest.NewPort(0, macA, 1500)
	p.ID = virtio.DeviceBlock
	if _, err := net.Open(p, p.Mem, net.Options{}); err == nil {
		t.Error("a block device is a network device")
	}
}

func TestFeatureDependencies(t *testing.T) {
	for _, tt := range []struct{ offered, want virtio.Features }{
		{net.FeatureHostTSO4, 0},
		{net.FeatureHostTSO4 | net.FeatureChecksum, net.FeatureHostTSO4 | net.FeatureChecksum},
		{net.FeatureGuestTSO4 | net.FeatureGuestChecksum, net.FeatureGuestChecksum},
		{net.FeatureGuestTSO4 | net.FeatureGuestChecksum | net.FeatureMergeable, net.FeatureGuestTSO4 | net.FeatureGuestChecksum | net.FeatureMergeable},
		{1 << 17, 0}, // control queue: not wanted
	} {
		p := virtiotest.NewPort(tt.offered, macA, 1500)
		if _, err := net.Open(p, p.Mem, net.Options{}); err != nil {
			t.Fatal(err)
		}
		if got, want := p.Accepted(), tt.want|virtio.FeatureVersion1; got != want {
			t.Errorf("of %v accepted %v, want %v", tt.offered, got, want)
		}
	}
}

// TestReceiveMisbehaviour lets the device give back receive buffers in ways
// that make no frame.
func TestReceiveMisbehaviour(t *testing.T) {
	write := func(r *virtiotest.Ring, buffers uint16) *virtiotest.Buffer {
		b, err := r.Pop()
		if err != nil || b == nil {
			t.Fatalf("no receive buffer: %v", err)
		}
		binary.LittleEndian.PutUint16(b.Write[0][10:], buffers)
		return b
	}
	for _, tt := range []struct {
		name string
		do   func(r *virtiotest.Ring)
		want string
	}{
		{"less than a header", func(r *virtiotest.Ring) { r.Push(write(r, 1), 11) }, "less than a header"},
		{"no buffers", func(r *virtiotest.Ring) { r.Push(write(r, 0), 60) }, "frame of 0 buffers"},
		{"too many buffers", func(r *virtiotest.Ring) { r.Push(write(r, 60000), 60) }, "frame of 60000 buffers"},
		{"frame ends early", func(r *virtiotest.Ring) { r.Push(write(r, 2), 60) }, "ends after 1"},
		{"more than a buffer", func(r *virtiotest.Ring) { r.Push(write(r, 1), 4096) }, "4096 bytes written of 2048"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := virtiotest.NewPort(net.Wanted, macA, 1500)
			d, err := net.Open(p, p.Mem, net.Options{})
			if err != nil {
				t.Fatal(err)
			}
			tt.do(p.Ring(0))
			s := newSink()
			err = d.Run(s)
			if !errors.Is(err, virtio.ErrDevice) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %q", err, tt.want)
			}
			if len(s.frames) != 0 {
				t.Errorf("%d frames delivered", len(s.frames))
			}
		})
	}
}

// TestTransmitOutOfOrder has the device finish frames newest first.
func TestTransmitOutOfOrder(t *testing.T) {
	p := virtiotest.NewPort(0, macA, 1500)
	d, err := net.Open(p, p.Mem, net.Options{TransmitBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Ring(1)
	for round := range 300 {
		var bufs []*virtiotest.Buffer
		for {
			b := d.Tx.Reserve(1514)
			if b == nil {
				break
			}
			copy(b, frame(1514, byte(round)))
			d.Tx.Commit(&net.Header{})
		}
		d.Tx.Kick()
		for b, err := r.Pop(); b != nil; b, err = r.Pop() {
			if err != nil {
				t.Fatal(err)
			}
			if got := b.Read[0][net.HeaderSize:]; !bytes.Equal(got, frame(1514, byte(round))) {
				t.Fatalf("round %d: a frame was overwritten", round)
			}
			bufs = append(bufs, b)
		}
		if len(bufs) < 64 {
			t.Fatalf("round %d: room for %d frames", round, len(bufs))
		}
		oldest := bufs[0]
		for i := len(bufs) - 1; i > 0; i-- {
			r.Push(bufs[i], 0)
		}
		if d.Tx.Reserve(1514) != nil {
			t.Fatalf("round %d: room while the oldest frame is in flight", round)
		}
		r.Push(oldest, 0)
	}
}

// FuzzReceive lets a device fill receive buffers with arbitrary lengths and
// headers. Each step is a byte: a length class and a buffer count.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0x11, 0x22, 0x32, 0x01})
	f.Add([]byte{0xf1, 0xf0})
	f.Fuzz(func(t *testing.T, in []byte) {
		p := virtiotest.NewPort(net.Wanted, macA, 1500)
		d, err := net.Open(p, p.Mem, net.Options{ReceiveBuffers: 8})
		if err != nil {
			t.Fatal(err)
		}
		r := p.Ring(0)
		for _, c := range in {
			b, err := r.Pop()
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				break
			}
			binary.LittleEndian.PutUint16(b.Write[0][10:], uint16(c&15))
			r.Push(b, int(c>>4)*137)
		}
		p.IRQ.Close()
		if err := d.Run(newSink()); !errors.Is(err, virtio.ErrDevice) && !errors.Is(err, virtiotest.ErrClosed) {
			t.Fatalf("Run = %v", err)
		}
	})
}

type discard struct{ n int }

func (d *discard) Frame(*net.Header, [][]byte, int) { d.n++ }
func (d *discard) Idle()                            {}
func (d *discard) Writable()                        {}

// BenchmarkTransmit is the driver's cost of a small frame, the device's part
// (a used ring entry) included.
func BenchmarkTransmit(b *testing.B) {
	p := virtiotest.NewPort(net.Wanted, macA, 1500)
	d, err := net.Open(p, p.Mem, net.Options{})
	if err != nil {
		b.Fatal(err)
	}
	r := p.Ring(1)
	f := frame(120, 1)
	used := make([]virtiotest.Used, 1)
	b.ReportAllocs()
	for b.Loop() {
		buf := d.Tx.Reserve(len(f))
		if copy(buf, f) != len(f) {
			b.Fatal("no room", d.Tx.Err())
		}
		d.Tx.Commit(&net.Header{})
		d.Tx.Kick()
		head, _, _ := r.Take()
		used[0].ID = uint32(head)
		r.PushAll(used)
	}
}

// BenchmarkReceive is the driver's cost of a small frame in a batch of 32, the
// device's part (used ring entries) included.
func BenchmarkReceive(b *testing.B) {
	p := virtiotest.NewPort(net.Wanted, macA, 1500)
	d, err := net.Open(p, p.Mem, net.Options{})
	if err != nil {
		b.Fatal(err)
	}
	r := p.Ring(0)
	for buf, err := r.Pop(); buf != nil; buf, err = r.Pop() {
		if err != nil {
			b.Fatal(err)
		}
		binary.LittleEndian.PutUint16(buf.Write[0][10:], 1)
		r.Push(buf, net.HeaderSize+120)
	}
	const n = 32
	p.IRQ.Close()
	// Buffers go round once the ring is drained: 32 at a time from here on.
	if err := d.Run(&discard{}); !errors.Is(err, virtiotest.ErrClosed) {
		b.Fatal(err)
	}
	used := make([]virtiotest.Used, n)
	h := &discard{}
	b.ReportAllocs()
	for b.Loop() {
		for i := range used {
			head, ok, err := r.Take()
			if !ok {
				b.Fatal("no receive buffer", err)
			}
			used[i] = virtiotest.Used{ID: uint32(head), Len: net.HeaderSize + 120}
		}
		r.PushAll(used)
		d.Run(h)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(h.n), "ns/frame")
}
