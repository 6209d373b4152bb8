package ext4

import (
	"errors"
	"fmt"
	"syscall"
	"time"
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
	f.log("%v; the file system is read-only until it is mounted again", why)
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
