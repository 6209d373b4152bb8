package ext4

import (
	"bytes"
	"cmp"
	"strings"
	"syscall"
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
