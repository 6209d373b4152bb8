package ext4

import (
	"sync"
	"sync/atomic"
	"time"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
	"kiln/kernel/fs/ext4/jbd2"
)

// Options say how to mount.
type Options struct {
	// ReadOnly mounts so that nothing is changed; an unclean journal is
	// replayed all the same.
	ReadOnly bool
	// Log gets lines about damage, failures and decisions at mount. It may be
	// nil.
	Log func(string)
	// CacheBytes bounds the metadata that is cached beyond what has yet to be
	// written; 0 means 4 MB.
	CacheBytes int
}

const defaultCache = 4 << 20 // bytes

// An FS is a mounted file system.
type FS struct {
	dev      block.Device
	opts     Options
	sb       *superblock
	readOnly bool // as mounted
	cache    *cache
	zones    []zone    // of its own structures; sorted
	journal  *jbd2.Log // nil if it has none
	// journalAt is where the journal is, if it was opened.
	journalAt []jbd2.Run
	maxTx     int  // blocks in a transaction
	wasValid  bool // it was clean before it was mounted

	damageLines atomic.Int32

	commitMu sync.Mutex

	mu            sync.Mutex
	groups        []group                // guarded by mu
	tx            *transaction           // the running one. Guarded by mu
	committed     uint64                 // the last transaction that has. Guarded by mu
	failed        error                  // why changes are refused. Guarded by mu
	freeBlocks    uint64                 // as of the bitmaps. Guarded by mu
	held          map[uint32]*heldBlocks // by group. Guarded by mu
	heldCount     uint64                 // blocks. Guarded by mu
	reserved      uint64                 // blocks. Guarded by mu
	left          map[uint32]unsynced    // inodes not in use any more. Guarded by mu
	orphans       []*inode               // the list from its end. Guarded by mu
	orphanFile    *orphanFile            // nil if there is none
	orphanPresent bool                   // as the superblock has it. Guarded by mu
	hasLargeFile  bool                   // there may be files larger than 2 GB. Guarded by mu
	wantLargeFile bool                   // the superblock has yet to say so. Guarded by mu

	imu    sync.Mutex
	inodes map[uint32]*inode // in use. Guarded by imu

	writes  atomic.Uint64 // of content that the device has accepted
	flushed atomic.Uint64 // up to which of them are durable

	checkpointing atomic.Bool    // one is running in the background
	background    sync.WaitGroup // of checkpoints
}

var _ fs.Filesystem = (*FS)(nil)

// Type implements fs.Filesystem.
func (f *FS) Type() string { return "ext4" }

// ReadOnly implements fs.Filesystem.
func (f *FS) ReadOnly() bool { return f.stopped() }

// Shrink drops cached metadata that is not waiting to be written, and returns
// how many bytes that were.
func (f *FS) Shrink() int { return f.cache.shrink() * f.sb.blockSize }

// Remote implements fs.Filesystem.
func (f *FS) Remote() bool { return false }

// Root implements fs.Filesystem.
func (f *FS) Root() (fs.Inode, error) {
	n, err := f.igetLinked(inoRoot)
	if err != nil {
		return nil, err
	}
	if !n.isDir() || n.linkCount() == 0 {
		n.DecRef()
		return nil, f.damaged("the root is no directory")
	}
	return n, nil
}

// Statfs implements fs.Filesystem.
func (f *FS) Statfs() (fs.Statfs, error) {
	s := fs.Statfs{
		Magic: superMagic, BlockSize: int64(f.sb.blockSize), Blocks: f.sb.blocks,
		Files: uint64(f.sb.inodes), NameLen: maxName,
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// As on Linux, the file system's own structures do not count.
	for _, z := range f.zones {
		s.Blocks -= min(z.end, f.sb.blocks) - z.start
	}
	s.BlocksFree = f.freeBlocks - min(f.freeBlocks, f.reserved)
	for i := range f.groups {
		s.FilesFree += uint64(f.groups[i].freeInodes)
	}
	s.BlocksAvail = s.BlocksFree - min(s.BlocksFree, f.sb.reserved)
	return s, nil
}

// verify checks a buffer as kind k of owner, unless that has been done.
func (f *FS) verify(b *buffer, k kind, owner uint32, check func(d []byte) error) error {
	b.check.Lock()
	defer b.check.Unlock()
	if b.kind == k && b.owner == owner {
		return nil
	}
	if err := check(b.bytes()); err != nil {
		return err
	}
	b.kind, b.owner = k, owner
	return nil
}

func (f *FS) now() time.Time { return time.Now() }
