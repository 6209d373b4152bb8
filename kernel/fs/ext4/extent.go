package ext4

import "sort"

// An extent tree has nodes of a header and entries: in leaves extents, else
// pointers to nodes below. The root is in the inode. Entries are sorted by
// logical block; a node's first key is what its parent has for it.
const (
	extMagic     = 0xf30a
	extHeaderLen = 12
	extEntryLen  = 12
	extMaxDepth  = 5
	extMaxLen    = 32768 // blocks; of unwritten extents one less
)

// Fields of a node's header.
func extCount(d []byte) int { return int(le.Uint16(d[2:])) }
func extMax(d []byte) int   { return int(le.Uint16(d[4:])) }
func extDepth(d []byte) int { return int(le.Uint16(d[6:])) }

// extEntry returns entry i of a node.
func extEntry(d []byte, i int) []byte {
	return d[extHeaderLen+extEntryLen*i:][:extEntryLen]
}

// extKey returns the first logical block of an entry.
func extKey(e []byte) uint64 { return uint64(le.Uint32(e)) }

// extChild returns the block that an entry of an inner node points to.
func extChild(e []byte) uint64 {
	return uint64(le.Uint32(e[4:])) | uint64(le.Uint16(e[8:]))<<32
}

func putExtChild(e []byte, key, nr uint64) {
	le.PutUint32(e, uint32(key))
	le.PutUint32(e[4:], uint32(nr))
	le.PutUint16(e[8:], uint16(nr>>32))
	le.PutUint16(e[10:], 0)
}

// getExtent decodes a leaf's entry.
func getExtent(e []byte) mapping {
	m := mapping{
		start: extKey(e), count: uint64(le.Uint16(e[4:])), state: written,
		nr: uint64(le.Uint16(e[6:]))<<32 | uint64(le.Uint32(e[8:])),
	}
	if m.count > extMaxLen {
		m.count -= extMaxLen
		m.state = unwritten
	}
	return m
}

func putExtent(e []byte, m mapping) {
	length := uint16(m.count)
	if m.state == unwritten {
		length += extMaxLen
	}
	le.PutUint32(e, uint32(m.start))
	le.PutUint16(e[4:], length)
	le.PutUint16(e[6:], uint16(m.nr>>32))
	le.PutUint32(e[8:], uint32(m.nr))
}

// extSearch returns the last entry with a key of at most lblk, -1 if none.
func extSearch(d []byte, lblk uint64) int {
	return sort.Search(extCount(d), func(i int) bool { return extKey(extEntry(d, i)) > lblk }) - 1
}

// checkExtents checks a node at the given depth, -1 for a root of any.
func (n *inode) checkExtents(d []byte, depth int) error {
	bad := func(what string, v uint64) error {
		return n.f.damaged("inode %d: extent node: %s %d", n.ino, what, v)
	}
	room := (len(d) - extHeaderLen) / extEntryLen
	switch {
	case le.Uint16(d) != extMagic:
		return bad("magic", uint64(le.Uint16(d)))
	case extMax(d) > room || extMax(d) == 0:
		return bad("capacity", uint64(extMax(d)))
	case extCount(d) > extMax(d):
		return bad("entries", uint64(extCount(d)))
	case extDepth(d) > extMaxDepth || depth >= 0 && extDepth(d) != depth:
		return bad("depth", uint64(extDepth(d)))
	case extDepth(d) > 0 && extCount(d) == 0, depth >= 0 && extCount(d) == 0:
		return bad("entries", 0)
	}
	next := uint64(0)
	for i := range extCount(d) {
		e := extEntry(d, i)
		if extKey(e) < next {
			return bad("entries not in order at", extKey(e))
		}
		if extDepth(d) > 0 {
			next = extKey(e) + 1
			if !n.f.usable(extChild(e), 1) {
				return bad("child at block", extChild(e))
			}
			continue
		}
		m := getExtent(e)
		next = m.end()
		if m.count == 0 || next > 1<<32 {
			return bad("extent of impossible length at", m.start)
		}
		if !n.f.usable(m.nr, m.count) {
			return bad("extent at block", m.nr)
		}
	}
	return nil
}

// extNode reads the node that an entry points to. key and next bound the
// keys that it may have.
func (n *inode) extNode(nr uint64, depth int, key, next uint64) (*buffer, error) {
	f := n.f
	b, err := f.cache.get(nr)
	if err != nil {
		return nil, err
	}
	err = f.verify(b, kindExtents, n.seed, func(d []byte) error {
		if err := n.checkExtents(d, depth); err != nil {
			return err
		}
		if !f.sb.metaCsum() {
			return nil
		}
		at := extentTail(d)
		if at == 0 {
			return f.damaged("inode %d: extent node at block %d has no room for a checksum", n.ino, nr)
		}
		if got, want := le.Uint32(d[at:]), crc32c(n.seed, d[:at]); got != want {
			return f.damaged("inode %d: extent node at block %d: checksum %#x, computed %#x", n.ino, nr, got, want)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d := b.bytes()
	last := extEntry(d, extCount(d)-1)
	end := extKey(last) + 1
	if depth == 0 {
		end = getExtent(last).end()
	}
	if extDepth(d) != depth || extKey(extEntry(d, 0)) < key || end > next {
		return nil, f.damaged("inode %d: extent node at block %d does not fit its parent", n.ino, nr)
	}
	return b, nil
}

// mapExtent returns the extent that has logical block lblk, or the hole
// around it.
func (n *inode) mapExtent(lblk uint64) (mapping, error) {
	d := n.root[:]
	next, from := uint64(1<<32), uint64(0)
	for depth := extDepth(d); ; depth-- {
		i := extSearch(d, lblk)
		if i+1 < extCount(d) {
			next = extKey(extEntry(d, i+1))
		}
		if i < 0 {
			return mapping{start: from, count: next - from}, nil
		}
		e := extEntry(d, i)
		if depth == 0 {
			m := getExtent(e)
			if lblk < m.end() {
				return m, nil
			}
			return mapping{start: m.end(), count: next - m.end()}, nil
		}
		from = extKey(e)
		b, err := n.extNode(extChild(e), depth-1, from, next)
		if err != nil {
			return mapping{}, err
		}
		d = b.bytes()
	}
}
