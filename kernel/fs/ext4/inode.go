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

// extraSize returns how many bytes after the first 128 hold fields.
func (n *inode) extraSize() int {
	if len(n.raw) <= 128 {
		return 0
	}
	return int(le.Uint16(n.raw[inoExtraIsize:]))
}

// hasField reports whether the inode has a field of four bytes at off.
func (n *inode) hasField(off int) bool { return off+4 <= 128+n.extraSize() }

func (n *inode) decode() {
	r := n.raw
	n.mode = uint32(le.Uint16(r[inoMode:]))
	n.typ = n.mode & syscall.S_IFMT
	n.uid = uint32(le.Uint16(r[inoUID:])) | uint32(le.Uint16(r[inoUIDHi:]))<<16
	n.gid = uint32(le.Uint16(r[inoGID:])) | uint32(le.Uint16(r[inoGIDHi:]))<<16
	n.links = uint32(le.Uint16(r[inoLinks:]))
	n.flags = le.Uint32(r[inoFlags:])
	n.extents = n.flags&flagExtents != 0
	n.indexed = n.flags&flagIndex != 0 && n.isDir() && n.f.sb.dirIndex()
	n.dtime = le.Uint32(r[inoDtime:])
	n.size = int64(le.Uint32(r[inoSizeLo:]))
	if n.isReg() || n.isDir() {
		n.size |= int64(le.Uint32(r[inoSizeHi:])) << 32
	}
	n.sectors = uint64(le.Uint32(r[inoBlocksLo:]))
	if n.f.sb.roCompat&roHugeFile != 0 {
		n.sectors |= uint64(le.Uint16(r[inoBlocksHi:])) << 32
		if n.flags&flagHugeFile != 0 {
			n.sectors *= uint64(n.f.sb.blockSize / 512)
		}
	}
	n.acl = uint64(le.Uint32(r[inoACLLo:]))
	if n.f.sb.incompat&incompat64Bit != 0 {
		n.acl |= uint64(le.Uint16(r[inoACLHi:])) << 32
	}
	copy(n.root[:], r[inoBlock:])
	n.atime = n.decodeTime(inoAtime, inoAtimeExtra)
	n.mtime = n.decodeTime(inoMtime, inoMtimeExtra)
	n.ctime = n.decodeTime(inoCtime, inoCtimeExtra)
	if n.extraSize() <= len(r)-128 && n.hasField(inoCrtimeHi) {
		n.btime = n.decodeTime(inoCrtime, inoCrtimeHi)
	}
}

// checkLoaded checks what was decoded.
func (n *inode) checkLoaded() error {
	f := n.f
	if x := n.extraSize(); x > len(n.raw)-128 && len(n.raw) > 128 || x%4 != 0 {
		return f.damaged("inode %d: %d extra bytes in %d", n.ino, x, len(n.raw))
	}
	if n.size < 0 {
		return f.damaged("inode %d: size %#x", n.ino, uint64(n.size))
	}
	if n.flags&(flagInline|flagEncrypt) != 0 {
		return f.damaged("inode %d: flags %#x need features that the superblock does not have", n.ino, n.flags)
	}
	switch n.typ {
	case syscall.S_IFREG, syscall.S_IFDIR:
	case syscall.S_IFLNK:
		if n.fast = n.isFastLink(); n.fast {
			return nil
		}
	case syscall.S_IFCHR, syscall.S_IFBLK, syscall.S_IFIFO, syscall.S_IFSOCK:
		return nil
	case 0:
		if n.links == 0 {
			return nil
		}
		fallthrough
	default:
		return f.damaged("inode %d: type %#o", n.ino, n.mode)
	}
	if n.isDir() && (n.size%int64(f.sb.blockSize) != 0 || n.size > maxDirBlocks*int64(f.sb.blockSize)) {
		return f.damaged("directory %d: size %d", n.ino, n.size)
	}
	if n.extents {
		return n.checkExtents(n.root[:], -1)
	}
	return nil
}

func (n *inode) isDir() bool { return n.typ == syscall.S_IFDIR }
func (n *inode) isReg() bool { return n.typ == syscall.S_IFREG }

// isFastLink reports whether the inode is a symbolic link whose target is in
// the inode itself.
func (n *inode) isFastLink() bool {
	if n.typ != syscall.S_IFLNK || n.extents {
		return false
	}
	own := n.sectors
	if n.acl != 0 {
		own -= min(own, uint64(n.f.sb.blockSize/512))
	}
	return own == 0 && n.size < int64(len(n.root))
}

// decodeTime decodes a time: seconds at off, and at extra two bits more of
// seconds and 30 bits of nanoseconds.
func (n *inode) decodeTime(off, extra int) time.Time {
	sec := int64(int32(le.Uint32(n.raw[off:])))
	if n.extraSize() > len(n.raw)-128 || !n.hasField(extra) {
		return time.Unix(sec, 0)
	}
	x := le.Uint32(n.raw[extra:])
	return time.Unix(sec+int64(x&3)<<32, int64(x>>2))
}

// encodeTime is its reverse. Times out of range become the nearest one.
func (n *inode) encodeTime(off, extra int, t time.Time) {
	const first, last, lastWide = -1 << 31, 1<<31 - 1, 3<<32 + 1<<31 - 1
	sec := t.Unix()
	if !n.hasField(extra) {
		le.PutUint32(n.raw[off:], uint32(int32(min(max(sec, first), last))))
		return
	}
	sec = min(max(sec, first), lastWide)
	le.PutUint32(n.raw[off:], uint32(sec))
	epoch := uint32((sec-int64(int32(sec)))>>32) & 3
	le.PutUint32(n.raw[extra:], epoch|uint32(t.Nanosecond())<<2)
}

// encode writes the inode's fields to raw.
//
// Context: FS.mu held.
func (n *inode) encode() {
	n.at.Lock()
	defer n.at.Unlock()
	r := n.raw
	le.PutUint16(r[inoMode:], uint16(n.mode))
	le.PutUint16(r[inoUID:], uint16(n.uid))
	le.PutUint16(r[inoUIDHi:], uint16(n.uid>>16))
	le.PutUint16(r[inoGID:], uint16(n.gid))
	le.PutUint16(r[inoGIDHi:], uint16(n.gid>>16))
	le.PutUint16(r[inoLinks:], uint16(n.links))
	le.PutUint32(r[inoDtime:], n.dtime)
	le.PutUint32(r[inoSizeLo:], uint32(n.size))
	if n.isReg() || n.isDir() {
		le.PutUint32(r[inoSizeHi:], uint32(n.size>>32))
	}
	n.encodeSectors()
	n.flags &^= flagIndex
	if n.indexed {
		n.flags |= flagIndex
	}
	le.PutUint32(r[inoFlags:], n.flags)
	le.PutUint32(r[inoGeneration:], n.gen)
	le.PutUint32(r[inoACLLo:], uint32(n.acl))
	if n.f.sb.incompat&incompat64Bit != 0 {
		le.PutUint16(r[inoACLHi:], uint16(n.acl>>32))
	}
	copy(r[inoBlock:], n.root[:])
	n.encodeTime(inoAtime, inoAtimeExtra, n.atime)
	n.encodeTime(inoMtime, inoMtimeExtra, n.mtime)
	n.encodeTime(inoCtime, inoCtimeExtra, n.ctime)
	if n.hasField(inoCrtimeHi) {
		n.encodeTime(inoCrtime, inoCrtimeHi, n.btime)
	}
	if n.f.sb.metaCsum() {
		c := inodeCsum(n.seed, r)
		le.PutUint16(r[inoCsumLo:], uint16(c))
		if hasCsumHi(r) {
			le.PutUint16(r[inoCsumHi:], uint16(c>>16))
		}
	}
}

// encodeSectors writes i_blocks, in units of blocks where sectors do not fit.
func (n *inode) encodeSectors() {
	v := n.sectors
	n.flags &^= flagHugeFile
	if n.f.sb.roCompat&roHugeFile != 0 {
		if v >= 1<<48 {
			v /= uint64(n.f.sb.blockSize / 512)
			n.flags |= flagHugeFile
		}
		le.PutUint16(n.raw[inoBlocksHi:], uint16(v>>32))
	}
	le.PutUint32(n.raw[inoBlocksLo:], uint32(v))
}

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
