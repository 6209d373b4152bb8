package blk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/blk"
	"kiln/kernel/virtio/virtiotest"
)

const all = blk.FeatureSegMax | blk.FeatureBlockSize | blk.FeatureFlush | blk.FeatureDiscard | blk.FeatureWriteZeroes |
	virtio.FeatureIndirect | virtio.FeatureEventIdx

// usual is what a device's configuration says beside capacity and sectors.
var usual = map[int]uint32{12: 126, 36: 64, 40: 1, 48: 64, 52: 1}

// open starts the driver on a disk. When the test ends the driver must have
// kept the rules and freed its memory.
func open(t *testing.T, d *virtiotest.Disk, mem virtio.Memory) *blk.Device {
	t.Helper()
	dev, err := blk.Open(d, mem)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := d.Stop(); err != nil {
			t.Errorf("the driver broke a rule: %v", err)
		}
		if n := d.Mem.Allocated(); n != 0 {
			t.Errorf("%d allocations left after Close", n)
		}
	})
	return dev
}

// TestTransfer writes and reads from many goroutines, each in its own region,
// and compares with a model.
func TestTransfer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		features virtio.Features
		sector   int
		config   map[int]uint32
		mapped   bool
		shuffle  bool
	}{
		{"mapped", all, 512, usual, true, false},
		{"out of order", all, 512, usual, true, true},
		{"bounce", all, 512, usual, false, true},
		{"large sectors", all, 4096, usual, true, true},
		{"large sectors, bounce", all, 4096, usual, false, false},
		{"no indirect, no event index", all &^ (virtio.FeatureIndirect | virtio.FeatureEventIdx), 512, usual, true, true},
		{"one segment", all &^ blk.FeatureSegMax, 512, usual, true, false},
		{"two segments, large sectors", all, 4096, map[int]uint32{12: 2}, true, false},
		{"three segments, large sectors", all, 4096, map[int]uint32{12: 3}, true, false},
		{"short segments", all | blk.FeatureSizeMax, 512, map[int]uint32{8: 1024, 12: 5}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const region, workers = 1 << 20, 8
			d := virtiotest.NewDisk(tt.features, region*workers, tt.sector, tt.config)
			d.Shuffle = tt.shuffle
			var mem virtio.Memory = d.Mem
			if tt.mapped {
				mem = virtiotest.Mapped{Memory: d.Mem}
			}
			dev := open(t, d, mem)
			if dev.SectorSize() != tt.sector || dev.Size() != region*workers {
				t.Fatalf("%d bytes in sectors of %d, want %d in %d", dev.Size(), dev.SectorSize(), region*workers, tt.sector)
			}
			var wg sync.WaitGroup
			for w := range workers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					exercise(t, dev, int64(w)*region, region, uint64(w))
				}()
			}
			wg.Wait()
		})
	}
}

// exercise compares a region of the device with a model.
func exercise(t *testing.T, dev *blk.Device, base int64, size int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	model := make([]byte, size)
	sector := dev.SectorSize()
	for range 40 {
		off := r.IntN(size/sector) * sector
		n := (r.IntN(min(size-off, 300<<10)/sector) + 1) * sector
		n = min(n, size-off)
		// Buffers begin anywhere in a page.
		buf := make([]byte, n+5000)[r.IntN(5000):][:n]
		var err error
		switch r.IntN(4) {
		case 0:
			for i := range buf {
				buf[i] = byte(r.Uint32())
			}
			err = dev.WriteAt(buf, base+int64(off))
			copy(model[off:], buf)
		case 1:
			err = dev.WriteZeroes(base+int64(off), int64(n))
			clear(model[off : off+n])
		case 2:
			err = dev.Flush()
		default:
			if err = dev.ReadAt(buf, base+int64(off)); err == nil && !bytes.Equal(buf, model[off:off+n]) {
				t.Errorf("%d bytes at %d differ from what was written", n, off)
			}
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// count returns how many requests of a type a disk got.
func count(d *virtiotest.Disk, kind uint32) (n int) {
	for _, op := range d.Ops() {
		if op.Kind == kind {
			n++
		}
	}
	return n
}

// TestRanges: discard and write zeroes are cut to what the device takes, and
// done without where it has them not.
func TestRanges(t *testing.T) {
	d := virtiotest.NewDisk(all, 1<<20, 512, usual)
	dev := open(t, d, d.Mem)
	if err := errors.Join(dev.Discard(0, 100<<10), dev.WriteZeroes(512, 65<<10)); err != nil {
		t.Fatal(err)
	}
	if got := count(d, 11); got != 4 { // of 32 KB each
		t.Errorf("%d discards of 100 KB, want 4", got)
	}
	if got := count(d, 13); got != 3 {
		t.Errorf("%d write zeroes of 65 KB, want 3", got)
	}

	for name, features := range map[string]virtio.Features{"unsupported": all, "not offered": all &^ (blk.FeatureDiscard | blk.FeatureWriteZeroes)} {
		d := virtiotest.NewDisk(features, 1<<20, 512, usual)
		d.Answer = func(kind uint32, _ int64) byte {
			if kind == 11 || kind == 13 {
				return 2
			}
			return 0
		}
		dev := open(t, d, d.Mem)
		if err := dev.WriteAt(bytes.Repeat([]byte{7}, 200<<10), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(dev.Discard(0, 512), dev.WriteZeroes(512, 150<<10)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := make([]byte, 200<<10)
		if err := dev.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(got, []byte{0}); n != 150<<10 || got[0] != 7 || got[511] != 7 || got[512] != 0 {
			t.Errorf("%s: %d zeros, want %d from 512 on", name, n, 150<<10)
		}
	}
}

func TestErrors(t *testing.T) {
	d := virtiotest.NewDisk(all, 1<<20, 4096, usual)
	d.Answer = func(kind uint32, off int64) byte {
		if off == 8192 || kind == 4 {
			return 1
		}
		return 0
	}
	dev := open(t, d, virtiotest.Mapped{Memory: d.Mem})
	buf := make([]byte, 4096)
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"good read", dev.ReadAt(buf, 4096), nil},
		{"bad read", dev.ReadAt(buf, 8192), syscall.EIO},
		{"bad write", dev.WriteAt(buf, 8192), syscall.EIO},
		{"flush", dev.Flush(), syscall.EIO},
		{"misaligned", dev.ReadAt(buf, 512), syscall.EINVAL},
		{"part of a sector", dev.ReadAt(buf[:512], 0), syscall.EINVAL},
		{"past the end", dev.ReadAt(buf, 1<<20), syscall.EINVAL},
		{"negative", dev.WriteAt(buf, -4096), syscall.EINVAL},
		{"overflow", dev.Discard(4096, 1<<63-4096), syscall.EINVAL},
		{"after all that", dev.ReadAt(buf, 0), nil},
		{"nothing", dev.ReadAt(nil, 0), nil},
	} {
		if !errors.Is(tt.err, tt.want) || (tt.err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
}

func TestReadOnly(t *testing.T) {
	d := virtiotest.NewDisk(all|blk.FeatureReadOnly, 1<<20, 512, usual)
	dev := open(t, d, d.Mem)
	if !dev.ReadOnly() {
		t.Error("ReadOnly() = false")
	}
	for what, err := range map[string]error{
		"write": dev.WriteAt(make([]byte, 512), 0), "discard": dev.Discard(0, 512), "write zeroes": dev.WriteZeroes(0, 512),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v, want %v", what, err, syscall.EROFS)
		}
	}
	if err := errors.Join(dev.ReadAt(make([]byte, 512), 0), dev.Flush()); err != nil {
		t.Error(err)
	}
	for _, op := range d.Ops() {
		if op.Kind != 0 {
			t.Errorf("the device was asked for %+v", op)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, d := range map[string]*virtiotest.Disk{
		"sectors of 100":     virtiotest.NewDisk(all, 1<<20, 100, usual),
		"sectors of 8192":    virtiotest.NewDisk(all, 1<<20, 8192, usual),
		"segments of 1 byte": virtiotest.NewDisk(all|blk.FeatureSizeMax, 1<<20, 512, map[int]uint32{8: 1}),
	} {
		if _, err := blk.Open(d, d.Mem); !errors.Is(err, virtio.ErrDevice) {
			t.Errorf("%s: Open = %v, want %v", name, err, virtio.ErrDevice)
		}
		if n := d.Mem.Allocated(); n != 0 {
			t.Errorf("%s: %d allocations left", name, n)
		}
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestBroken: a device that breaks the protocol is reset, and every request
// fails, those under way included.
func TestBroken(t *testing.T) {
	tr := &virtiotest.Transport{
		ID: virtio.DeviceBlock, Offered: virtio.FeatureVersion1 | all, QueueLen: []int{16},
		Config: make([]byte, 60), Mem: new(virtiotest.Memory), IRQ: virtiotest.NewInterrupt(),
	}
	binary.LittleEndian.PutUint64(tr.Config, 1000)
	binary.LittleEndian.PutUint32(tr.Config[20:], 512)
	dev, err := blk.Open(tr, tr.Mem)
	if err != nil {
		t.Fatal(err)
	}
	pending := make(chan error)
	go func() { pending <- dev.ReadAt(make([]byte, 512), 0) }()
	for {
		if b, err := tr.Ring(0).Pop(); b != nil {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	tr.Ring(0).PushAll([]virtiotest.Used{{ID: 77, Len: 1}})
	tr.IRQ.Fire()
	if err := <-pending; !errors.Is(err, syscall.EIO) || !errors.Is(err, virtio.ErrDevice) {
		t.Errorf("pending read: %v, want %v", err, syscall.EIO)
	}
	if tr.Status() != 0 {
		t.Errorf("status %#x, want a reset device", tr.Status())
	}
	if err := dev.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("flush afterwards: %v, want %v", err, syscall.EIO)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzDevice lets the device write anything to its used ring and status bytes.
func FuzzDevice(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{5, 0, 0, 0, 1, 0, 0, 0, 1, 200, 1, 2, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		tr := &virtiotest.Transport{
			ID: virtio.DeviceBlock, Offered: virtio.FeatureVersion1 | all, QueueLen: []int{16},
			Config: make([]byte, 60), Mem: new(virtiotest.Memory), IRQ: virtiotest.NewInterrupt(),
		}
		binary.LittleEndian.PutUint64(tr.Config, 1000)
		binary.LittleEndian.PutUint32(tr.Config[20:], 512)
		dev, err := blk.Open(tr, tr.Mem)
		if err != nil {
			t.Fatal(err)
		}
		tr.OnNotify = func(int) {
			ring := tr.Ring(0)
			for b, err := ring.Pop(); b != nil && err == nil; b, err = ring.Pop() {
				u := virtiotest.Used{ID: uint32(b.Head), Len: 1}
				status := &b.Write[len(b.Write)-1][0]
				*status = 0
				if len(script) >= 9 {
					u.ID ^= binary.LittleEndian.Uint32(script)
					u.Len = binary.LittleEndian.Uint32(script[4:])
					*status = script[8]
					script = script[9:]
				}
				ring.PushAll([]virtiotest.Used{u})
				if ring.WantsInterrupt() {
					tr.IRQ.Fire()
				}
			}
		}
		for i := range 4 {
			// Each ends, one way or the other.
			_ = dev.ReadAt(make([]byte, 70<<10), int64(i)*512)
			_ = dev.Flush()
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
		if n := tr.Mem.Allocated(); n != 0 {
			t.Errorf("%d allocations left after Close", n)
		}
	})
}
