package erofs

import (
	"fmt"
	"math"
)

// Sizes of structures on disk, in bytes.
const (
	superOffset  = 1024
	superSize    = 128
	slotSize     = 32 // inodes lie at multiples of it
	compactSize  = 32
	extendedSize = 64
	direntSize   = 12
)

// metaBlock is the address of the metadata area: behind the superblock's.
const metaBlock = 1

// A Plan is a tree with every file's place in the image. The tree must not
// change any more.
type Plan struct {
	root  *node
	nodes []*node // in order of their inodes, and of their data
	meta  int64   // bytes of the metadata area, whole blocks
	size  int64   // bytes of the image, whole blocks
}

// Size returns the size of the image in bytes, a multiple of BlockSize.
func (p *Plan) Size() int64 { return p.size }

// Plan gives every file its place: metadata first, then the data of large
// directories and of regular files, in the order of the tree.
func (t *Tree) Plan() (*Plan, error) {
	p := &Plan{root: t.root}
	p.collect(t.root)
	var off int64 // in the metadata area
	for i, n := range p.nodes {
		n.ino = uint32(i + 1)
		if n.is(modeDir) {
			n.size = direntBytes(n)
		}
		head, tail := n.inodeSize(), n.tail()
		// The inode and its tail must not cross into another block.
		if off/BlockSize != (off+head+tail-1)/BlockSize {
			off = roundUp(off, BlockSize)
		}
		n.nid = uint64(off / slotSize)
		off = roundUp(off+head+tail, slotSize)
	}
	p.meta = roundUp(off, BlockSize)
	block := metaBlock + p.meta/BlockSize
	for _, n := range p.nodes {
		if whole := n.size - n.tail(); whole > 0 {
			if block > math.MaxUint32 {
				return nil, fmt.Errorf("erofs: the files need more than %d blocks", uint32(math.MaxUint32))
			}
			n.block = uint32(block)
			block += roundUp(whole, BlockSize) / BlockSize
		}
	}
	p.size = block * BlockSize
	return p, nil
}

// collect appends n and what is below it to p.nodes: a directory, then its
// entries, then theirs.
func (p *Plan) collect(n *node) {
	p.nodes = append(p.nodes, n)
	if !n.is(modeDir) {
		return
	}
	n.sort = n.sorted()
	for _, c := range n.sort {
		if c.link == nil {
			p.collect(c)
		}
	}
}

// compact reports whether the 32-byte inode can hold n: it has no time, 32 bits
// of size, and 16 of user and group.
func (n *node) compact() bool {
	return n.mtime == 0 && n.uid <= math.MaxUint16 && n.gid <= math.MaxUint16 && n.size <= math.MaxUint32 && n.links() <= math.MaxUint16
}

func (n *node) inodeSize() int64 {
	if n.compact() {
		return compactSize
	}
	return extendedSize
}

// tail returns how many bytes of data lie behind the inode: the last, partial
// block of a directory or symbolic link, if a block has room for both.
func (n *node) tail() int64 {
	if n.is(modeRegular) {
		return 0
	}
	if t := n.size % BlockSize; n.inodeSize()+t <= BlockSize {
		return t
	}
	return 0
}

// links is the link count: of a directory, one for its name, one for its dot,
// and one for the dot-dot of each directory in it.
func (n *node) links() int {
	if !n.is(modeDir) {
		return 1 + n.names
	}
	links := 2
	for _, c := range n.children {
		if c.is(modeDir) {
			links++
		}
	}
	return links
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
