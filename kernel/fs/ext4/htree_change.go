package ext4

import (
	"cmp"
	"slices"
	"syscall"
)

// dxSplits bounds how often adding one entry may split something: each level
// once, and a leaf several times while long names collide.
const dxSplits = 16

// hashed is an entry with the hash of its name.
type hashed struct {
	dirent
	hash uint32
}

// makeIndex turns a directory of one full block into an indexed one: its
// entries move to a leaf.
//
// Context: FS.mu and n.mu held, the inode touched.
func (n *inode) makeIndex() error {
	f := n.f
	b, k, err := n.dotdot()
	if err != nil {
		return err
	}
	leaf, lblk, err := n.appendBlock()
	if err != nil {
		return err
	}
	d := f.dirty(b, k, n.seed)
	parent := le.Uint32(d[12:])
	f.fillLeaf(leaf.bytes(), f.entries(d))

	d = f.dirty(b, kindDxRoot, n.seed)
	clear(d)
	typ := f.direntType(syscall.S_IFDIR)
	putDirent(d, 0, 12, n.ino, typ, ".")
	putDirent(d, 12, len(d)-12, parent, typ, "..")
	d[dxRootInfo+4], d[dxRootInfo+5] = f.sb.hashVersion, 8
	x := &dxFrame{b: b, at: dxRootEntries}
	x.init(f.dxLimit(dxRootEntries), 1)
	x.put(0, 0, lblk)
	n.indexed = true
	return nil
}

// fillLeaf makes d a block with the given entries, which are not in d.
func (f *FS) fillLeaf(d []byte, list []dirent) {
	f.initDirBlock(d)
	area := f.area(d)
	off := 0
	for i, e := range list {
		length := direntLen(len(e.name))
		if i == len(list)-1 {
			length = len(area) - off
		}
		putDirent(area, off, length, e.ino, e.typ, string(e.name))
		off += length
	}
}

// init sets a node's limit and count.
func (x *dxFrame) init(limit, count int) {
	d := x.b.bytes()[x.at:]
	le.PutUint16(d, uint16(limit))
	le.PutUint16(d[2:], uint16(count))
}

// put sets entry i of a node that is dirty. The first has no hash.
func (x *dxFrame) put(i int, hash uint32, lblk uint64) {
	e := x.entry(i)
	if i > 0 {
		le.PutUint32(e, hash)
	}
	le.PutUint32(e[4:], uint32(lblk))
}

// dirtyFrame adds a node to the running transaction.
func (n *inode) dirtyFrame(x *dxFrame) {
	k := kindDxNode
	if x.lblk == 0 {
		k = kindDxRoot
	}
	n.f.dirty(x.b, k, n.seed)
}

// insert adds an entry to a node that has room.
func (n *inode) dxInsert(x *dxFrame, at int, hash uint32, lblk uint64) {
	n.dirtyFrame(x)
	count := x.count()
	d := x.b.bytes()[x.at:]
	copy(d[dxEntryLen*(at+1):dxEntryLen*(count+1)], d[dxEntryLen*at:dxEntryLen*count])
	x.init(x.limit(), count+1)
	x.put(at, hash, lblk)
}

// addIndexed is addEntry for a directory with an index.
func (n *inode) addIndexed(name string, ino uint32, typ uint8) error {
	f := n.f
	for range dxSplits {
		root, err := n.dxNode(0)
		if err != nil {
			return err
		}
		h := n.dxHash(root, name)
		path, err := n.dxPath(root, h)
		if err != nil {
			return err
		}
		leaf, err := n.leaf(path)
		if err != nil {
			return err
		}
		if f.hasRoom(leaf.bytes(), name) {
			f.insertDirent(f.dirty(leaf, kindDir, n.seed), ino, typ, name)
			return nil
		}
		if err := n.dxSplit(path, leaf); err != nil {
			return err
		}
	}
	return f.damaged("directory %d: no room after %d splits", n.ino, dxSplits)
}

// dxSplit splits one block on a path: the leaf if the node above has room for
// one more, else the lowest node whose parent has.
func (n *inode) dxSplit(path []*dxFrame, leaf *buffer) error {
	level := len(path) - 1
	if path[level].count() < path[level].limit() {
		return n.splitLeaf(path[level], leaf, path[0].b.bytes()[dxRootInfo+4])
	}
	for level > 0 && path[level-1].count() == path[level-1].limit() {
		level--
	}
	if level == 0 {
		return n.deepen(path)
	}
	return n.splitIndex(path[level-1], path[level])
}

// deepen moves the root's entries to a node below it.
func (n *inode) deepen(path []*dxFrame) error {
	f := n.f
	if len(path) >= f.dxMaxDepth() {
		return syscall.ENOSPC // as Linux: the index is full
	}
	x, err := n.newDxNode()
	if err != nil {
		return err
	}
	root := path[0]
	n.dirtyFrame(root)
	count := root.count()
	x.init(x.limit(), count)
	for i := range count {
		x.put(i, root.hash(i), root.block(i))
	}
	root.init(root.limit(), 1)
	root.put(0, 0, x.lblk)
	root.b.bytes()[dxRootInfo+6]++
	return nil
}

// newDxNode adds an index block without entries to the directory.
func (n *inode) newDxNode() (*dxFrame, error) {
	f := n.f
	b, lblk, err := n.appendBlock()
	if err != nil {
		return nil, err
	}
	d := f.dirty(b, kindDxNode, n.seed)
	clear(d)
	le.PutUint16(d[4:], uint16(len(d)))
	x := &dxFrame{b: b, lblk: lblk, at: dxNodeEntries}
	x.init(f.dxLimit(dxNodeEntries), 0)
	return x, nil
}

// splitIndex moves the upper half of a full node to a new one.
func (n *inode) splitIndex(parent, x *dxFrame) error {
	right, err := n.newDxNode()
	if err != nil {
		return err
	}
	n.dirtyFrame(x)
	count := x.count()
	split := count / 2
	right.init(right.limit(), count-split)
	for i := split; i < count; i++ {
		right.put(i-split, x.hash(i), x.block(i))
	}
	hash := x.hash(split)
	x.init(x.limit(), split)
	n.dxInsert(parent, parent.pos+1, hash, right.lblk)
	return nil
}

// splitLeaf moves the entries with the larger hashes of a full leaf to a new
// one.
func (n *inode) splitLeaf(x *dxFrame, leaf *buffer, version uint8) error {
	f := n.f
	list := n.hashedEntries(leaf.bytes(), version)
	if len(list) < 2 {
		return f.damaged("directory %d: block %d is full with %d entries", n.ino, leaf.nr, len(list))
	}
	right, lblk, err := n.appendBlock()
	if err != nil {
		return err
	}
	split := splitPoint(list)
	hash := list[split].hash
	if hash == list[split-1].hash {
		hash |= 1
	}
	plain := make([]dirent, len(list))
	for i, e := range list {
		plain[i] = e.dirent
	}
	f.fillLeaf(right.bytes(), plain[split:])
	f.fillLeaf(f.dirty(leaf, kindDir, n.seed), plain[:split])
	n.dxInsert(x, x.pos+1, hash, lblk)
	return nil
}

// hashedEntries returns copies of a block's entries in the order of hashes.
func (n *inode) hashedEntries(d []byte, version uint8) []hashed {
	var list []hashed
	for _, e := range n.f.entries(d) {
		e.name = slices.Clone(e.name)
		list = append(list, hashed{e, n.f.sb.hashName(version, string(e.name))})
	}
	slices.SortStableFunc(list, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	return list
}

// splitPoint returns the first entry of the upper half, by size.
func splitPoint(list []hashed) int {
	total := 0
	for _, e := range list {
		total += direntLen(len(e.name))
	}
	size, i := 0, len(list)-1
	for ; i > 1; i-- {
		if size += direntLen(len(list[i].name)); 2*size >= total {
			break
		}
	}
	return i
}

// indexedEmpty is isEmpty for a directory with an index.
func (n *inode) indexedEmpty() (bool, error) {
	root, err := n.dxNode(0)
	if err != nil {
		return false, err
	}
	path, err := n.dxPath(root, 0)
	if err != nil {
		return false, err
	}
	for range n.f.blocksOf(n.size) {
		b, err := n.leaf(path)
		if err != nil {
			return false, err
		}
		if len(n.f.entries(b.bytes())) > 0 {
			return false, nil
		}
		if _, more, err := n.dxNext(path); err != nil || !more {
			return err == nil, err
		}
	}
	return false, n.f.damaged("directory %d: more leaves than blocks", n.ino)
}
