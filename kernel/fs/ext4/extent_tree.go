package ext4

import "syscall"

// An extStep is a node on the path to a leaf.
type extStep struct {
	b   *buffer // nil for the root
	pos int     // the entry that was taken; -1 in a leaf if all come later
}

// nodeBytes returns a node's bytes, to be read.
func (n *inode) nodeBytes(s extStep) []byte {
	if s.b == nil {
		return n.root[:]
	}
	return s.b.bytes()
}

// nodeWrite returns a node's bytes, to be changed.
//
// Context: FS.mu held and the inode touched.
func (n *inode) nodeWrite(s extStep) []byte {
	if s.b == nil {
		return n.root[:]
	}
	return n.f.dirty(s.b, kindExtents, n.seed)
}

// extPath returns the nodes from the root to the leaf where logical block lblk
// is or would be.
func (n *inode) extPath(lblk uint64) ([]extStep, error) {
	step := extStep{}
	var path []extStep
	next, from := uint64(1<<32), uint64(0)
	for depth := extDepth(n.root[:]); ; depth-- {
		d := n.nodeBytes(step)
		step.pos = extSearch(d, lblk)
		if depth == 0 {
			return append(path, step), nil
		}
		step.pos = max(step.pos, 0)
		path = append(path, step)
		if step.pos+1 < extCount(d) {
			next = extKey(extEntry(d, step.pos+1))
		}
		e := extEntry(d, step.pos)
		from = extKey(e)
		b, err := n.extNode(extChild(e), depth-1, from, next)
		if err != nil {
			return nil, err
		}
		step = extStep{b: b}
	}
}

func setExtCount(d []byte, count int) { le.PutUint16(d[2:], uint16(count)) }

func putExtHeader(d []byte, count, room, depth int) {
	le.PutUint16(d, extMagic)
	le.PutUint16(d[2:], uint16(count))
	le.PutUint16(d[4:], uint16(room))
	le.PutUint16(d[6:], uint16(depth))
}

// initExtents makes the root that of an empty tree.
func (n *inode) initExtents() {
	clear(n.root[:])
	putExtHeader(n.root[:], 0, (len(n.root)-extHeaderLen)/extEntryLen, 0)
}

// insertAt puts an entry into a node that has room.
func insertAt(d []byte, at int, e []byte) {
	count := extCount(d)
	tail := d[extHeaderLen+extEntryLen*at : extHeaderLen+extEntryLen*(count+1)]
	copy(tail[extEntryLen:], tail[:len(tail)-extEntryLen])
	copy(tail, e)
	setExtCount(d, count+1)
}

// fixKeys brings the keys above a node in line with its first entry.
func (n *inode) fixKeys(path []extStep, level int) {
	key := le.Uint32(extEntry(n.nodeBytes(path[level]), 0))
	for level--; level >= 0; level-- {
		le.PutUint32(extEntry(n.nodeWrite(path[level]), path[level].pos), key)
		if path[level].pos > 0 {
			return
		}
	}
}

// insertEntry puts an entry into the node at a level of path, splitting nodes
// as needed. The path is of no use afterwards.
func (n *inode) insertEntry(path []extStep, level, at int, e []byte) error {
	d := n.nodeWrite(path[level])
	if extCount(d) < extMax(d) {
		insertAt(d, at, e)
		if at == 0 {
			n.fixKeys(path, level)
		}
		return nil
	}
	if level > 0 {
		return n.splitNode(path, level, at, e)
	}
	path, err := n.growTree(path)
	if err != nil {
		return err
	}
	return n.insertEntry(path, 1, at, e)
}

// newNode allocates a block for a node of the tree.
func (n *inode) newNode(depth int) (*buffer, uint64, error) {
	f := n.f
	nr, err := f.allocMeta(n.metaGoal())
	if err != nil {
		return nil, 0, err
	}
	b := f.fresh(nr, kindExtents, n.seed)
	putExtHeader(b.bytes(), 0, (f.sb.blockSize-extHeaderLen)/extEntryLen, depth)
	n.addBlocks(1)
	return b, nr, nil
}

// growTree moves what is in the root to a new node below it.
func (n *inode) growTree(path []extStep) ([]extStep, error) {
	root := n.root[:]
	depth := extDepth(root)
	if depth == extMaxDepth {
		return nil, syscall.EFBIG
	}
	b, nr, err := n.newNode(depth)
	if err != nil {
		return nil, err
	}
	count := extCount(root)
	copy(b.bytes()[extHeaderLen:], root[extHeaderLen:extHeaderLen+extEntryLen*count])
	setExtCount(b.bytes(), count)
	key := extKey(extEntry(root, 0))
	putExtHeader(root, 1, extMax(root), depth+1)
	putExtChild(extEntry(root, 0), key, nr)
	below := append([]extStep{{}, {b: b, pos: path[0].pos}}, path[1:]...)
	return below, nil
}

// splitNode makes room in a full node by moving its upper half to a new one;
// at the end of the tree, only the new entry goes there, so that files written
// in order have full nodes.
func (n *inode) splitNode(path []extStep, level, at int, e []byte) error {
	left := n.nodeWrite(path[level])
	count := extCount(left)
	split := count / 2
	if at == count {
		split = count
	}
	b, nr, err := n.newNode(extDepth(left))
	if err != nil {
		return err
	}
	right := b.bytes()
	copy(right[extHeaderLen:], left[extHeaderLen+extEntryLen*split:extHeaderLen+extEntryLen*count])
	setExtCount(left, split)
	setExtCount(right, count-split)
	if at > split || split == count {
		insertAt(right, at-split, e)
	} else {
		insertAt(left, at, e)
		if at == 0 {
			n.fixKeys(path, level)
		}
	}
	var index [extEntryLen]byte
	putExtChild(index[:], extKey(extEntry(right, 0)), nr)
	return n.insertEntry(path, level-1, path[level-1].pos+1, index[:])
}

// removeEntry takes an entry out of the node at a level of path. Nodes that
// become empty are freed.
func (n *inode) removeEntry(path []extStep, level, at int) error {
	d := n.nodeWrite(path[level])
	count := extCount(d)
	if count == 1 && level > 0 {
		if err := n.freeNode(path[level].b.nr); err != nil {
			return err
		}
		return n.removeEntry(path, level-1, path[level-1].pos)
	}
	copy(d[extHeaderLen+extEntryLen*at:], d[extHeaderLen+extEntryLen*(at+1):extHeaderLen+extEntryLen*count])
	setExtCount(d, count-1)
	if count == 1 {
		putExtHeader(d, 0, extMax(d), 0)
		return nil
	}
	if at == 0 {
		n.fixKeys(path, level)
	}
	return n.lowerTree()
}

func (n *inode) freeNode(nr uint64) error {
	n.addBlocks(-1)
	return n.f.freeMeta(nr)
}

// lowerTree moves a single node below the root into it while it fits.
func (n *inode) lowerTree() error {
	root := n.root[:]
	for extDepth(root) > 0 && extCount(root) == 1 {
		e := extEntry(root, 0)
		nr, depth := extChild(e), extDepth(root)-1
		b, err := n.extNode(nr, depth, extKey(e), 1<<32)
		if err != nil {
			return err
		}
		d := b.bytes()
		count := extCount(d)
		if count > extMax(root) {
			return nil
		}
		copy(root[extHeaderLen:], d[extHeaderLen:extHeaderLen+extEntryLen*count])
		putExtHeader(root, count, extMax(root), depth)
		if err := n.freeNode(nr); err != nil {
			return err
		}
	}
	return nil
}

// roomFor makes sure that so many entries can be added at path, so that a
// change does not run out of space half-way.
func (n *inode) roomFor(path []extStep, entries int) error {
	d := n.nodeBytes(path[len(path)-1])
	if extCount(d)+entries <= extMax(d) {
		return nil
	}
	need := uint64(entries * (len(path) + 1))
	if f := n.f; f.freeBlocks < f.heldCount+need {
		return syscall.ENOSPC
	}
	return nil
}
