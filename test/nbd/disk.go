// Package nbd serves a disk with a volatile write cache to QEMU, by the NBD
// protocol (https://github.com/NetworkBlockDevice/nbd, doc/proto.md), so that
// tests can cut its power.
//
// What is written stays in the cache until a flush, and only a part of it
// survives a cut: any part, in any order, down to single sectors, as with real
// disks. A file system that forgets to flush is found out.
package nbd

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
)

// SectorSize is what is written as a whole or not at all, bytes.
const SectorSize = 512

// File is what keeps a disk's content: *os.File, or a fake.
type File interface {
	io.ReaderAt
	io.WriterAt
}

// A write is one that has not been flushed.
type write struct {
	sector int64
	data   []byte // whole sectors
}

// Disk is a disk with a volatile write cache.
type Disk struct {
	size int64 // bytes
	// IgnoreFlush makes flushes do nothing, as in disks that lie. It is set
	// before use.
	IgnoreFlush bool

	mu      sync.Mutex
	file    File             // guarded by mu: what is durable
	pending []write          // guarded by mu: by age
	latest  map[int64][]byte // guarded by mu: content of the sectors in pending
	stats   Stats            // guarded by mu
}

// Stats count what was asked of a disk.
type Stats struct {
	Reads, Writes, Flushes int
	// Lost is how many sectors with writes did not survive cuts in their
	// newest form.
	Lost int
}

// NewDisk returns a disk of size bytes, whole sectors, on a file.
func NewDisk(file File, size int64) *Disk {
	return &Disk{size: size, file: file, latest: make(map[int64][]byte)}
}

// Size returns the disk's size in bytes.
func (d *Disk) Size() int64 { return d.size }

// Stats returns the counts so far.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// check returns what is wrong with a range.
func (d *Disk) check(off, length int64) error {
	if off < 0 || length < 0 || off > d.size || length > d.size-off || off%SectorSize != 0 || length%SectorSize != 0 {
		return fmt.Errorf("%d bytes at %d of %d", length, off, d.size)
	}
	return nil
}

// Read fills p with the newest content.
func (d *Disk) Read(p []byte, off int64) error {
	if err := d.check(off, int64(len(p))); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Reads++
	if _, err := d.file.ReadAt(p, off); err != nil {
		return err
	}
	if len(d.latest) == 0 {
		return nil
	}
	for at := 0; at < len(p); at += SectorSize {
		if s, ok := d.latest[(off+int64(at))/SectorSize]; ok {
			copy(p[at:], s)
		}
	}
	return nil
}

// Write puts data into the cache. The disk keeps it.
func (d *Disk) Write(data []byte, off int64) error {
	if err := d.check(off, int64(len(data))); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Writes++
	sector := off / SectorSize
	d.pending = append(d.pending, write{sector, data})
	for at := 0; at < len(data); at += SectorSize {
		d.latest[sector+int64(at/SectorSize)] = data[at : at+SectorSize]
	}
	return nil
}

// WriteThrough writes data past the cache: it is durable at once, nothing else
// is.
func (d *Disk) WriteThrough(data []byte, off int64) error {
	if err := d.check(off, int64(len(data))); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Writes++
	if _, err := d.file.WriteAt(data, off); err != nil {
		return err
	}
	// Older writes to the same sectors must not come later.
	first, last := off/SectorSize, (off+int64(len(data)))/SectorSize
	var left []write
	for _, w := range d.pending {
		for at := 0; at < len(w.data); at += SectorSize {
			if s := w.sector + int64(at/SectorSize); s < first || s >= last {
				left = append(left, write{s, w.data[at : at+SectorSize]})
			}
		}
	}
	d.pending = left
	for s := first; s < last; s++ {
		delete(d.latest, s)
	}
	return nil
}

// Flush makes durable what was written.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Flushes++
	if d.IgnoreFlush {
		return nil
	}
	return d.writeBack(d.pending)
}

// writeBack applies writes to the file and empties the cache. The caller holds
// mu.
func (d *Disk) writeBack(writes []write) error {
	for _, w := range writes {
		if _, err := d.file.WriteAt(w.data, w.sector*SectorSize); err != nil {
			return err
		}
	}
	d.pending = nil
	clear(d.latest)
	return nil
}

// survival are the odds of an unflushed write to survive a cut: of each cut,
// one of these.
var survival = []float64{0, 0.1, 0.5, 0.9, 1}

// tornOdds are those of a write that survives to do so in part.
const tornOdds = 0.3

// Cut takes the power away: of what was not flushed, a random part survives,
// in a random order, some writes only in some sectors. The disk can be used
// again afterwards.
func (d *Disk) Cut(random *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	odds := survival[random.IntN(len(survival))]
	newest := make(map[int64][]byte)
	var left []write
	for _, i := range random.Perm(len(d.pending)) {
		if random.Float64() >= odds {
			continue
		}
		w := d.pending[i]
		torn := odds < 1 && random.Float64() < tornOdds
		for at := 0; at < len(w.data); at += SectorSize {
			if torn && random.IntN(2) == 0 {
				continue
			}
			s := write{w.sector + int64(at/SectorSize), w.data[at : at+SectorSize]}
			left = append(left, s)
			newest[s.sector] = s.data
		}
	}
	for sector, data := range d.latest {
		// The same slice: equal content counts for lost, too.
		if s := newest[sector]; s == nil || &s[0] != &data[0] {
			d.stats.Lost++
		}
	}
	return d.writeBack(left)
}
