package ext4

import (
	"errors"
	"syscall"
)

// Blocks are free if their bit in the bitmap is clear and they are not held.
// Held are blocks that WriteAt is filling but has not yet mapped, and blocks
// that were freed in a transaction that has not yet committed.

// hold marks blocks of one group as held.
//
// Context: FS.mu held.
func (f *FS) hold(nr, n uint64) {
	g, bit := f.sb.groupOf(nr)
	if f.held[g] == nil {
		f.held[g] = &heldBlocks{bits: make([]byte, f.sb.blockSize)}
	}
	h := f.held[g]
	h.count += setBits(h.bits, bit, uint32(n), true)
	f.heldCount += n
}

// heldBlocks are those of a group that are held.
type heldBlocks struct {
	bits  []byte
	count uint32
}

// unhold gives held blocks back; they may span groups.
//
// Context: FS.mu held.
func (f *FS) unhold(nr, n uint64) {
	for n > 0 {
		g, bit := f.sb.groupOf(nr)
		k := min(n, uint64(f.sb.blocksPerGroup-bit))
		h := f.held[g]
		h.count -= setBits(h.bits, bit, uint32(k), false)
		if h.count == 0 {
			delete(f.held, g)
		}
		f.heldCount -= k
		nr, n = nr+k, n-k
	}
}

// available returns how many blocks are free and not reserved.
//
// Context: FS.mu held.
func (f *FS) available() uint64 {
	return f.freeBlocks - min(f.freeBlocks, f.heldCount+f.reserved)
}

// groupScan is how many groups are searched for a run that is long enough,
// before a shorter one does.
const groupScan = 32

// findRun returns a run of up to want free blocks, near goal if it can be.
//
// Context: FS.mu held.
func (f *FS) findRun(goal uint64, want uint32) (zone, error) {
	if f.freeBlocks <= f.heldCount {
		return zone{}, syscall.ENOSPC
	}
	if goal < uint64(f.sb.firstData) || goal >= f.sb.blocks {
		goal = uint64(f.sb.firstData)
	}
	want = min(max(want, 1), f.sb.blocksPerGroup)
	first, bit := f.sb.groupOf(goal)
	var best zone
	for i := range f.sb.groups {
		g := (first + i) % f.sb.groups
		if f.groups[g].freeBlocks == 0 {
			continue
		}
		z, err := f.findInGroup(g, bit, want)
		if err != nil {
			return zone{}, err
		}
		bit = 0
		if z.end-z.start > best.end-best.start {
			best = z
		}
		if n := best.end - best.start; n >= uint64(want) || n > 0 && (i == 0 && z.start == goal || i >= groupScan) {
			break
		}
	}
	if best.end == best.start {
		return zone{}, syscall.ENOSPC
	}
	return best, nil
}

// findInGroup returns the run that begins at bit, if that is free; else the
// first of want blocks after it, else the longest in the group.
func (f *FS) findInGroup(g, bit, want uint32) (zone, error) {
	b, err := f.blockBitmap(g)
	if err != nil {
		return zone{}, err
	}
	d := b.bytes()
	var busy []byte
	if h := f.held[g]; h != nil {
		busy = h.bits
	}
	end := f.sb.groupBlocks(g)
	start := f.sb.groupStart(g)
	run := func(at, n uint32) zone { return zone{start + uint64(at), start + uint64(at+min(n, want))} }
	var at, length uint32 // the longest
	search := func(from, to uint32) bool {
		for i := nextClear(d, busy, from, to); i < to; i = nextClear(d, busy, i, to) {
			stop := nextSet(d, busy, i, min(end, i+want))
			if stop-i > length {
				at, length = i, stop-i
			}
			if i == bit && bit != 0 || length >= want {
				return true
			}
			i = stop
		}
		return false
	}
	if !search(bit, end) {
		search(0, bit)
	}
	return run(at, length), nil
}

// claim takes free blocks of one group in the running transaction.
//
// Context: FS.mu held.
func (f *FS) claim(z zone) error {
	g, bit := f.sb.groupOf(z.start)
	n := uint32(z.end - z.start)
	b, err := f.blockBitmap(g)
	if err != nil {
		return err
	}
	d, err := f.joinGroup(g)
	if err != nil {
		return err
	}
	if nextSet(b.bytes(), nil, bit, bit+n) != bit+n || d.freeBlocks < n {
		return f.damaged("block bitmap of group %d disagrees with its descriptor", g)
	}
	setBits(f.dirty(b, kindBlockBitmap, g), bit, n, true)
	d.flags &^= groupBlockUninit
	d.freeBlocks -= n
	f.freeBlocks -= uint64(n)
	return nil
}

// unclaim undoes claim: the blocks are held.
//
// Context: FS.mu held.
func (f *FS) unclaim(z zone) error {
	if z.start == z.end {
		return nil
	}
	if err := f.clearBits(z); err != nil {
		return err
	}
	f.hold(z.start, z.end-z.start)
	return nil
}

// allocMeta takes one block for metadata, near goal. It may use what is
// reserved for content: reservations count metadata too.
//
// Context: FS.mu held.
func (f *FS) allocMeta(goal uint64) (uint64, error) {
	z, err := f.findRun(goal, 1)
	if err != nil {
		return 0, err
	}
	return z.start, f.claim(z)
}

// free gives blocks back in the running transaction. They can be used again
// when it has committed.
//
// Context: FS.mu held.
func (f *FS) free(nr, n uint64) error {
	if !f.usable(nr, n) {
		return f.damaged("freeing blocks %d to %d, which no file can have", nr, nr+n-1)
	}
	for n > 0 {
		_, bit := f.sb.groupOf(nr)
		k := min(n, uint64(f.sb.blocksPerGroup-bit))
		z := zone{nr, nr + k}
		if err := f.clearBits(z); err != nil {
			return err
		}
		f.hold(nr, k)
		f.tx.freed = append(f.tx.freed, z)
		nr, n = nr+k, n-k
	}
	return nil
}

// clearBits makes blocks of one group free in their bitmap.
//
// Context: FS.mu held.
func (f *FS) clearBits(z zone) error {
	g, bit := f.sb.groupOf(z.start)
	n := uint32(z.end - z.start)
	b, err := f.blockBitmap(g)
	if err != nil {
		return err
	}
	if nextClear(b.bytes(), nil, bit, bit+n) != bit+n {
		return f.damaged("freeing blocks %d to %d, some of which are free", z.start, z.end-1)
	}
	d, err := f.joinGroup(g)
	if err != nil {
		return err
	}
	setBits(f.dirty(b, kindBlockBitmap, g), bit, n, false)
	d.freeBlocks += n
	f.freeBlocks += uint64(n)
	return nil
}

// freeMeta gives a metadata block back.
//
// Context: FS.mu held.
func (f *FS) freeMeta(nr uint64) error {
	if err := f.free(nr, 1); err != nil {
		return err
	}
	f.forget(nr)
	return nil
}

// retry calls op again after it failed with ENOSPC, if a commit makes blocks
// available that were freed.
//
// Context: FS.mu not held.
func (f *FS) retry(op func() error) error {
	for range 3 {
		if err := op(); !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		f.mu.Lock()
		id, waiting := f.tx.id, len(f.tx.freed) > 0 || f.committed+1 < f.tx.id
		f.mu.Unlock()
		if !waiting {
			break
		}
		// This waits for a commit on its way, too.
		if err := f.commit(id); err != nil {
			return err
		}
	}
	return op()
}
