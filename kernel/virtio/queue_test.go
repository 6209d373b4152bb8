package virtio_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/virtiotest"
)

// newQueue returns a queue of a started device and the device's side of it.
func newQueue(t testing.TB, size int, features virtio.Features, segments int) (*virtio.Queue, *virtiotest.Ring, *virtiotest.Transport) {
	t.Helper()
	mem := new(virtiotest.Memory)
	tr := &virtiotest.Transport{
		ID: virtio.DeviceBlock, Offered: virtio.FeatureVersion1 | features,
		QueueLen: []int{size}, Mem: mem, IRQ: virtiotest.NewInterrupt(),
	}
	d, err := virtio.Start(tr, mem, 0, features)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.NewQueue(0, size, segments)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(); err != nil {
		t.Fatal(err)
	}
	return q, tr.Ring(0), tr
}

func buffer(t testing.TB, mem *virtiotest.Memory) ([]byte, virtio.PhysAddr) {
	t.Helper()
	b, phys, err := mem.Alloc(1)
	if err != nil {
		t.Fatal(err)
	}
	return b, phys
}

func TestQueueRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name     string
		features virtio.Features
		segments int
	}{
		{"plain", 0, 1},
		{"event index", virtio.FeatureEventIdx, 1},
		{"indirect", virtio.FeatureIndirect | virtio.FeatureEventIdx, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const size = 8
			q, ring, tr := newQueue(t, size, tt.features, tt.segments)
			mem, phys := buffer(t, tr.Mem)
			// Enough rounds that the 16-bit indexes wrap.
			for round := range 70000 / 2 {
				msg := binary.LittleEndian.AppendUint32(nil, uint32(round))
				copy(mem, msg)
				segs := []virtio.Segment{{Addr: phys, Len: 2}, {Addr: phys + 2, Len: 2}, {Addr: phys + 100, Len: 8, Write: true}}
				a, ok := q.Push(segs...)
				b, ok2 := q.Push(virtio.Segment{Addr: phys + 200, Len: 4, Write: true})
				if !ok || !ok2 || a == b {
					t.Fatalf("round %d: Push = %d %v, %d %v", round, a, ok, b, ok2)
				}
				if buf, err := ring.Pop(); buf != nil || err != nil {
					t.Fatalf("round %d: the device sees %+v, %v before Kick", round, buf, err)
				}
				q.Kick()
				first, err := ring.Pop()
				if err != nil {
					t.Fatal(err)
				}
				second, err := ring.Pop()
				if err != nil {
					t.Fatal(err)
				}
				if got := bytes.Join(first.Read, nil); !bytes.Equal(got, msg) {
					t.Fatalf("round %d: device reads %x, want %x", round, got, msg)
				}
				copy(first.Write[0], "answer")
				ring.Push(second, 1) // out of order
				ring.Push(first, 6)
				for _, want := range []struct{ id, n int }{{b, 1}, {a, 6}} {
					id, n, ok, err := q.Pop()
					if id != want.id || n != want.n || !ok || err != nil {
						t.Fatalf("round %d: Pop = %d, %d, %v, %v; want %d, %d", round, id, n, ok, err, want.id, want.n)
					}
				}
				if _, _, ok, err := q.Pop(); ok || err != nil {
					t.Fatalf("round %d: Pop of nothing = %v, %v", round, ok, err)
				}
			}
			if got := string(mem[100:106]); got != "answer" {
				t.Errorf("device wrote %q, want %q", got, "answer")
			}
			if got := q.Free(); got != size {
				t.Errorf("Free = %d at the end, want %d", got, size)
			}
		})
	}
}

func TestQueueFull(t *testing.T) {
	q, ring, _ := newQueue(t, 4, 0, 1)
	one := virtio.Segment{Addr: 1 << 32, Len: 1}
	if _, ok := q.Push(one, one, one); !ok {
		t.Fatal("no room for 3 of 4")
	}
	if _, ok := q.Push(one, one); ok {
		t.Error("room for 5 of 4")
	}
	if _, ok := q.Push(one); !ok {
		t.Error("no room for 4 of 4")
	}
	if _, ok := q.Push(one); ok {
		t.Error("room for 5 of 4")
	}
	if got, want := q.InFlight(), 2; got != want {
		t.Errorf("InFlight = %d, want %d", got, want)
	}
	q.Kick()
	b, err := ring.Pop()
	if err != nil {
		t.Fatal(err)
	}
	ring.Push(b, 0)
	if _, _, ok, err := q.Pop(); !ok || err != nil {
		t.Fatalf("Pop = %v, %v", ok, err)
	}
	if got, want := q.Free(), 3; got != want {
		t.Errorf("Free = %d, want %d", got, want)
	}
}

func TestQueueIndirectTakesOneDescriptor(t *testing.T) {
	q, _, _ := newQueue(t, 4, virtio.FeatureIndirect, 3)
	one := virtio.Segment{Addr: 1 << 32, Len: 1}
	for i := range 4 {
		if _, ok := q.Push(one, one, one); !ok {
			t.Fatalf("no room for buffer %d of 4", i)
		}
	}
	if q.Free() != 0 {
		t.Errorf("Free = %d, want 0", q.Free())
	}
}

func TestQueueNotifications(t *testing.T) {
	one := virtio.Segment{Addr: 1 << 32, Len: 1}
	t.Run("event index", func(t *testing.T) {
		q, ring, _ := newQueue(t, 8, virtio.FeatureEventIdx, 1)
		push := func(n int) {
			for range n {
				q.Push(one)
			}
			q.Kick()
		}
		push(3)
		if got := ring.Notifications.Load(); got != 1 {
			t.Errorf("%d notifications for the first batch, want 1", got)
		}
		push(2) // the device has not looked: it is still busy
		if got := ring.Notifications.Load(); got != 1 {
			t.Errorf("%d notifications while the device is busy, want 1", got)
		}
		for b, err := ring.Pop(); b != nil; b, err = ring.Pop() {
			if err == nil {
				ring.Push(b, 0)
			}
		}
		push(1)
		if got := ring.Notifications.Load(); got != 2 {
			t.Errorf("%d notifications after the device went idle, want 2", got)
		}
		q.Kick()
		if got := ring.Notifications.Load(); got != 2 {
			t.Errorf("%d notifications after an empty Kick, want 2", got)
		}
	})
	t.Run("flag", func(t *testing.T) {
		q, ring, _ := newQueue(t, 8, 0, 1)
		q.Push(one)
		q.Kick()
		ring.SuppressNotifies = true
		ring.SetUsedIndex(0)
		q.Push(one)
		q.Kick()
		if got := ring.Notifications.Load(); got != 1 {
			t.Errorf("%d notifications, want 1", got)
		}
	})
}

func TestQueueInterrupts(t *testing.T) {
	for _, f := range []virtio.Features{0, virtio.FeatureEventIdx} {
		t.Run(f.String(), func(t *testing.T) {
			q, ring, tr := newQueue(t, 8, f, 1)
			_, phys := buffer(t, tr.Mem)
			use := func(n int) {
				for range n {
					q.Push(virtio.Segment{Addr: phys, Len: 1})
					q.Kick()
					b, err := ring.Pop()
					if err != nil {
						t.Fatal(err)
					}
					ring.Push(b, 0)
				}
			}
			if !q.EnableInterrupt(0) {
				t.Fatal("EnableInterrupt says that there is something in an empty ring")
			}
			use(1)
			if !ring.WantsInterrupt() {
				t.Error("no interrupt after EnableInterrupt")
			}
			q.DisableInterrupt()
			use(2)
			if ring.WantsInterrupt() {
				t.Error("interrupt after DisableInterrupt")
			}
			if q.EnableInterrupt(0) {
				t.Error("EnableInterrupt says that a full ring is empty")
			}
			for range 3 {
				if _, _, ok, err := q.Pop(); !ok || err != nil {
					t.Fatalf("Pop = %v, %v", ok, err)
				}
			}
			if !q.EnableInterrupt(0) {
				t.Error("EnableInterrupt says that a drained ring is full")
			}
		})
	}
}

func TestQueueDelayedInterrupt(t *testing.T) {
	q, ring, tr := newQueue(t, 8, virtio.FeatureEventIdx, 1)
	_, phys := buffer(t, tr.Mem)
	for range 6 {
		q.Push(virtio.Segment{Addr: phys, Len: 1})
	}
	q.Kick()
	if !q.EnableInterrupt(3) {
		t.Fatal("EnableInterrupt(3) says that 4 were used")
	}
	for i := range 6 {
		b, err := ring.Pop()
		if err != nil {
			t.Fatal(err)
		}
		ring.Push(b, 0)
		if got, want := ring.WantsInterrupt(), i == 3; got != want {
			t.Errorf("interrupt after %d used = %v, want %v", i+1, got, want)
		}
	}
	if q.EnableInterrupt(3) {
		t.Error("EnableInterrupt(3) does not say that 6 were used")
	}
}

func TestQueueMisbehaviour(t *testing.T) {
	tests := []struct {
		name string
		do   func(r *virtiotest.Ring)
		want string
	}{
		{"id out of range", func(r *virtiotest.Ring) { r.PushAll([]virtiotest.Used{{ID: 4, Len: 0}}) }, "names buffer 4"},
		{"huge id", func(r *virtiotest.Ring) { r.PushAll([]virtiotest.Used{{ID: 1 << 31, Len: 0}}) }, "names buffer 2147483648"},
		{"not in flight", func(r *virtiotest.Ring) { r.PushAll([]virtiotest.Used{{ID: 3, Len: 0}}) }, "names buffer 3"},
		{"middle of a chain", func(r *virtiotest.Ring) { r.PushAll([]virtiotest.Used{{ID: 1, Len: 0}}) }, "names buffer 1"},
		{"too long", func(r *virtiotest.Ring) { r.PushAll([]virtiotest.Used{{ID: 0, Len: 9}}) }, "has 9 bytes written of 8"},
		{"index too far", func(r *virtiotest.Ring) { r.SetUsedIndex(2) }, "with 1 buffers in flight"},
		{"index backwards", func(r *virtiotest.Ring) { r.SetUsedIndex(0xffff) }, "with 1 buffers in flight"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, ring, _ := newQueue(t, 4, 0, 1)
			q.Push(virtio.Segment{Addr: 1 << 32, Len: 4}, virtio.Segment{Addr: 1 << 32, Len: 8, Write: true})
			q.Kick()
			tt.do(ring)
			_, _, ok, err := q.Pop()
			if ok || !errors.Is(err, virtio.ErrDevice) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Pop = %v, %v; want an error with %q", ok, err, tt.want)
			}
			if _, _, _, again := q.Pop(); again != err {
				t.Errorf("second Pop = %v, want the same error", again)
			}
			if _, ok := q.Push(virtio.Segment{Addr: 1 << 32, Len: 1}); ok {
				t.Error("a broken queue takes buffers")
			}
		})
	}
}

func TestQueueSizes(t *testing.T) {
	for _, tt := range []struct{ device, driver, want int }{
		{256, 128, 128}, {128, 256, 128}, {100, 256, 64}, {1024, 1024, 1024}, {2, 2, 2}, {1, 8, 0}, {0, 8, 0}, {8, 1, 0},
	} {
		mem := new(virtiotest.Memory)
		tr := &virtiotest.Transport{ID: virtio.DeviceRNG, Offered: virtio.FeatureVersion1, QueueLen: []int{tt.device}, Mem: mem}
		d, err := virtio.Start(tr, mem, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		q, err := d.NewQueue(0, tt.driver, 1)
		if (err == nil) != (tt.want != 0) {
			t.Errorf("NewQueue(%d of %d) = %v", tt.driver, tt.device, err)
		}
		if err == nil && q.Size() != tt.want {
			t.Errorf("NewQueue(%d of %d) has size %d, want %d", tt.driver, tt.device, q.Size(), tt.want)
		}
	}
}

// FuzzUsedRing lets a device write what it likes to the used ring between the
// driver's own steps. Each step of the input is an operation and its operand.
func FuzzUsedRing(f *testing.F) {
	f.Add([]byte{0, 2, 0, 1, 1, 0, 2, 0})
	f.Add([]byte{0, 3, 0, 3, 1, 9, 3, 1, 2, 0})
	f.Add([]byte{0, 1, 4, 255, 2, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		q, ring, _ := newQueue(t, 8, virtio.FeatureEventIdx, 1)
		inFlight := map[int]int{} // writable bytes by identity
		for ; len(in) >= 2; in = in[2:] {
			arg := in[1]
			switch in[0] % 5 {
			case 0:
				segs := make([]virtio.Segment, arg%4+1)
				for i := range segs {
					segs[i] = virtio.Segment{Addr: 1 << 32, Len: 16, Write: true}
				}
				if id, ok := q.Push(segs...); ok {
					if _, dup := inFlight[id]; dup {
						t.Fatalf("identity %d given twice", id)
					}
					inFlight[id] = 16 * len(segs)
				}
				q.Kick()
			case 1:
				ring.PushAll([]virtiotest.Used{{ID: uint32(arg & 15), Len: uint32(arg)}})
			case 2:
				id, n, ok, err := q.Pop()
				if err != nil && !errors.Is(err, virtio.ErrDevice) {
					t.Fatal(err)
				}
				if !ok {
					continue
				}
				if max, had := inFlight[id]; !had || n > max {
					t.Fatalf("Pop = buffer %d, %d bytes; in flight %v", id, n, inFlight)
				}
				delete(inFlight, id)
			case 3:
				ring.SetUsedIndex(uint16(arg))
			case 4:
				q.EnableInterrupt(int(arg))
			}
			if q.InFlight() != len(inFlight) {
				t.Fatalf("InFlight = %d, want %d", q.InFlight(), len(inFlight))
			}
		}
	})
}

func BenchmarkQueue(b *testing.B) {
	q, ring, tr := newQueue(b, 256, virtio.FeatureEventIdx, 1)
	_, phys := buffer(b, tr.Mem)
	b.ReportAllocs()
	for b.Loop() {
		id, _ := q.Push(virtio.Segment{Addr: phys, Len: 64})
		q.Kick()
		ring.PushAll([]virtiotest.Used{{ID: uint32(id), Len: 0}})
		if _, _, ok, err := q.Pop(); !ok {
			b.Fatal(err)
		}
	}
}
