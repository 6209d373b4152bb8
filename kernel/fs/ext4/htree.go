package ext4

import (
	"cmp"
	"hash/crc32"
	"slices"
	"sort"
	"syscall"

	"kiln/kernel/fs"
)

// A directory's index is a tree. Block 0 is its root: "." and "..", whose
// entry hides the rest; then a header with the version of the hash and the
// depth; then entries of hash and block. Inner nodes look like one unused
// entry. Leaves are ordinary blocks of entries. An entry's hash is the least
// in its subtree; the first's is taken as 0. Bit 0 of a hash says that the
// names with this hash begin in the leaf before.
const (
	dxRootInfo    = 24
	dxRootEntries = 32
	dxNodeEntries = 8
	dxTailLen     = 8
	dxEntryLen    = 8
)

// A dxFrame is a node on the path to a leaf.
type dxFrame struct {
	b    *buffer
	lblk uint64 // in the directory
	at   int    // where entries begin
	pos  int    // the entry that was taken
}

func (x *dxFrame) count() int { return int(le.Uint16(x.b.bytes()[x.at+2:])) }
func (x *dxFrame) limit() int { return int(le.Uint16(x.b.bytes()[x.at:])) }

// entry returns the bytes of entry i: hash and block. Where the first one's
// hash would be are limit and count.
func (x *dxFrame) entry(i int) []byte { return x.b.bytes()[x.at+dxEntryLen*i:][:dxEntryLen] }

func (x *dxFrame) hash(i int) uint32 {
	if i == 0 {
		return 0
	}
	return le.Uint32(x.entry(i))
}

// block returns the logical block that entry i points to. The upper bits are
// reserved.
func (x *dxFrame) block(i int) uint64 { return uint64(le.Uint32(x.entry(i)[4:]) & 0x0fffffff) }

// search returns the last entry with a hash of at most h.
func (x *dxFrame) search(h uint32) int {
	return sort.Search(x.count()-1, func(i int) bool { return x.hash(i+1) > h })
}

// dxLimit returns how many entries a node has room for.
func (f *FS) dxLimit(at int) int {
	room := f.sb.blockSize - at
	if f.sb.metaCsum() {
		room -= dxTailLen
	}
	return room / dxEntryLen
}

// dxNode reads and checks an index block: the root at lblk 0, else a node.
func (n *inode) dxNode(lblk uint64) (*dxFrame, error) {
	f := n.f
	b, err := n.dirBuffer(lblk)
	if err != nil {
		return nil, err
	}
	k, at := kindDxNode, dxNodeEntries
	if lblk == 0 {
		k, at = kindDxRoot, dxRootEntries
	}
	err = f.verify(b, k, n.seed, func(d []byte) error { return n.checkDx(b.nr, d, k, at) })
	if err != nil {
		return nil, err
	}
	return &dxFrame{b: b, lblk: lblk, at: at}, nil
}

func (n *inode) checkDx(nr uint64, d []byte, k kind, at int) error {
	f := n.f
	bad := func(what string, v int) error {
		return f.damaged("directory %d: index block %d: %s %d", n.ino, nr, what, v)
	}
	bs := f.sb.blockSize
	if k == kindDxRoot {
		dot, ok := getDirent(d, 0)
		dotdot, ok2 := getDirent(d, 12)
		if !ok || !ok2 || dot.len != 12 || string(dot.name) != "." || dotdot.len != bs-12 || string(dotdot.name) != ".." {
			return bad("no . and .. in", 0)
		}
		if d[dxRootInfo+5] != 8 || d[dxRootInfo+4] > hashTEA {
			return bad("hash version", int(d[dxRootInfo+4]))
		}
		if int(d[dxRootInfo+6]) >= f.dxMaxDepth() {
			return bad("levels", int(d[dxRootInfo+6]))
		}
	} else if le.Uint32(d) != 0 || int(le.Uint16(d[4:])) != bs {
		return bad("no empty entry in", 0)
	}
	limit, count := int(le.Uint16(d[at:])), int(le.Uint16(d[at+2:]))
	if limit != f.dxLimit(at) || count == 0 || count > limit {
		return bad("entries", count)
	}
	if f.sb.metaCsum() {
		tail, end := dxTail(d, at)
		if tail == 0 {
			return bad("limit", limit)
		}
		if got, want := le.Uint32(d[tail+4:]), dxCsum(n.seed, d, tail, end); got != want {
			return bad("checksum", int(got))
		}
	}
	for i := 2; i < count; i++ {
		if le.Uint32(d[at+8*i:]) < le.Uint32(d[at+8*i-8:]) {
			return bad("order of entry", i)
		}
	}
	return nil
}

// dxMaxDepth returns how many levels of index blocks there may be.
func (f *FS) dxMaxDepth() int {
	if f.sb.incompat&incompatLargeDir != 0 {
		return 3
	}
	return 2
}

// dxHash returns the hash of a name as the index has it.
func (n *inode) dxHash(root *dxFrame, name string) uint32 {
	return n.f.sb.hashName(root.b.bytes()[dxRootInfo+4], name)
}

// dxPath returns the nodes from the root to the leaf for hash h.
func (n *inode) dxPath(root *dxFrame, h uint32) ([]*dxFrame, error) {
	path := []*dxFrame{root}
	for levels := int(root.b.bytes()[dxRootInfo+6]); ; levels-- {
		x := path[len(path)-1]
		x.pos = x.search(h)
		if x.block(x.pos) == 0 || int64(x.block(x.pos)) >= n.size/int64(n.f.sb.blockSize) {
			return nil, n.f.damaged("directory %d: index points to block %d", n.ino, x.block(x.pos))
		}
		if levels == 0 {
			return path, nil
		}
		next, err := n.dxNode(x.block(x.pos))
		if err != nil {
			return nil, err
		}
		path = append(path, next)
	}
}

// dxNext moves path to the next leaf and returns its hash; ok is false at the
// end.
func (n *inode) dxNext(path []*dxFrame) (h uint32, ok bool, err error) {
	i := len(path) - 1
	for ; i >= 0; i-- {
		if path[i].pos+1 < path[i].count() {
			break
		}
	}
	if i < 0 {
		return 0, false, nil
	}
	path[i].pos++
	h = path[i].hash(path[i].pos)
	for ; i+1 < len(path); i++ {
		next, err := n.dxNode(path[i].block(path[i].pos))
		if err != nil {
			return 0, false, err
		}
		path[i+1] = next
	}
	return h, true, nil
}

// leaf returns the leaf that path ends at.
func (n *inode) leaf(path []*dxFrame) (*buffer, error) {
	x := path[len(path)-1]
	lblk := x.block(x.pos)
	if lblk == 0 || int64(lblk) >= n.size/int64(n.f.sb.blockSize) {
		return nil, n.f.damaged("directory %d: index points to block %d", n.ino, lblk)
	}
	return n.dirBlock(lblk)
}

// findIndexed is find by the index.
func (n *inode) findIndexed(name string) (slot, error) {
	root, err := n.dxNode(0)
	if err != nil {
		return slot{}, err
	}
	h := n.dxHash(root, name)
	path, err := n.dxPath(root, h)
	if err != nil {
		return slot{}, err
	}
	for range n.f.blocksOf(n.size) {
		b, err := n.leaf(path)
		if err != nil {
			return slot{}, err
		}
		if e, prev, ok := n.f.findIn(b.bytes(), name); ok {
			return slot{b, e, prev}, nil
		}
		next, ok, err := n.dxNext(path)
		if err != nil {
			return slot{}, err
		}
		if !ok || next != h|1 {
			return slot{}, syscall.ENOENT
		}
	}
	return slot{}, n.f.damaged("directory %d: more leaves than blocks", n.ino)
}

// hashPos returns the position of a name in a pass over a directory: by its
// hash, then by another one, since names with the same hash are not rare with
// the oldest hash.
func hashPos(h uint32, name []byte) int64 {
	return int64(h>>1)<<32 | int64(crc32.Checksum(name, castagnoli()))
}

// readHashed is ReadDir in the order of hashes.
func (n *inode) readHashed(pos int64, emit func(fs.Dirent) bool) error {
	for h, more := uint32(pos>>32)<<1, true; more; {
		list, next, err := n.hashGroup(h)
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.Next > pos && !emit(e) {
				return nil
			}
		}
		h, more = next, next != 0
	}
	return nil
}

// hashGroup returns the entries of the leaf for hash h, and of those after it
// that go on with the same hash, in order of their positions. next is the
// hash of the leaf after them, 0 if there is none.
func (n *inode) hashGroup(h uint32) (list []fs.Dirent, next uint32, err error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	first := uint32(0)
	if n.indexed {
		list, first, next, err = n.indexedGroup(h)
	} else {
		list, err = n.unindexedGroup()
	}
	if err != nil {
		return nil, 0, err
	}
	slices.SortFunc(list, func(a, b fs.Dirent) int { return cmp.Compare(a.Next, b.Next) })
	// A pass goes on only if positions grow.
	if k := len(list); k > 0 && (list[0].Next>>32 < int64(first>>1) || next != 0 && list[k-1].Next>>32 >= int64(next>>1)+1) {
		return nil, 0, n.f.damaged("directory %d: a leaf has names of other hashes", n.ino)
	}
	return list, next, nil
}

// unindexedGroup returns all entries of a directory without an index.
func (n *inode) unindexedGroup() (list []fs.Dirent, err error) {
	for lblk := range n.f.blocksOf(n.size) {
		b, err := n.dirBlock(lblk)
		if err != nil {
			return nil, err
		}
		list = n.appendHashed(list, b.bytes(), n.f.sb.hashVersion)
	}
	return list, nil
}

// indexedGroup is hashGroup's work in a directory with an index. first is the
// least hash of the leaf.
func (n *inode) indexedGroup(h uint32) (list []fs.Dirent, first, next uint32, err error) {
	root, err := n.dxNode(0)
	if err != nil {
		return nil, 0, 0, err
	}
	path, err := n.dxPath(root, h)
	if err != nil {
		return nil, 0, 0, err
	}
	for _, x := range path {
		first = max(first, x.hash(x.pos)&^1)
	}
	for range n.f.blocksOf(n.size) {
		b, err := n.leaf(path)
		if err != nil {
			return nil, 0, 0, err
		}
		list = n.appendHashed(list, b.bytes(), root.b.bytes()[dxRootInfo+4])
		next, more, err := n.dxNext(path)
		if err != nil || !more {
			return list, first, 0, err
		}
		if next <= h {
			break
		}
		if next&1 == 0 {
			return list, first, next, nil
		}
	}
	return nil, 0, 0, n.f.damaged("directory %d: hashes of leaves do not grow", n.ino)
}

func (n *inode) appendHashed(list []fs.Dirent, d []byte, version uint8) []fs.Dirent {
	for _, e := range n.f.entries(d) {
		list = append(list, n.f.toDirent(e, hashPos(n.f.sb.hashName(version, string(e.name)), e.name)+1))
	}
	return list
}
