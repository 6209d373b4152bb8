package ext4

import (
	"syscall"
	"time"
)

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
