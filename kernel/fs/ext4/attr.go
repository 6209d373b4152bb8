package ext4

import (
	"syscall"
	"time"

	"kiln/kernel/fs"
)

// Attr implements fs.Inode.
func (n *inode) Attr() (fs.Attr, error) {
	n.at.Lock()
	defer n.at.Unlock()
	a := fs.Attr{
		Ino: uint64(n.ino), Mode: n.mode, Nlink: n.links, UID: n.uid, GID: n.gid,
		Size: uint64(n.size), Blocks: n.sectors,
		Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime, Btime: n.btime,
	}
	switch n.typ {
	case syscall.S_IFCHR, syscall.S_IFBLK:
		a.Rdev = n.rdev()
	}
	return a, nil
}

// rdev returns the device number: of 16 bits in the first word of i_block, or
// of 32 bits in the second.
func (n *inode) rdev() uint64 {
	if v := le.Uint32(n.raw[inoBlock:]); v != 0 {
		return fs.Dev(v>>8&0xff, v&0xff)
	}
	return uint64(le.Uint32(n.raw[inoBlock+4:]))
}

// setRdev is its reverse.
func (n *inode) setRdev(dev uint64) {
	clear(n.root[:])
	major, minor := uint32(dev>>8&0xfff), uint32(dev&0xff|dev>>12&^0xff)
	if major < 256 && minor < 256 {
		le.PutUint32(n.root[:], major<<8|minor)
	} else {
		le.PutUint32(n.root[4:], uint32(dev))
	}
	copy(n.raw[inoBlock:], n.root[:])
}

// SetAttr implements fs.Inode.
func (n *inode) SetAttr(s fs.SetAttr) error {
	f := n.f
	if err := f.begin(creditsInode); err != nil {
		return err
	}
	defer f.end()
	if s.Mode == nil && s.UID == nil && s.GID == nil && s.Atime == nil && s.Mtime == nil {
		return nil
	}
	if err := n.touch(s.Mode == nil && s.UID == nil && s.GID == nil); err != nil {
		return err
	}
	now := f.now()
	n.at.Lock()
	defer n.at.Unlock()
	if s.Mode != nil {
		n.mode = n.typ | *s.Mode&07777
	}
	set(&n.uid, s.UID)
	set(&n.gid, s.GID)
	set(&n.atime, s.Atime)
	set(&n.mtime, s.Mtime)
	n.ctime = now
	return nil
}

func set[T uint32 | time.Time](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}
