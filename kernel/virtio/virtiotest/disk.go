package virtiotest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"kiln/kernel/virtio"
)

// Disk is a virtio-blk device model (virtio 1.2 §5.2) that checks what the
// driver asks. The fields before mu are set before use.
type Disk struct {
	*Transport
	Sector int // bytes
	// Answer, if set, gives the status of a request in place of OK.
	Answer func(kind uint32, off int64) byte
	// Shuffle completes requests out of order, and later.
	Shuffle bool

	mu    sync.Mutex
	data  []byte // guarded by mu
	ops   []Op   // guarded by mu: what was asked
	err   error  // guarded by mu: the first broken rule
	wake  chan struct{}
	stop  chan struct{}
	ended sync.WaitGroup
}

// Op is a request that a Disk got.
type Op struct {
	Kind   uint32
	Off    int64 // bytes
	Length int64 // bytes
}

// NewDisk returns a disk of size bytes. config is laid over the end of a
// configuration that says the capacity.
func NewDisk(features virtio.Features, size int64, sector int, config map[int]uint32) *Disk {
	c := make([]byte, 60)
	binary.LittleEndian.PutUint64(c, uint64(size/512))
	binary.LittleEndian.PutUint32(c[20:], uint32(sector))
	for off, v := range config {
		binary.LittleEndian.PutUint32(c[off:], v)
	}
	d := &Disk{Sector: sector, data: make([]byte, size), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	d.Transport = &Transport{
		ID: virtio.DeviceBlock, Offered: features | virtio.FeatureVersion1, QueueLen: []int{128},
		Config: c, Mem: new(Memory), IRQ: NewInterrupt(),
	}
	d.OnNotify = func(int) {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	d.ended.Add(1)
	go d.run()
	return d
}

// Stop ends the model and returns the first rule that the driver broke.
func (d *Disk) Stop() error {
	close(d.stop)
	d.ended.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Ops returns what was asked so far.
func (d *Disk) Ops() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Op(nil), d.ops...)
}

func (d *Disk) run() {
	defer d.ended.Done()
	for {
		select {
		case <-d.wake:
		case <-d.stop:
			return
		}
		var batch []*Buffer
		for ring := d.Ring(0); ring != nil; {
			b, err := ring.Pop()
			if err != nil {
				d.mu.Lock()
				d.err = err
				d.mu.Unlock()
				return
			}
			if b != nil {
				batch = append(batch, b)
				if d.Shuffle && len(batch) < 4 {
					continue
				}
			}
			if len(batch) == 0 {
				break
			}
			if d.Shuffle {
				time.Sleep(200 * time.Microsecond)
			}
			for i := len(batch) - 1; i >= 0; i-- {
				ring.Push(batch[i], d.serve(batch[i]))
				if ring.WantsInterrupt() {
					d.IRQ.Fire()
				}
			}
			batch = nil
		}
	}
}

// serve carries out a request and returns how many bytes it wrote.
func (d *Disk) serve(b *Buffer) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	status, n, err := d.request(b)
	if err != nil && d.err == nil {
		d.err = err
	}
	if len(b.Write) == 0 {
		return 0
	}
	last := b.Write[len(b.Write)-1]
	last[len(last)-1] = status
	return n + 1
}

// request carries out a request. Called with mu held.
func (d *Disk) request(b *Buffer) (status byte, written int, err error) {
	if len(b.Read) == 0 || len(b.Read[0]) != 16 || len(b.Write) == 0 || len(b.Write[len(b.Write)-1]) != 1 {
		return 1, 0, fmt.Errorf("request of %d segments to read, %d to write", len(b.Read), len(b.Write))
	}
	kind := binary.LittleEndian.Uint32(b.Read[0])
	off := int64(binary.LittleEndian.Uint64(b.Read[0][8:])) * 512
	in, out := b.Write[:len(b.Write)-1], b.Read[1:]
	op := Op{kind, off, total(in) + total(out)}
	if kind == 11 || kind == 13 {
		if op.Length != 16 || off != 0 {
			return 1, 0, fmt.Errorf("type %d with %d bytes at %d", kind, op.Length, off)
		}
		op.Off = int64(binary.LittleEndian.Uint64(out[0])) * 512
		op.Length = int64(binary.LittleEndian.Uint32(out[0][8:])) * 512
	}
	d.ops = append(d.ops, op)
	if op.Off%int64(d.Sector) != 0 || op.Length%int64(d.Sector) != 0 || op.Off+op.Length > int64(len(d.data)) {
		return 1, 0, fmt.Errorf("type %d: %d bytes at %d of %d in sectors of %d", kind, op.Length, op.Off, len(d.data), d.Sector)
	}
	if d.Answer != nil {
		if s := d.Answer(kind, op.Off); s != 0 {
			return s, 0, nil
		}
	}
	at := d.data[op.Off : op.Off+op.Length]
	switch kind {
	case 0:
		for _, s := range in {
			at = at[copy(s, at):]
		}
		return 0, int(op.Length), nil
	case 1:
		for _, s := range out {
			at = at[copy(at, s):]
		}
	case 4:
	case 11, 13:
		clear(at)
	default:
		return 2, 0, fmt.Errorf("type %d", kind)
	}
	return 0, 0, nil
}

func total(segs [][]byte) (n int64) {
	for _, s := range segs {
		n += int64(len(s))
	}
	return n
}
