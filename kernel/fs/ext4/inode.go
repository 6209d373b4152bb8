package ext4

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kiln/kernel/fs"
)

// Fields of an inode: offset in bytes.
const (
	inoMode       = 0x00 // u16
	inoUID        = 0x02 // u16
	inoSizeLo     = 0x04
	inoAtime      = 0x08
	inoCtime      = 0x0c
	inoMtime      = 0x10
	inoDtime      = 0x14
	inoGID        = 0x18 // u16
	inoLinks      = 0x1a // u16
	inoBlocksLo   = 0x1c
	inoFlags      = 0x20
	inoBlock      = 0x28 // 60 bytes
	inoGeneration = 0x64
	inoACLLo      = 0x68
	inoSizeHi     = 0x6c
	inoBlocksHi   = 0x74 // u16
	inoACLHi      = 0x76 // u16
	inoUIDHi      = 0x78 // u16
	inoGIDHi      = 0x7a // u16
	inoCsumLo     = 0x7c // u16
	inoExtraIsize = 0x80 // u16
	inoCsumHi     = 0x82 // u16
	inoCtimeExtra = 0x84
	inoMtimeExtra = 0x88
	inoAtimeExtra = 0x8c
	inoCrtime     = 0x90
	inoCrtimeHi   = 0x94
)

// i_flags.
const (
	flagImmutable = 0x00000010
	flagAppend    = 0x00000020
	flagEncrypt   = 0x00000800
	flagIndex     = 0x00001000 // the directory has an index
	flagHugeFile  = 0x00040000 // i_blocks counts blocks
	flagExtents   = 0x00080000
	flagEAInode   = 0x00200000
	flagInline    = 0x10000000
)

// Inodes with a fixed number.
const (
	inoRoot = 2
)

// linkMax is the most links that an inode can have; directories with more
// (dir_nlink) say 1.
const linkMax = 65000

// An inode is a file of any type.
type inode struct {
	f   *FS
	ino uint32

	ready chan struct{} // closed when the inode or err is set
	err   error

	// These do not change.
	typ     uint32 // S_IFMT of the mode
	seed    uint32 // of checksums
	extents bool   // has an extent tree, not a block map
	fast    bool   // a symbolic link with its target in root

	refs    int  // guarded by FS.imu
	freeing bool // its last reference and link are gone. Guarded by FS.imu

	// mu guards content: root and size, the blocks below root and, of a
	// directory, what is in them. A change holds FS.mu too.
	mu      sync.RWMutex
	root    [60]byte // i_block
	indexed bool     // the directory has an index

	// at guards attributes. A change holds FS.mu too.
	at    sync.Mutex
	raw   []byte // as on disk, for what is not decoded
	mode  uint32
	uid   uint32
	gid   uint32
	links uint32
	flags uint32
	size  int64 // bytes. A change holds mu too
	// sectors is i_blocks: units of 512 bytes.
	sectors uint64
	gen     uint32
	acl     uint64 // block of extended attributes, 0 if none
	dtime   uint32
	atime   time.Time
	mtime   time.Time
	ctime   time.Time
	btime   time.Time

	dirty   bool   // changed since encode. Guarded by FS.mu
	syncTx  uint64 // last transaction with a change. Guarded by FS.mu
	dataTx  uint64 // the same, not counting timestamps. Guarded by FS.mu
	orphan  orphanState
	noName  bool   // it never had a name. Guarded by FS.mu
	goal    uint64 // where the next block would be good. Guarded by FS.mu
	reserve ranges // logical blocks reserved. Guarded by FS.mu
	// reserveCost is what FS.reserved has for this inode: blocks.
	reserveCost uint64 // guarded by FS.mu

	wrote atomic.Uint64 // FS.writes after its last write of content
}

var _ fs.Inode = (*inode)(nil)

// inodePlace returns the block that holds inode ino, and the offset in it.
func (f *FS) inodePlace(ino uint32) (nr uint64, off int) {
	g, i := (ino-1)/f.sb.inodesPerGroup, (ino-1)%f.sb.inodesPerGroup
	byteOff := uint64(i) * uint64(f.sb.inodeSize)
	bs := uint64(f.sb.blockSize)
	return f.groups[g].inodeTable + byteOff/bs, int(byteOff % bs)
}

// iget returns inode ino with a reference.
func (f *FS) iget(ino uint32) (*inode, error) {
	if ino == 0 || ino > f.sb.inodes {
		return nil, f.damaged("inode number %d of %d", ino, f.sb.inodes)
	}
	f.imu.Lock()
	if n := f.inodes[ino]; n != nil {
		if n.freeing {
			f.imu.Unlock()
			return nil, f.damaged("inode %d is referred to, but has no links", ino)
		}
		n.refs++
		f.imu.Unlock()
		<-n.ready
		if n.err != nil {
			return nil, n.err
		}
		return n, nil
	}
	n := &inode{f: f, ino: ino, ready: make(chan struct{}), refs: 1}
	f.inodes[ino] = n
	f.imu.Unlock()

	n.err = n.load()
	if n.err != nil {
		f.imu.Lock()
		delete(f.inodes, ino)
		f.imu.Unlock()
		close(n.ready)
		return nil, n.err
	}
	close(n.ready)
	return n, nil
}

// igetLinked returns the inode that a directory entry names. The caller checks
// that it has links.
func (f *FS) igetLinked(ino uint32) (*inode, error) {
	if ino < f.sb.firstIno && ino != inoRoot {
		return nil, f.damaged("a directory entry names inode %d, which is reserved", ino)
	}
	return f.iget(ino)
}

// linkCount returns the number of links.
func (n *inode) linkCount() uint32 {
	n.at.Lock()
	defer n.at.Unlock()
	return n.links
}

// load reads and decodes the inode.
func (n *inode) load() error {
	f := n.f
	nr, off := f.inodePlace(n.ino)
	b, err := f.cache.get(nr)
	if err != nil {
		return err
	}
	n.raw = append([]byte(nil), b.bytes()[off:off+f.sb.inodeSize]...)
	n.gen = le.Uint32(n.raw[inoGeneration:])
	n.seed = f.inodeSeed(n.ino, n.gen)
	if f.sb.metaCsum() {
		want := inodeCsum(n.seed, n.raw)
		got := uint32(le.Uint16(n.raw[inoCsumLo:]))
		if hasCsumHi(n.raw) {
			got |= uint32(le.Uint16(n.raw[inoCsumHi:])) << 16
		} else {
			want &= 0xffff
		}
		if got != want {
			return f.damaged("inode %d: checksum %#x, computed %#x", n.ino, got, want)
		}
	}
	n.decode()
	return n.checkLoaded()
}

func (n *inode) isDir() bool { return n.typ == syscall.S_IFDIR }
func (n *inode) isReg() bool { return n.typ == syscall.S_IFREG }

// Ino implements fs.Inode.
func (n *inode) Ino() uint64 { return uint64(n.ino) }

// IncRef implements fs.Inode.
func (n *inode) IncRef() {
	n.f.imu.Lock()
	n.refs++
	n.f.imu.Unlock()
}

// DecRef implements fs.Inode.
func (n *inode) DecRef() {
	f := n.f
	f.imu.Lock()
	n.refs--
	if n.refs > 0 {
		f.imu.Unlock()
		return
	}
	f.imu.Unlock()
	f.release(n)
}
