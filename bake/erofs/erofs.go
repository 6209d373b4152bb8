// Package erofs writes EROFS file systems: uncompressed, with blocks of 4096
// bytes and without extended attributes.
//
// The format is that of Linux, Documentation/filesystems/erofs.rst ("On-disk
// details"). Of what it leaves open, this is chosen:
//
//   - Regular files are flat plain: their data begins on a block boundary and
//     is contiguous, so that a loaded image can be mapped in place.
//   - Directories and symbolic links keep a short tail behind their inode.
//   - Everything belongs to root, and times are 0, unless said otherwise.
//   - Names are sorted: the same tree always gives the same bytes.
//
// Go modules that write EROFS exist, but put small files behind their inodes,
// where they cannot be mapped.
package erofs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// BlockSize is the size of a block in bytes: that of a page, so that blocks
// can be mapped.
const BlockSize = 4096

// maxName is the longest name of a directory entry.
const maxName = 255

// Content opens the data of a regular file. It is called once, when the image
// is written.
type Content func() (io.ReadCloser, error)

// A Tree is a file system to be written. Paths are absolute and clean; a
// parent that does not exist is made, with mode 0755.
type Tree struct {
	root *node
}

// A node is one file of any kind.
type node struct {
	name     string
	mode     uint16 // st_mode
	uid, gid uint32
	mtime    int64 // seconds
	size     int64 // of data; of a directory: set by plan
	content  Content
	target   string // of a symbolic link
	link     *node  // of a hard link: what it is another name of; nothing but name and parent is set
	names    int    // beside the first
	parent   *node  // the root's is the root
	children map[string]*node

	// Set by plan.
	ino   uint32
	nid   uint64 // offset of the inode in the metadata area, in slots
	block uint32 // address of the first data block, 0 if none
	sort  []*node
}

// File types in st_mode.
const (
	modeType    = 0xf000
	modeRegular = 0x8000
	modeDir     = 0x4000
	modeSymlink = 0xa000
)

func (n *node) is(typ uint16) bool { return n.mode&modeType == typ }

// inode returns the node that n is a name of: itself but for hard links.
func (n *node) inode() *node {
	if n.link != nil {
		return n.link
	}
	return n
}

// New returns a tree with an empty root directory.
func New() *Tree {
	root := &node{mode: modeDir | 0755, children: map[string]*node{}}
	root.parent = root
	return &Tree{root: root}
}

// Mkdir makes directory p, or changes the mode of one that exists.
func (t *Tree) Mkdir(p string, mode fs.FileMode) error {
	if p == "/" {
		t.root.mode = modeDir | permissions(mode)
		return nil
	}
	dir, name, err := t.parent(p)
	if err != nil {
		return err
	}
	if n := dir.children[name]; n != nil && n.is(modeDir) {
		n.mode = modeDir | permissions(mode)
		return nil
	}
	return dir.add(p, &node{name: name, mode: modeDir | permissions(mode), children: map[string]*node{}})
}

// Create makes the regular file p of size bytes. mtime is in seconds since
// 1970.
func (t *Tree) Create(p string, mode fs.FileMode, mtime, size int64, content Content) error {
	dir, name, err := t.parent(p)
	if err != nil {
		return err
	}
	return dir.add(p, &node{name: name, mode: modeRegular | permissions(mode), mtime: mtime, size: size, content: content})
}

// Symlink makes the symbolic link p to target.
func (t *Tree) Symlink(p, target string) error {
	if target == "" || len(target) >= BlockSize {
		return fmt.Errorf("erofs: %s: a symbolic link's target has 1 to %d bytes, not %d", p, BlockSize-1, len(target))
	}
	dir, name, err := t.parent(p)
	if err != nil {
		return err
	}
	return dir.add(p, &node{name: name, mode: modeSymlink | 0777, target: target, size: int64(len(target))})
}

// Link makes p another name of old, which exists and is no directory.
func (t *Tree) Link(p, old string) error {
	oldDir, oldName, err := t.parent(old)
	if err != nil {
		return err
	}
	n := oldDir.children[oldName]
	if n == nil || n.is(modeDir) {
		return fmt.Errorf("erofs: %s cannot be a link to %s", p, old)
	}
	dir, name, err := t.parent(p)
	if err != nil {
		return err
	}
	n = n.inode()
	if err := dir.add(p, &node{name: name, link: n}); err != nil {
		return err
	}
	n.names++
	return nil
}

// Chown gives p, which exists, to a user and a group.
func (t *Tree) Chown(p string, uid, gid uint32) error {
	n, err := t.lookup(p)
	if err != nil {
		return err
	}
	n.uid, n.gid = uid, gid
	return nil
}

// Chtime sets the time of p, which exists, in seconds since 1970.
func (t *Tree) Chtime(p string, mtime int64) error {
	n, err := t.lookup(p)
	if err != nil {
		return err
	}
	n.mtime = mtime
	return nil
}

// lookup returns the inode at p.
func (t *Tree) lookup(p string) (*node, error) {
	if p == "/" {
		return t.root, nil
	}
	dir, name, err := t.parent(p)
	if err != nil {
		return nil, err
	}
	n := dir.children[name]
	if n == nil {
		return nil, fmt.Errorf("erofs: %s does not exist", p)
	}
	return n.inode(), nil
}

// parent returns the directory that p lies in, made if need be, and p's last
// element.
func (t *Tree) parent(p string) (*node, string, error) {
	if !path.IsAbs(p) || p != path.Clean(p) || p == "/" {
		return nil, "", fmt.Errorf("erofs: %q is no clean absolute path", p)
	}
	elems := strings.Split(p[1:], "/")
	dir := t.root
	for _, e := range elems[:len(elems)-1] {
		next := dir.children[e]
		if next == nil {
			next = &node{name: e, mode: modeDir | 0755, children: map[string]*node{}}
			if err := dir.add(p, next); err != nil {
				return nil, "", err
			}
		}
		if !next.is(modeDir) {
			return nil, "", fmt.Errorf("erofs: %s: %s is no directory", p, e)
		}
		dir = next
	}
	return dir, elems[len(elems)-1], nil
}

func (n *node) add(p string, child *node) error {
	if len(child.name) > maxName {
		return fmt.Errorf("erofs: %s: a name of more than %d bytes", p, maxName)
	}
	if n.children[child.name] != nil {
		return fmt.Errorf("erofs: %s exists already", p)
	}
	child.parent = n
	n.children[child.name] = child
	return nil
}

// permissions returns the low twelve bits of st_mode.
func permissions(m fs.FileMode) uint16 {
	p := uint16(m.Perm())
	if m&fs.ModeSetuid != 0 {
		p |= 04000
	}
	if m&fs.ModeSetgid != 0 {
		p |= 02000
	}
	if m&fs.ModeSticky != 0 {
		p |= 01000
	}
	return p
}

// sorted returns the children by name.
func (n *node) sorted() []*node {
	out := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out
}
