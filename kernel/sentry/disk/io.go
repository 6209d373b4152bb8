package disk

import (
	"io"
	"syscall"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/safemem"
	"gvisor.dev/gvisor/pkg/usermem"
)

// pagesOf returns the pages in which the bytes [off, end) lie.
func pagesOf(off, end uint64) (first, last uint64) {
	return off / pageSize, (end + pageSize - 1) / pageSize
}

// readTo reads from off on into dst, up to the end of the file.
func (c *content) readTo(ctx context.Context, dst usermem.IOSequence, off uint64, ahead *readAhead) (done int64, err error) {
	for dst.NumBytes() > 0 {
		size := c.size.Load()
		if off >= size {
			if done == 0 {
				err = io.EOF
			}
			return done, err
		}
		end := min(off+min(uint64(dst.NumBytes()), c.cache.window), size)
		to, from, more := ahead.plan(off, end, c.cache.window)
		first, need := pagesOf(off, end)
		_, last := pagesOf(off, min(to, size))
		if err := c.load(first, need, last); err != nil {
			return done, err
		}
		if more = min(more, size); from < more && c.n.begin() {
			begin, last := pagesOf(from, more)
			go func() {
				_ = c.load(begin, last, last) // whoever needs it meets the error
				c.n.release()
			}()
		}
		n, err := dst.CopyOutFrom(ctx, &reader{c, off, end})
		done += n
		if err != nil {
			return done, err
		}
		// Without n, memory is so short that the pages are gone again.
		off += uint64(n)
		dst = dst.DropFirst64(n)
	}
	return done, nil
}

// reader copies what is present of [off, end). It implements safemem.Reader.
type reader struct {
	c        *content
	off, end uint64
}

// ReadToBlocks implements safemem.Reader.
func (r *reader) ReadToBlocks(dsts safemem.BlockSeq) (done uint64, err error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for r.off < r.end && !dsts.IsEmpty() {
		ch := r.c.chunks[r.off>>chunkShift]
		if ch == nil {
			return done, nil
		}
		at := int(r.off % chunkSize)
		set := (ch.present & pagesFrom(at/pageSize, chunkPages)).firstRun()
		if set.first() != at/pageSize {
			return done, nil
		}
		ch.used.Store(true)
		src := ch.mem[at:min(set.end()*pageSize, at+int(min(r.end-r.off, chunkSize)))]
		n, err := safemem.CopySeq(dsts, safemem.BlockSeqOf(safemem.BlockFromSafeSlice(src)))
		done += n
		r.off += n
		dsts = dsts.DropFirst64(n)
		if err != nil || n < uint64(len(src)) {
			return done, err
		}
	}
	return done, nil
}

// writeFrom writes src at off, and moves the end of the file.
//
// Called with node.mu held for writing.
func (c *content) writeFrom(ctx context.Context, src usermem.IOSequence, off uint64) (done int64, err error) {
	for src.NumBytes() > 0 {
		end := off + min(uint64(src.NumBytes()), chunkSize-off%chunkSize)
		ch, err := c.prepare(off, end)
		if err != nil {
			return done, err
		}
		w := &writer{c, ch, off, end}
		n, err := src.TakeFirst64(int64(end-off)).CopyInTo(ctx, w)
		c.mu.Lock()
		ch.pins--
		c.mu.Unlock()
		done += n
		if err == nil && n == 0 {
			err = linuxerr.EFAULT
		}
		if err != nil {
			return done, err
		}
		off += uint64(n)
		src = src.DropFirst64(n)
		c.cache.throttle()
	}
	return done, nil
}

// prepare makes a chunk ready for bytes [off, end) to be copied to: pages that
// are only written in part are present, all have frames, and there is room on
// disk. The chunk is pinned.
func (c *content) prepare(off, end uint64) (*chunk, error) {
	first, last := pagesOf(off, end)
	partial := pageSet(0) // pages that keep some of what they have
	if off%pageSize != 0 {
		partial |= 1 << (first % chunkPages)
	}
	if end%pageSize != 0 {
		partial |= 1 << ((last - 1) % chunkPages)
	}
	set := inChunk(first, last)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		ch, err := c.chunkAt(first / chunkPages)
		if err != nil {
			return nil, err
		}
		if ch.busy&set != 0 {
			c.idle.Wait()
			continue
		}
		if absent := partial &^ ch.present; absent != 0 {
			page := first/chunkPages*chunkPages + uint64(absent.first())
			if page*pageSize < c.size.Load() {
				if err := c.read(page, page+1); err != nil {
					return nil, err
				}
				continue
			}
		}
		ch.pins++
		if err := c.ready(ch, set, partial, off, end); err != nil {
			ch.pins--
			return nil, err
		}
		return ch, nil
	}
}

// ready is the second half of prepare, with the chunk pinned: nobody reads its
// pages, and those that are absent need not be read.
//
// Called with mu held, which it gives up for a time.
func (c *content) ready(ch *chunk, set, partial pageSet, off, end uint64) error {
	absent, clean := set&^ch.present, set&^ch.dirty
	base := ch.index << chunkShift
	c.mu.Unlock()
	var err error
	if absent != 0 && c.cache.populate(ch.mem[absent.first()*pageSize:absent.end()*pageSize]) != nil {
		err = syscall.ENOMEM
	}
	if err == nil && clean != 0 {
		from := max(off, base+uint64(clean.first())*pageSize)
		err = c.n.inode.Reserve(int64(from), int64(min(end, base+uint64(clean.end())*pageSize)-from))
	}
	c.mu.Lock()
	if err != nil {
		return err
	}
	for absent &= partial; absent != 0; absent &= absent - 1 {
		if page := absent.first(); ch.zero&(1<<page) == 0 {
			clear(ch.mem[page*pageSize : (page+1)*pageSize])
		}
		ch.present |= 1 << absent.first()
	}
	if size := c.size.Load(); off > size {
		c.zeroFrom(size)
	}
	return nil
}

// writer copies to [off, end) of a chunk that prepare made ready. It implements
// safemem.Writer.
type writer struct {
	c        *content
	ch       *chunk
	off, end uint64
}

// WriteFromBlocks implements safemem.Writer.
func (w *writer) WriteFromBlocks(srcs safemem.BlockSeq) (uint64, error) {
	c, ch := w.c, w.ch
	c.mu.Lock()
	defer c.mu.Unlock()
	at := w.off % chunkSize
	n, err := safemem.CopySeq(safemem.BlockSeqOf(safemem.BlockFromSafeSlice(ch.mem[at:at+(w.end-w.off)])), srcs)
	first, last := pagesOf(at, at+n)
	set := pagesFrom(int(first), int(last))
	ch.zero &^= set
	// A page that was to be overwritten as a whole and was only begun does not
	// count: nobody has read the rest of it.
	if cut := (at + n) % pageSize; n > 0 && cut != 0 {
		if page := pageSet(1) << (last - 1); ch.present&page == 0 {
			set &^= page
			n -= min(n, cut)
		}
	}
	if n == 0 {
		return 0, err
	}
	ch.present |= set
	ch.used.Store(true)
	c.setDirty(ch, set)
	w.off += n
	if w.off > c.size.Load() {
		c.size.Store(w.off)
	}
	return n, err
}
