package disk

import (
	"errors"
	"slices"
	"syscall"

	"gvisor.dev/gvisor/pkg/sentry/memmap"
)

// maxWrite is the most that is written back at once, in bytes.
const maxWrite = 1 << 20

// writeBack gives the inode all dirty pages, in order. Whatever another
// goroutine is writing back has been written when it returns.
func (c *content) writeBack() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.writeDirty()
}

// writeDirty is writeBack with writeMu held.
func (c *content) writeDirty() error {
	if c.dirty.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	var indexes []uint64
	for index, ch := range c.chunks {
		if ch.dirty != 0 {
			indexes = append(indexes, index)
		}
	}
	slices.Sort(indexes)
	var first error
	var r run
	flush := func() {
		if len(r.chunks) == 0 {
			return
		}
		if err := c.writeRun(&r); err != nil && first == nil {
			first = err
		}
		r = run{}
	}
	for _, index := range indexes {
		ch := c.chunks[index]
		if ch == nil {
			continue
		}
		for todo := ch.dirty; todo != 0; {
			set := todo.firstRun()
			if len(r.mem) >= maxWrite || !r.extend(ch, set) {
				flush()
				r.extend(ch, set)
			}
			todo &^= set
			ch.writing |= set
		}
	}
	flush()
	c.mu.Unlock()
	return first
}

// writeRun writes back a run's pages, which are marked as being written.
//
// Called with mu held, which it gives up while it writes.
func (c *content) writeRun(r *run) error {
	writable := false
	for i, ch := range r.chunks {
		writable = writable || ch.writable&r.sets[i] != 0
		c.setClean(ch, r.sets[i])
	}
	off := r.first * pageSize
	size := c.size.Load()
	length := uint64(0)
	if off < size {
		length = min(uint64(len(r.mem)), size-off)
	}
	c.mu.Unlock()
	var err error
	if writable {
		// What a program writes from now on makes a page dirty again.
		c.mapsMu.Lock()
		c.mappings.Invalidate(memmap.MappableRange{Start: off, End: off + uint64(len(r.mem))}, memmap.InvalidateOpts{})
		c.mapsMu.Unlock()
	}
	if length > 0 {
		_, err = c.n.inode.WriteAt(r.mem[:length], int64(off))
	}
	c.mu.Lock()
	for i, ch := range r.chunks {
		ch.writing &^= r.sets[i]
	}
	if err != nil {
		c.lost = err
		if !errors.Is(err, syscall.EROFS) {
			c.n.d.reporter.report("write back", err)
		}
	}
	return err
}

// takeLost returns what was written back in vain since the last call.
func (c *content) takeLost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.lost
	c.lost = nil
	return err
}

// truncate sets the size of the file.
//
// Called with node.mu held for writing.
func (c *content) truncate(size uint64) error {
	old := c.size.Load()
	if size >= old {
		if size > old {
			if err := c.n.inode.Truncate(int64(size)); err != nil {
				return err
			}
			c.mu.Lock()
			c.zeroFrom(old)
			c.size.Store(size)
			c.mu.Unlock()
		}
		return nil
	}
	c.mu.Lock()
	c.size.Store(size)
	c.cuts++
	c.mu.Unlock()
	first, last := (size+pageSize-1)/pageSize, (old+pageSize-1)/pageSize
	c.unmap(first, last, true)
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.mu.Lock()
	c.discard(first, allFile)
	c.zeroFrom(size)
	c.mu.Unlock()
	// What stays and is dirty goes first, for the inode's own size is behind.
	if err := c.writeDirty(); err != nil {
		return err
	}
	return c.n.inode.Truncate(int64(size))
}

// unmap takes pages from programs that map them; with private, also copies of
// their own.
func (c *content) unmap(first, end uint64, private bool) {
	if first >= end {
		return
	}
	c.mapsMu.Lock()
	defer c.mapsMu.Unlock()
	c.mappings.Invalidate(memmap.MappableRange{Start: first * pageSize, End: end * pageSize},
		memmap.InvalidateOpts{InvalidatePrivate: private})
}

// fallocate is fallocate(2).
//
// Called with node.mu held for writing.
func (c *content) fallocate(mode uint32, off, length uint64) error {
	first, last := pagesOf(off, off+length)
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if err := c.writeDirty(); err != nil {
		return err
	}
	c.withdraw(first, last)
	// Who reads before the blocks have changed would keep what was in them.
	c.changing.first, c.changing.end = first, last
	c.cuts++
	c.mu.Unlock()
	err := c.n.inode.Fallocate(mode, int64(off), int64(length))
	c.mu.Lock()
	c.changing.first, c.changing.end = 0, 0
	c.idle.Broadcast()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	a, err := c.n.inode.Attr()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.size.Load(); a.Size > old {
		c.zeroFrom(old)
		c.size.Store(a.Size)
	}
	return nil
}

// forgetUnmapped drops what is clean, unless a program has the file mapped.
func (c *content) forgetUnmapped() {
	c.mapsMu.Lock()
	defer c.mapsMu.Unlock()
	if !c.mappings.IsEmpty() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dirty.Load() == 0 {
		c.discard(0, allFile)
	}
}
