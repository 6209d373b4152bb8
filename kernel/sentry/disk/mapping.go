package disk

import (
	"io"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
)

var _ memmap.Mappable = (*content)(nil)

// AddMapping implements memmap.Mappable.
func (c *content) AddMapping(ctx context.Context, ms memmap.MappingSpace, ar hostarch.AddrRange, offset uint64, writable bool) error {
	c.mapsMu.Lock()
	defer c.mapsMu.Unlock()
	c.mappings.AddMapping(ms, ar, offset, writable)
	return nil
}

// RemoveMapping implements memmap.Mappable.
func (c *content) RemoveMapping(ctx context.Context, ms memmap.MappingSpace, ar hostarch.AddrRange, offset uint64, writable bool) {
	c.mapsMu.Lock()
	defer c.mapsMu.Unlock()
	c.mappings.RemoveMapping(ms, ar, offset, writable)
}

// CopyMapping implements memmap.Mappable.
func (c *content) CopyMapping(ctx context.Context, ms memmap.MappingSpace, srcAR, dstAR hostarch.AddrRange, offset uint64, writable bool) error {
	return c.AddMapping(ctx, ms, dstAR, offset, writable)
}

// InvalidateUnsavable implements memmap.Mappable.
func (c *content) InvalidateUnsavable(ctx context.Context) error { return nil }

// mapAhead is how much is read for a page fault, in bytes.
const mapAhead = 64 << 10

// Translate implements memmap.Mappable.
func (c *content) Translate(ctx context.Context, required, optional memmap.MappableRange, at hostarch.AccessType) ([]memmap.Translation, error) {
	for {
		size := c.size.Load()
		end := (size + pageSize - 1) &^ (pageSize - 1)
		if required.Start >= end {
			return nil, &memmap.BusError{Err: io.EOF}
		}
		first, need := pagesOf(required.Start, min(required.End, end))
		_, last := pagesOf(required.Start, min(optional.End, end, max(required.End, required.Start+mapAhead)))
		if err := c.load(first, need, last); err != nil {
			return nil, &memmap.BusError{Err: c.n.d.errno(err)}
		}
		cuts := uint64(0)
		if at.Write {
			last = need
			cuts = c.cutsSoFar()
			if err := c.n.inode.Reserve(int64(required.Start), int64(min(required.End, size)-required.Start)); err != nil {
				return nil, &memmap.BusError{Err: c.n.d.errno(err)}
			}
			c.n.touch()
		}
		ts, ok := c.translate(first, need, last, at.Write, cuts)
		switch {
		case ok && required.End > end:
			return ts, &memmap.BusError{Err: io.EOF}
		case ok:
			return ts, nil
		}
		// Memory is so short that the pages are gone again, or the file has
		// become shorter, or lost the blocks that were reserved.
	}
}

// cutsSoFar returns how often blocks were taken from the file.
func (c *content) cutsSoFar() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

// translate returns where pages from first on are, up to the first that is
// absent, at most up to end. It fails if one up to need is. With write it also
// fails if blocks were taken from the file since there were so many cuts.
func (c *content) translate(first, need, end uint64, write bool, cuts uint64) (ts []memmap.Translation, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	perms := hostarch.ReadExecute
	if write {
		if c.cuts != cuts {
			return nil, false
		}
		perms = hostarch.AnyAccess
	}
	// Whoever makes the file shorter sets the size, then takes the pages behind
	// it from programs.
	if _, last := pagesOf(0, c.size.Load()); last < end {
		end = last
	}
	reached := first
	c.pages(first, end, func(index uint64, ch *chunk, set pageSet) bool {
		if ch == nil {
			return false
		}
		there := (set & ch.present).firstRun()
		if there.first() != set.first() {
			return false
		}
		ch.used.Store(true)
		ch.translated |= there
		if write {
			c.setDirty(ch, there)
			ch.writable |= there
		}
		start := index<<chunkShift + uint64(there.first())*pageSize
		length := uint64(there.count()) * pageSize
		ts = append(ts, memmap.Translation{
			Source: memmap.MappableRange{Start: start, End: start + length},
			File:   c.cache.o.MemoryFile,
			Offset: ch.fr.Start + uint64(there.first())*pageSize,
			Perms:  perms,
		})
		reached += uint64(there.count())
		return there == set
	})
	return ts, reached >= need
}

// mapping returns the Sentry's own mapping of a range of the memory file, nil if
// it is not in one piece.
func mapping(mf *pgalloc.MemoryFile, fr memmap.FileRange) ([]byte, error) {
	seq, err := mf.MapInternal(fr, hostarch.ReadWrite)
	if err != nil {
		return nil, err
	}
	if seq.NumBlocks() != 1 {
		return nil, nil
	}
	b := seq.Head().ToSlice()
	return b[:len(b):len(b)], nil
}
