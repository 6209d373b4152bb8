package ext4

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"syscall"

	"kiln/kernel/fs"
)

// Extended attributes are in the inode after its fields, as far as there is
// room, and in one block of their own, which several inodes may share. Both
// places have entries growing up and values growing down:
//
//	inode   magic (4 bytes), entries; offsets of values from the first entry
//	block   header (32 bytes), sorted entries; offsets from the block's start
//
// An entry has the length of the name (1), the index of its prefix (1), the
// value's offset (2), the inode that holds it (4, here 0), its size (4), a
// hash (4) and the name without the prefix. Four zero bytes end the list.
const (
	xattrMagic    = 0xea020000
	xattrHeader   = 32
	xattrEntry    = 16
	xattrRefOff   = 0x04
	xattrBlocks   = 0x08
	xattrHashOff  = 0x0c
	xattrCsumOff  = 0x10
	xattrMaxValue = 64 << 10
)

// xattrPrefixes are what the indexes of names stand for.
var xattrPrefixes = map[uint8]string{
	1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 6: "security.", 7: "system.",
}

// An xattr is an attribute, its name split into index and rest.
type xattr struct {
	index uint8
	name  string
	value []byte
}

func (a xattr) fullName() (string, bool) {
	prefix, ok := xattrPrefixes[a.index]
	return prefix + a.name, ok && (strings.HasSuffix(prefix, ".") == (a.name != ""))
}

// splitXattr splits a name.
func splitXattr(full string) (xattr, error) {
	for _, i := range []uint8{2, 3, 1, 4, 6} {
		prefix := xattrPrefixes[i]
		rest, ok := strings.CutPrefix(full, prefix)
		if !ok || !strings.HasSuffix(prefix, ".") && rest != "" {
			continue
		}
		if strings.HasSuffix(prefix, ".") && rest == "" {
			return xattr{}, syscall.EINVAL
		}
		if len(rest) > maxName {
			return xattr{}, syscall.ERANGE
		}
		return xattr{index: i, name: rest}, nil
	}
	return xattr{}, syscall.EOPNOTSUPP
}

func (a xattr) isACL() bool { return a.index == 2 || a.index == 3 }

func (a xattr) same(b xattr) bool { return a.index == b.index && a.name == b.name }

// compareXattrs is the order of entries in a block.
func compareXattrs(a, b xattr) int {
	return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
}

// parseXattrs reads the entries at off in d; offsets of values count from
// base.
func (n *inode) parseXattrs(d []byte, off, base int) ([]xattr, error) {
	bad := func() error { return n.f.damaged("inode %d: extended attributes", n.ino) }
	var list []xattr
	for {
		if off+4 > len(d) {
			return nil, bad()
		}
		if le.Uint32(d[off:]) == 0 {
			return list, nil
		}
		if off+xattrEntry > len(d) {
			return nil, bad()
		}
		e := d[off:]
		nameLen, at, size := int(e[0]), base+int(le.Uint16(e[2:])), int(le.Uint32(e[8:]))
		next := off + (xattrEntry+nameLen+3)&^3
		if next > len(d) || le.Uint32(e[4:]) != 0 || size > len(d) || size > 0 && at+size > len(d) {
			return nil, bad()
		}
		a := xattr{index: e[1], name: string(e[xattrEntry : xattrEntry+nameLen])}
		if size > 0 {
			a.value = bytes.Clone(d[at : at+size])
		}
		list = append(list, a)
		off = next
	}
}

// inodeXattrs returns the attributes in the inode.
//
// Context: FS.mu held.
func (n *inode) inodeXattrs() ([]xattr, error) {
	at := 128 + n.extraSize()
	if n.extraSize() == 0 || at+4 > len(n.raw) || le.Uint32(n.raw[at:]) != xattrMagic {
		return nil, nil
	}
	return n.parseXattrs(n.raw[at+4:], 0, 0)
}

// xattrBlock returns the inode's block of attributes, nil if it has none.
//
// Context: FS.mu held.
func (n *inode) xattrBlock() (*buffer, error) {
	f := n.f
	if n.acl == 0 {
		return nil, nil
	}
	if !f.usable(n.acl, 1) {
		return nil, f.damaged("inode %d: attributes at block %d", n.ino, n.acl)
	}
	b, err := f.cache.get(n.acl)
	if err != nil {
		return nil, err
	}
	return b, f.verify(b, kindXattr, 0, func(d []byte) error {
		if le.Uint32(d) != xattrMagic || le.Uint32(d[xattrBlocks:]) != 1 {
			return f.damaged("inode %d: attribute block %d has no header", n.ino, b.nr)
		}
		if f.sb.metaCsum() && le.Uint32(d[xattrCsumOff:]) != f.xattrCsum(b.nr, d) {
			return f.damaged("inode %d: attribute block %d has a bad checksum", n.ino, b.nr)
		}
		return nil
	})
}

// blockXattrs returns the attributes in the block.
func (n *inode) blockXattrs() ([]xattr, error) {
	b, err := n.xattrBlock()
	if b == nil || err != nil {
		return nil, err
	}
	return n.parseXattrs(b.bytes(), xattrHeader, 0)
}

// xattrs returns all attributes: those in the inode, and those in the block.
//
// Context: FS.mu held.
func (n *inode) xattrs() (inInode, inBlock []xattr, err error) {
	if inInode, err = n.inodeXattrs(); err != nil {
		return nil, nil, err
	}
	inBlock, err = n.blockXattrs()
	return inInode, inBlock, err
}

// Getxattr implements fs.Inode.
func (n *inode) Getxattr(name string) ([]byte, error) {
	want, err := splitXattr(name)
	if err != nil {
		return nil, err
	}
	n.f.mu.Lock()
	a, b, err := n.xattrs()
	n.f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, x := range append(a, b...) {
		if !x.same(want) {
			continue
		}
		if x.isACL() {
			return n.aclFromDisk(x.value)
		}
		return append([]byte{}, x.value...), nil
	}
	return nil, syscall.ENODATA
}

// Listxattr implements fs.Inode.
func (n *inode) Listxattr() ([]string, error) {
	n.f.mu.Lock()
	a, b, err := n.xattrs()
	n.f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, x := range append(a, b...) {
		if name, ok := x.fullName(); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

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
