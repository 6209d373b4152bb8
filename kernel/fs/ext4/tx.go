package ext4

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"kiln/kernel/fs/ext4/jbd2"
)

const (
	// commitInterval is how long changes stay in memory at most.
	commitInterval = 5 * time.Second
	// maxTransaction bounds the blocks of a transaction, and with them its
	// memory.
	maxTransaction = 1024
	// maxPending is how many committed blocks may wait in memory for their
	// checkpoint before one is started.
	maxPending = 1024
)

// Credits bound how many metadata blocks one operation changes, so that it
// fits into the running transaction. They are generous: a few blocks more or
// less only move the moment of a commit.
const (
	creditsInode = 8
	creditsTree  = 48 // to change a tree of extents or of block numbers
	creditsDir   = 96 // to add an entry to a directory, with all that may split
)

// A transaction collects changes of metadata. Guarded by FS.mu.
type transaction struct {
	id      uint64
	buffers map[uint64]*buffer
	inodes  map[*inode]bool // changed since they were encoded
	groups  map[uint32]bool // the same of descriptors
	revoked map[uint64]bool // blocks that are metadata no more
	super   bool            // the superblock has changed
	freed   []zone          // blocks that may be used again once it has committed
}

func newTransaction(id uint64) *transaction {
	return &transaction{
		id: id, buffers: make(map[uint64]*buffer), inodes: make(map[*inode]bool),
		groups: make(map[uint32]bool), revoked: make(map[uint64]bool),
	}
}

// begin opens an operation that changes up to credits metadata blocks. It
// locks FS.mu until end.
//
// Context: FS.mu not held, nor a directory's lock.
func (f *FS) begin(credits int) error {
	for {
		f.mu.Lock()
		if f.readOnly || f.failed != nil {
			f.mu.Unlock()
			return syscall.EROFS
		}
		if len(f.tx.buffers)+credits <= f.maxTx {
			return nil
		}
		id := f.tx.id
		f.mu.Unlock()
		if err := f.commit(id); err != nil {
			return err
		}
	}
}

// end closes an operation.
func (f *FS) end() { f.mu.Unlock() }

// room reports whether the operation may change credits more blocks.
//
// Context: FS.mu held.
func (f *FS) room(credits int) bool { return len(f.tx.buffers)+credits <= f.maxTx }

// dirty adds a buffer to the running transaction as kind k of owner, and
// returns its bytes, which may now be changed until FS.mu is unlocked.
//
// Context: FS.mu held; of a directory's block, also the directory's lock.
func (f *FS) dirty(b *buffer, k kind, owner uint32) []byte {
	if !b.joined {
		if len(f.tx.buffers) == 0 {
			f.armTimer()
		}
		f.cache.pin(b)
		f.tx.buffers[b.nr] = b
		b.joined = true
		delete(f.tx.revoked, b.nr)
	}
	if b.frozen {
		b.set(append([]byte(nil), b.bytes()...))
		b.frozen = false
	}
	b.check.Lock()
	b.kind, b.owner = k, owner
	b.check.Unlock()
	return b.bytes()
}

// fresh makes block nr a zeroed metadata block of the running transaction.
//
// Context: FS.mu held.
func (f *FS) fresh(nr uint64, k kind, owner uint32) *buffer {
	b := f.cache.create(nr, make([]byte, f.sb.blockSize))
	f.dirty(b, k, owner)
	return b
}

// touch adds the inode to the running transaction: its fields may be changed
// until FS.mu is unlocked. timesOnly says that only timestamps change, which
// fdatasync need not wait for.
//
// Context: FS.mu held.
func (n *inode) touch(timesOnly bool) error {
	f := n.f
	nr, _ := f.inodePlace(n.ino)
	b := f.tx.buffers[nr]
	if b == nil {
		var err error
		if b, err = f.cache.get(nr); err != nil {
			return err
		}
	}
	f.dirty(b, kindInodes, 0)
	f.tx.inodes[n] = true
	n.dirty = true
	n.syncTx = f.tx.id
	if !timesOnly {
		n.dataTx = f.tx.id
	}
	return nil
}

// store encodes the inode into its block of the running transaction.
//
// Context: FS.mu held.
func (n *inode) store() {
	f := n.f
	nr, off := f.inodePlace(n.ino)
	n.encode()
	copy(f.tx.buffers[nr].bytes()[off:], n.raw)
	delete(f.tx.inodes, n)
	n.dirty = false
}

// joinGroup adds group g's descriptor to the running transaction.
//
// Context: FS.mu held.
func (f *FS) joinGroup(g uint32) (*group, error) {
	d := &f.groups[g]
	if f.tx.groups[g] {
		return d, nil
	}
	b, err := f.cache.get(f.sb.descBlock(g / f.sb.descPerBlock))
	if err != nil {
		return nil, err
	}
	f.dirty(b, kindDesc, 0)
	f.tx.groups[g] = true
	return d, nil
}

// forget takes a metadata block that is freed out of the transaction and the
// cache, and has the journal revoke it.
//
// Context: FS.mu held.
func (f *FS) forget(nr uint64) {
	if b := f.tx.buffers[nr]; b != nil {
		b.joined = false
		delete(f.tx.buffers, nr)
	}
	f.cache.forget(nr)
	f.tx.revoked[nr] = true
}

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

// abort makes the file system read-only after a failure that left memory and
// disk apart. It returns why, as an error for a program.
//
// Context: FS.mu not held.
func (f *FS) abort(why error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.abortLocked(why)
}

// abortLocked is abort.
//
// Context: FS.mu held.
func (f *FS) abortLocked(why error) error {
	errno := syscall.EIO
	errors.As(why, &errno)
	if f.failed != nil {
		return f.failed
	}
	f.failed = fmt.Errorf("ext4: stopped after a failure: %w", errno)
	f.log("%v; the file system is read-only from now on", why)
	if f.journal != nil {
		f.journal.Abort(f.failed, errno)
	}
	f.markError()
	return f.failed
}

// markError sets the error flag in the superblock on disk, past the journal.
// It cannot do more than try.
func (f *FS) markError() {
	_ = f.writeSuper(func(s []byte) {
		le.PutUint16(s[sbState:], le.Uint16(s[sbState:])&^stateValid|stateError)
		le.PutUint32(s[sbErrorCount:], le.Uint32(s[sbErrorCount:])+1)
		now := uint32(f.now().Unix())
		if le.Uint32(s[sbFirstErrTime:]) == 0 {
			le.PutUint32(s[sbFirstErrTime:], now)
		}
		le.PutUint32(s[sbLastErrTime:], now)
	})
}

// check passes an error of a change that had begun on to the caller. The
// change may be half done, so unless it only ran out of space, nothing more
// is written.
//
// Context: FS.mu held.
func (f *FS) check(err error) error {
	if err == nil || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) {
		return err
	}
	_ = f.abortLocked(err)
	return err
}
