package ext4

import (
	"time"

	"kiln/kernel/fs/ext4/jbd2"
)

// seal encodes what changed in memory and computes checksums, so that the
// transaction's buffers are what goes to the disk.
//
// Context: FS.mu held.
func (f *FS) seal() error {
	for n := range f.tx.inodes {
		n.store()
	}
	for _, b := range f.tx.buffers {
		f.sealBuffer(b)
	}
	for g := range f.tx.groups {
		b := f.tx.buffers[f.sb.descBlock(g/f.sb.descPerBlock)]
		raw := b.bytes()[int(g%f.sb.descPerBlock)*f.sb.descSize:][:f.sb.descSize]
		f.groups[g].encode(raw)
		if f.sb.descCsums() {
			le.PutUint16(raw[0x1e:], f.descCsum(g, raw))
		}
	}
	if f.tx.super || f.wantLargeFile || len(f.tx.groups) > 0 {
		return f.sealSuper()
	}
	return nil
}

// sealBuffer puts a buffer's checksum where it belongs.
func (f *FS) sealBuffer(b *buffer) {
	if !f.sb.metaCsum() {
		return
	}
	d := b.bytes()
	switch b.kind {
	case kindBlockBitmap:
		f.groups[b.owner].blockCsum = crc32c(f.sb.csumSeed, d[:f.sb.blocksPerGroup/8])
	case kindInodeBitmap:
		f.groups[b.owner].inodeCsum = crc32c(f.sb.csumSeed, d[:f.sb.inodesPerGroup/8])
	case kindExtents:
		if at := extentTail(d); at != 0 {
			le.PutUint32(d[at:], crc32c(b.owner, d[:at]))
		}
	case kindDir:
		area := f.area(d)
		le.PutUint32(d[len(area)+8:], crc32c(b.owner, area))
	case kindDxRoot:
		sealDx(d, dxRootEntries, b.owner)
	case kindDxNode:
		sealDx(d, dxNodeEntries, b.owner)
	case kindXattr:
		le.PutUint32(d[xattrCsumOff:], f.xattrCsum(b.nr, d))
	case kindOrphans:
		le.PutUint32(d[len(d)-4:], orphanCsum(b.owner, b.nr, d))
	}
}

func sealDx(d []byte, at int, seed uint32) {
	if tail, end := dxTail(d, at); tail != 0 {
		le.PutUint32(d[tail+4:], dxCsum(seed, d, tail, end))
	}
}

// sealSuper brings the superblock's counts up to date: e2fsck complains if they
// are not the sums of the descriptors', even after a crash.
func (f *FS) sealSuper() error {
	d, err := f.superBytes()
	if err != nil {
		return err
	}
	inodes := uint32(0)
	for i := range f.groups {
		inodes += f.groups[i].freeInodes
	}
	le.PutUint32(d[sbFreeBlocksLo:], uint32(f.freeBlocks))
	if f.sb.incompat&incompat64Bit != 0 {
		le.PutUint32(d[sbFreeBlocksHi:], uint32(f.freeBlocks>>32))
	}
	le.PutUint32(d[sbFreeInodes:], inodes)
	le.PutUint32(d[sbWtime:], uint32(f.now().Unix()))
	if f.wantLargeFile {
		le.PutUint32(d[sbROCompat:], le.Uint32(d[sbROCompat:])|roLargeFile)
		f.wantLargeFile = false
	}
	if f.sb.metaCsum() {
		le.PutUint32(d[sbCsum:], crc32c(^uint32(0), d[:sbCsum]))
	}
	return nil
}

// superBytes returns the superblock to be changed in the running transaction.
//
// Context: FS.mu held.
func (f *FS) superBytes() ([]byte, error) {
	b, err := f.cache.get(uint64(superOff / f.sb.blockSize))
	if err != nil {
		return nil, err
	}
	d := f.dirty(b, kindSuper, 0)
	f.tx.super = true
	return d[superOff%f.sb.blockSize:][:superLen], nil
}

// armTimer has the running transaction committed after a while.
func (f *FS) armTimer() {
	id := f.tx.id
	time.AfterFunc(commitInterval, func() {
		// commit has logged what failed, and every later change will tell.
		_ = f.commit(id)
	})
}

// commit makes transaction id, and those before it, durable.
//
// Context: FS.mu not held, nor a directory's lock.
func (f *FS) commit(id uint64) error {
	f.commitMu.Lock()
	defer f.commitMu.Unlock()
	f.mu.Lock()
	if f.committed >= id || f.failed != nil {
		err := f.failed
		if f.committed >= id {
			err = nil
		}
		f.mu.Unlock()
		return err
	}
	tx := f.tx
	if len(tx.buffers) == 0 && len(tx.freed) == 0 {
		f.mu.Unlock()
		return nil
	}
	if err := f.seal(); err != nil {
		f.mu.Unlock()
		return f.abort(err)
	}
	blocks := make([]jbd2.Block, 0, len(tx.buffers))
	for nr, b := range tx.buffers {
		blocks = append(blocks, jbd2.Block{Nr: nr, Data: b.bytes()})
		b.frozen, b.joined = true, false
	}
	revoked := make([]uint64, 0, len(tx.revoked))
	for nr := range tx.revoked {
		revoked = append(revoked, nr)
	}
	f.tx = newTransaction(tx.id + 1)
	f.mu.Unlock()

	writes := f.writes.Load()
	if err := f.writeTransaction(blocks, revoked); err != nil {
		return f.abort(err)
	}
	f.noteFlush(writes)
	f.mu.Lock()
	for _, b := range tx.buffers {
		if !b.joined {
			b.frozen = f.journal != nil
			f.cache.unpin(b)
		}
	}
	for _, z := range tx.freed {
		f.unhold(z.start, z.end-z.start)
	}
	f.committed = tx.id
	for ino, u := range f.left {
		if f.isDurable(u) {
			delete(f.left, ino)
		}
	}
	f.mu.Unlock()
	f.checkpointSoon()
	return nil
}

// writeTransaction makes blocks durable: through the journal, or without one
// in their places.
func (f *FS) writeTransaction(blocks []jbd2.Block, revoked []uint64) error {
	if f.journal != nil {
		return f.journal.Commit(blocks, revoked)
	}
	// Content and the blocks that a later transaction may rely on first.
	if err := f.dev.Flush(); err != nil {
		return err
	}
	if err := jbd2.WriteBlocks(f.dev.WriteAt, f.sb.blockSize, blocks); err != nil {
		return err
	}
	return f.dev.Flush()
}

// checkpointSoon starts a checkpoint in the background if one is due.
func (f *FS) checkpointSoon() {
	if f.journal == nil || !f.journal.Full(maxPending) || !f.checkpointing.CompareAndSwap(false, true) {
		return
	}
	f.background.Go(func() {
		defer f.checkpointing.Store(false)
		if err := f.journal.Checkpoint(); err != nil {
			_ = f.abort(err) // logs it
		}
	})
}

// noteFlush records that writes of content up to a number are durable.
func (f *FS) noteFlush(writes uint64) {
	for {
		old := f.flushed.Load()
		if old >= writes || f.flushed.CompareAndSwap(old, writes) {
			return
		}
	}
}

// flushContent makes the inode's content durable if it is not.
func (f *FS) flushContent(upTo uint64) error {
	if f.flushed.Load() >= upTo {
		return nil
	}
	writes := f.writes.Load()
	if err := f.dev.Flush(); err != nil {
		return err
	}
	f.noteFlush(writes)
	return nil
}
