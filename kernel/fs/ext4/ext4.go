package ext4

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
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
	readOnly bool
	cache    *cache
	zones    []zone // sorted
	groups   []group

	damageLines atomic.Int32

	imu    sync.Mutex
	inodes map[uint32]*inode // in use. Guarded by imu
}

var _ fs.Filesystem = (*FS)(nil)

// Mount mounts the file system on dev. It fails with EINVAL if there is none,
// EOPNOTSUPP if it has features that are not known, EUCLEAN if it is damaged.
func Mount(dev block.Device, o Options) (*FS, error) {
	raw, err := readSuper(dev)
	if err != nil {
		return nil, fmt.Errorf("ext4: %w", err)
	}
	sb, err := parseSuper(raw, dev)
	if err != nil {
		return nil, fmt.Errorf("ext4: %w", err)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	f := &FS{dev: dev, opts: o, sb: sb, readOnly: true, inodes: make(map[uint32]*inode)}
	f.cache = newCache(dev, sb.blockSize, o.CacheBytes)
	if sb.incompat&incompatRecover != 0 {
		return nil, fmt.Errorf("ext4: the journal has to be replayed: %w", syscall.EOPNOTSUPP)
	}
	if err := f.loadGroups(); err != nil {
		return nil, err
	}
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	root.DecRef()
	f.log("mounted read-only")
	return f, nil
}

// Type implements fs.Filesystem.
func (f *FS) Type() string { return "ext4" }

// ReadOnly implements fs.Filesystem.
func (f *FS) ReadOnly() bool { return f.readOnly }

// Remote implements fs.Filesystem.
func (f *FS) Remote() bool { return false }

// Root implements fs.Filesystem.
func (f *FS) Root() (fs.Inode, error) {
	n, err := f.igetLinked(inoRoot)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
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
	for i := range f.groups {
		s.BlocksFree += uint64(f.groups[i].freeBlocks)
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
