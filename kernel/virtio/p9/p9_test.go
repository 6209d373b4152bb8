package p9_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"syscall"
	"testing"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/p9"
	"kiln/kernel/virtio/virtiotest"
)

// device returns a model whose server answers a message with it backwards.
func device(tag string, queue int) *virtiotest.Transport {
	t := &virtiotest.Transport{
		ID: virtio.Device9P, Offered: virtio.FeatureVersion1 | virtio.FeatureEventIdx | p9.FeatureMountTag,
		QueueLen: []int{queue}, Mem: new(virtiotest.Memory), IRQ: virtiotest.NewInterrupt(),
		Config: append(binary.LittleEndian.AppendUint16(nil, uint16(len(tag))), tag...),
	}
	var mu sync.Mutex // one request at a time, as a ring is used
	t.OnNotify = func(int) {
		go func() {
			mu.Lock()
			defer mu.Unlock()
			r := t.Ring(0)
			for {
				b, err := r.Pop()
				if err != nil {
					panic(err)
				}
				if b == nil {
					break
				}
				m := b.Read[0]
				for i := range m {
					b.Write[0][i] = m[len(m)-1-i]
				}
				r.Push(b, len(m))
			}
			if r.WantsInterrupt() {
				t.IRQ.Fire()
			}
		}()
	}
	return t
}

func TestRoundTrip(t *testing.T) {
	tr := device("share", 128)
	d, err := p9.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Tag(); got != "share" {
		t.Errorf("Tag() = %q, want share", got)
	}
	var wg sync.WaitGroup
	for g := range 10 {
		wg.Go(func() {
			for range 100 {
				head, rest := make([]byte, 3), make([]byte, 9)
				n, err := d.RoundTrip([][]byte{{1, 2}, nil, {3, 4, byte(g)}}, [][]byte{head, rest})
				got := append(head, rest...)
				if want := []byte{byte(g), 4, 3, 2, 1}; n != 5 || err != nil || !bytes.Equal(got[:n], want) {
					t.Errorf("RoundTrip = %d, %v: %v, want %v", n, err, got, want)
				}
			}
		})
	}
	wg.Wait()
	large := make([]byte, d.MaxMessage())
	if n, err := d.RoundTrip([][]byte{large}, [][]byte{large}); n != len(large) || err != nil {
		t.Errorf("RoundTrip of the largest message = %d, %v", n, err)
	}
	if _, err := d.RoundTrip([][]byte{large, {0}}, [][]byte{large}); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("RoundTrip of more: %v, want EMSGSIZE", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := tr.Mem.Allocated(); n != 0 {
		t.Errorf("%d allocations left after Close", n)
	}
	if _, err := d.RoundTrip([][]byte{{1}}, [][]byte{{1}}); !errors.Is(err, syscall.EIO) {
		t.Errorf("RoundTrip after Close: %v, want EIO", err)
	}
}

// A short queue carries fewer requests at a time.
func TestShortQueue(t *testing.T) {
	tr := device("x", 2)
	d, err := p9.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if n, err := d.RoundTrip([][]byte{{1}}, [][]byte{{0}}); n != 1 || err != nil {
				t.Errorf("RoundTrip = %d, %v", n, err)
			}
		})
	}
	wg.Wait()
}

func TestBadTag(t *testing.T) {
	for _, tag := range []string{"", "\xff\xfe", string(make([]byte, 300))} {
		tr := device(tag, 8)
		if _, err := p9.Open(tr, tr.Mem); !errors.Is(err, virtio.ErrDevice) {
			t.Errorf("Open with the tag %q: %v, want %v", tag, err, virtio.ErrDevice)
		}
		if n := tr.Mem.Allocated(); n != 0 {
			t.Errorf("%d allocations left", n)
		}
	}
}

// Who waits for a device that fails hears of it.
func TestDeviceFails(t *testing.T) {
	tr := device("x", 8)
	tr.OnNotify = func(int) { tr.IRQ.Close() }
	d, err := p9.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := d.RoundTrip([][]byte{{1}}, [][]byte{{0}}); !errors.Is(err, syscall.EIO) {
			t.Errorf("RoundTrip: %v, want EIO", err)
		}
	}
}

// A device that gives back what it does not have is not used any more.
func TestDeviceBreaksTheProtocol(t *testing.T) {
	tr := device("x", 8)
	tr.OnNotify = func(int) {
		go func() {
			tr.Ring(0).PushAll([]virtiotest.Used{{ID: 7, Len: 1}})
			tr.IRQ.Fire()
		}()
	}
	d, err := p9.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.RoundTrip([][]byte{{1}}, [][]byte{{0}}); !errors.Is(err, virtio.ErrDevice) {
		t.Errorf("RoundTrip: %v, want %v", err, virtio.ErrDevice)
	}
}
