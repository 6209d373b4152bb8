package ext4

import (
	"bytes"
	"slices"
	"syscall"

	"kiln/kernel/fs"
)

// Setxattr implements fs.Inode.
func (n *inode) Setxattr(name string, value []byte, flags uint32) error {
	a, err := splitXattr(name)
	if err != nil {
		return err
	}
	if flags&^(fs.XattrCreate|fs.XattrReplace) != 0 {
		return syscall.EINVAL
	}
	if len(value) > xattrMaxValue {
		return syscall.ENOSPC
	}
	if a.value = bytes.Clone(value); a.isACL() {
		if a.value, err = aclToDisk(value); err != nil {
			return err
		}
	}
	return n.changeXattr(a, flags, false)
}

// Removexattr implements fs.Inode.
func (n *inode) Removexattr(name string) error {
	a, err := splitXattr(name)
	if err != nil {
		return err
	}
	return n.changeXattr(a, fs.XattrReplace, true)
}

// changeXattr sets or removes an attribute.
func (n *inode) changeXattr(a xattr, flags uint32, remove bool) error {
	f := n.f
	return f.retry(func() error {
		if err := f.begin(creditsTree); err != nil {
			return err
		}
		defer f.end()
		inInode, inBlock, err := n.xattrs()
		if err != nil {
			return err
		}
		without := func(list []xattr) []xattr {
			return slices.DeleteFunc(slices.Clone(list), a.same)
		}
		restInode, restBlock := without(inInode), without(inBlock)
		exists := len(restInode) < len(inInode) || len(restBlock) < len(inBlock)
		switch {
		case exists && flags&fs.XattrCreate != 0:
			return syscall.EEXIST
		case !exists && flags&fs.XattrReplace != 0:
			return syscall.ENODATA
		}
		if !remove {
			// In the inode if it fits there, else in the block.
			if withIt := append(slices.Clone(restInode), a); n.fitsInode(withIt) {
				restInode = withIt
			} else if restBlock = append(restBlock, a); !f.fitsBlock(restBlock) {
				return syscall.ENOSPC
			}
		}
		if err := n.touch(false); err != nil {
			return err
		}
		if err := n.storeBlockXattrs(inBlock, restBlock); err != nil {
			return f.check(err)
		}
		n.storeInodeXattrs(restInode)
		n.setTimes(false)
		return nil
	})
}

// xattrSize returns the room that attributes take, with the end of the list.
func xattrSize(list []xattr) int {
	size := 4
	for _, a := range list {
		size += (xattrEntry+len(a.name)+3)&^3 + (len(a.value)+3)&^3
	}
	return size
}

func (n *inode) fitsInode(list []xattr) bool {
	return n.extraSize() > 0 && 4+xattrSize(list) <= len(n.raw)-128-n.extraSize()
}

func (f *FS) fitsBlock(list []xattr) bool {
	return xattrHeader+xattrSize(list) <= f.sb.blockSize
}

// putXattrs writes entries at off in d, and values at its end.
func putXattrs(d []byte, off int, list []xattr) {
	end := len(d)
	for _, a := range list {
		e := d[off:]
		e[0], e[1] = uint8(len(a.name)), a.index
		if len(a.value) > 0 {
			end -= (len(a.value) + 3) &^ 3
			copy(d[end:], a.value)
			le.PutUint16(e[2:], uint16(end))
		}
		le.PutUint32(e[8:], uint32(len(a.value)))
		le.PutUint32(e[12:], a.hash())
		copy(e[xattrEntry:], a.name)
		off += (xattrEntry + len(a.name) + 3) &^ 3
	}
}

// hash returns the hash of an entry's name and value.
func (a xattr) hash() uint32 {
	h := uint32(0)
	for i := range len(a.name) {
		h = h<<5 ^ h>>27 ^ uint32(a.name[i])
	}
	v := append(bytes.Clone(a.value), make([]byte, -len(a.value)&3)...)
	for i := 0; i < len(v); i += 4 {
		h = h<<16 ^ h>>16 ^ le.Uint32(v[i:])
	}
	return h
}

// storeInodeXattrs writes the attributes in the inode.
//
// Context: FS.mu held, the inode touched.
func (n *inode) storeInodeXattrs(list []xattr) {
	at := 128 + n.extraSize()
	if n.extraSize() == 0 || at+4 > len(n.raw) {
		return
	}
	n.at.Lock()
	defer n.at.Unlock()
	clear(n.raw[at:])
	if len(list) > 0 {
		le.PutUint32(n.raw[at:], xattrMagic)
		putXattrs(n.raw[at+4:], 0, list)
	}
}

// storeBlockXattrs writes the attributes in the block, if they changed. A
// block that other inodes share stays theirs.
//
// Context: FS.mu held, the inode touched.
func (n *inode) storeBlockXattrs(old, list []xattr) error {
	f := n.f
	if slices.EqualFunc(old, list, func(a, b xattr) bool { return a.same(b) && bytes.Equal(a.value, b.value) }) {
		return nil
	}
	if len(list) == 0 {
		return f.dropXattrBlock(n)
	}
	b, err := n.xattrBlock()
	if err != nil {
		return err
	}
	if b == nil || le.Uint32(b.bytes()[xattrRefOff:]) > 1 {
		nr, err := f.allocMeta(n.metaGoal())
		if err != nil {
			return err
		}
		if err := f.dropXattrBlock(n); err != nil {
			return err
		}
		b = f.fresh(nr, kindXattr, 0)
		n.at.Lock()
		n.acl = nr
		n.at.Unlock()
		n.addBlocks(1)
	}
	d := f.dirty(b, kindXattr, 0)
	clear(d)
	slices.SortFunc(list, compareXattrs)
	putXattrs(d, xattrHeader, list)
	le.PutUint32(d, xattrMagic)
	le.PutUint32(d[xattrRefOff:], 1)
	le.PutUint32(d[xattrBlocks:], 1)
	h := uint32(0)
	for _, a := range list {
		h = h<<16 ^ h>>16 ^ a.hash()
	}
	le.PutUint32(d[xattrHashOff:], h)
	return nil
}

// dropXattrBlock takes the block of attributes from the inode, and frees it if
// no other inode shares it.
//
// Context: FS.mu held, the inode touched.
func (f *FS) dropXattrBlock(n *inode) error {
	b, err := n.xattrBlock()
	if b == nil || err != nil {
		return err
	}
	if refs := le.Uint32(b.bytes()[xattrRefOff:]); refs > 1 {
		le.PutUint32(f.dirty(b, kindXattr, 0)[xattrRefOff:], refs-1)
	} else if err := f.freeMeta(n.acl); err != nil {
		return err
	}
	n.at.Lock()
	n.acl = 0
	n.at.Unlock()
	n.addBlocks(-1)
	return nil
}
