package disk

import (
	"errors"
	"io"
	"syscall"
)

// load makes sure that pages are present: those from first up to need; those up
// to end are read along with them. It returns once the first ones are, or with
// the error that reading them met.
func (c *content) load(first, need, end uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		page, busy := c.missing(first, need)
		switch {
		case first < c.changing.end && c.changing.first < max(end, need):
			c.idle.Wait()
		case page < need:
			if err := c.read(page, max(end, need)); err != nil {
				return err
			}
		case busy:
			c.idle.Wait()
		default:
			return nil
		}
	}
}

// missing returns the first page in a range that is neither present nor busy,
// or end, and whether one before it is busy.
//
// Called with mu held.
func (c *content) missing(first, end uint64) (page uint64, busy bool) {
	page = end
	c.pages(first, end, func(index uint64, ch *chunk, set pageSet) bool {
		absent := set
		if ch != nil {
			absent = set &^ ch.present &^ ch.busy
			busy = busy || set&ch.busy != 0
		}
		if absent != 0 {
			page = index*chunkPages + uint64(absent.first())
			return false
		}
		return true
	})
	return page, busy
}

// run is pages that are read or written at once: their memory is in one piece.
type run struct {
	first  uint64 // page
	mem    []byte
	chunks []*chunk
	sets   []pageSet
}

// extend adds pages of a chunk, which follow each other, to a run, if they
// follow it in file and memory.
func (r *run) extend(ch *chunk, set pageSet) bool {
	from, to := set.first(), set.end()
	if len(r.chunks) == 0 {
		r.first = ch.index*chunkPages + uint64(from)
		r.mem = ch.mem[from*pageSize : to*pageSize]
	} else {
		last := r.chunks[len(r.chunks)-1]
		if last.index+1 != ch.index || last.fr.End != ch.fr.Start || from != 0 || r.sets[len(r.sets)-1].end() != chunkPages ||
			len(r.mem)+to*pageSize > cap(r.mem) {
			return false
		}
		r.mem = r.mem[:len(r.mem)+to*pageSize]
	}
	r.chunks, r.sets = append(r.chunks, ch), append(r.sets, set)
	return true
}

// read reads page first, and those up to end as long as they are absent and in
// one piece of memory with it.
//
// Called with mu held, which it gives up while it reads.
func (c *content) read(first, end uint64) error {
	var r run
	for p := first; p < end; {
		ch, err := c.chunkAt(p / chunkPages)
		if err != nil {
			if p == first {
				return err
			}
			break
		}
		set := (inChunk(p, end) &^ ch.present &^ ch.busy).firstRun()
		if set.first() != int(p%chunkPages) || !r.extend(ch, set) {
			break // somebody else was faster, or it is another run's
		}
		ch.busy |= set
		if p += uint64(set.count()); set.end() != chunkPages {
			break
		}
	}
	if len(r.chunks) == 0 {
		return nil
	}
	size := c.size.Load()
	c.mu.Unlock()
	err := c.fill(&r, size)
	c.mu.Lock()
	for i, ch := range r.chunks {
		ch.busy &^= r.sets[i]
		ch.zero &^= r.sets[i]
		if err == nil {
			ch.present |= r.sets[i]
		}
	}
	c.idle.Broadcast()
	return err
}

// fill reads a run's pages. What lies beyond the end of the file is zero.
func (c *content) fill(r *run, size uint64) error {
	if c.n.isClosed() {
		return syscall.EIO
	}
	if err := c.cache.populate(r.mem); err != nil {
		return syscall.ENOMEM
	}
	off := r.first * pageSize
	inFile := 0
	if off < size {
		inFile = int(min(size-off, uint64(len(r.mem))))
	}
	n := 0
	if inFile > 0 {
		var err error
		// Whole pages, so that the device can write them in place.
		n, err = c.n.inode.ReadAt(r.mem[:(inFile+pageSize-1)&^(pageSize-1)], int64(off))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	clear(r.mem[min(n, inFile):])
	return nil
}

// readAhead is what one description knows of how it is read.
type readAhead struct {
	next   uint64 // where a read in order would begin
	window uint64 // bytes to read ahead; 0: not read in order
	end    uint64 // what was read ahead so far
}

// minWindow is the first window, in bytes.
const minWindow = 32 << 10

// plan returns up to where a read of [off, end) shall load, and a range to load
// in the background, empty if there is none. most is the largest window.
func (r *readAhead) plan(off, end, most uint64) (sync, from, to uint64) {
	if off != r.next {
		r.window, r.end = 0, 0
	} else {
		r.window = min(max(2*r.window, minWindow), most)
	}
	r.next = end
	switch {
	case r.window == 0:
		return end, 0, 0
	case end > r.end:
		r.end = end + r.window
		return r.end, 0, 0
	case end+r.window/2 > r.end:
		from, r.end = r.end, r.end+r.window
		return end, from, r.end
	}
	return end, 0, 0
}
