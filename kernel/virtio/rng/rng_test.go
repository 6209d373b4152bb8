package rng_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/rng"
	"kiln/kernel/virtio/virtiotest"
)

// device returns a model that fills buffers with a pattern, at most limit bytes
// at a time.
func device(limit int) *virtiotest.Transport {
	t := &virtiotest.Transport{
		ID: virtio.DeviceRNG, Offered: virtio.FeatureVersion1, QueueLen: []int{8},
		Mem: new(virtiotest.Memory), IRQ: virtiotest.NewInterrupt(),
	}
	next := byte(0)
	t.OnNotify = func(int) {
		go func() {
			r := t.Ring(0)
			b, err := r.Pop()
			if err != nil || b == nil {
				panic(err)
			}
			n := min(limit, len(b.Write[0]))
			for i := range n {
				next++
				b.Write[0][i] = next
			}
			r.Push(b, n)
			if r.WantsInterrupt() {
				t.IRQ.Fire()
			}
		}()
	}
	return t
}

func TestRead(t *testing.T) {
	tr := device(7)
	d, err := rng.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	if _, err := io.ReadFull(d, got); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 100)
	for i := range want {
		want[i] = byte(i + 1)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := tr.Mem.Allocated(); n != 0 {
		t.Errorf("%d allocations left after Close", n)
	}
}

func TestReadNothing(t *testing.T) {
	tr := device(0)
	d, err := rng.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Read(make([]byte, 8)); n != 0 || !errors.Is(err, virtio.ErrDevice) {
		t.Errorf("Read = %d, %v; want %v", n, err, virtio.ErrDevice)
	}
}

func TestReadAfterInterruptIsClosed(t *testing.T) {
	tr := device(8)
	tr.OnNotify = nil
	d, err := rng.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	tr.IRQ.Close()
	if _, err := d.Read(make([]byte, 8)); !errors.Is(err, virtiotest.ErrClosed) {
		t.Errorf("Read = %v, want %v", err, virtiotest.ErrClosed)
	}
}
