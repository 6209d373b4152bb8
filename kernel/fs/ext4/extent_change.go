package ext4

// maxLen returns the longest extent of a state.
func maxLen(s state) uint64 {
	if s == unwritten {
		return extMaxLen - 1
	}
	return extMaxLen
}

// joins reports whether b continues a so that both make one extent.
func joins(a, b mapping) bool {
	return a.state == b.state && a.end() == b.start && a.nr+a.count == b.nr && a.count+b.count <= maxLen(a.state)
}

// addExtent maps what was a hole, of a length that fits one extent. It fails
// with ENOSPC before any change.
//
// Context: FS.mu and n.mu held, the inode touched.
func (n *inode) addExtent(m mapping) error {
	path, err := n.extPath(m.start)
	if err != nil {
		return err
	}
	level := len(path) - 1
	leaf := path[level]
	d := n.nodeBytes(leaf)
	if leaf.pos >= 0 {
		if left := getExtent(extEntry(d, leaf.pos)); joins(left, m) {
			left.count += m.count
			putExtent(extEntry(n.nodeWrite(leaf), leaf.pos), left)
			return n.joinRight(path, leaf.pos)
		}
	}
	if at := leaf.pos + 1; at < extCount(d) {
		if right := getExtent(extEntry(d, at)); joins(m, right) {
			m.count += right.count
			putExtent(extEntry(n.nodeWrite(leaf), at), m)
			if at == 0 {
				n.fixKeys(path, level)
			}
			return nil
		}
	}
	if err := n.roomFor(path, 1); err != nil {
		return err
	}
	var e [extEntryLen]byte
	putExtent(e[:], m)
	return n.insertEntry(path, level, leaf.pos+1, e[:])
}

// joinRight joins entry at of path's leaf with the one after it, if it can.
func (n *inode) joinRight(path []extStep, at int) error {
	level := len(path) - 1
	d := n.nodeBytes(path[level])
	if at < 0 || at+1 >= extCount(d) {
		return nil
	}
	a, b := getExtent(extEntry(d, at)), getExtent(extEntry(d, at+1))
	if !joins(a, b) {
		return nil
	}
	a.count += b.count
	putExtent(extEntry(n.nodeWrite(path[level]), at), a)
	return n.removeEntry(path, level, at+1)
}

// convert makes mapped blocks written, or unwritten. It fails with ENOSPC
// before the change of the extent that does not fit.
//
// Context: FS.mu and n.mu held, the inode touched.
func (n *inode) convert(start, end uint64, to state) error {
	for start < end {
		path, err := n.extPath(start)
		if err != nil {
			return err
		}
		leaf := path[len(path)-1]
		var m mapping
		if leaf.pos >= 0 {
			m = getExtent(extEntry(n.nodeBytes(leaf), leaf.pos))
		}
		if m.end() <= start {
			return n.f.damaged("inode %d: block %d is not mapped", n.ino, start)
		}
		stop := min(end, m.end())
		if m.state != to {
			if err := n.convertIn(path, m, start, stop, to); err != nil {
				return err
			}
		}
		start = stop
	}
	return nil
}

// convertIn is convert for the part from start to stop of extent m, which
// path leads to.
func (n *inode) convertIn(path []extStep, m mapping, start, stop uint64, to state) error {
	level := len(path) - 1
	at := path[level].pos
	mid := m.clip(start, stop-start)
	mid.state = to
	if mid.count == m.count && m.count <= maxLen(to) {
		putExtent(extEntry(n.nodeWrite(path[level]), at), mid)
		if err := n.joinRight(path, at); err != nil {
			return err
		}
		path, err := n.extPath(m.start)
		if err != nil {
			return err
		}
		return n.joinRight(path, path[len(path)-1].pos-1)
	}
	if err := n.roomFor(path, 2); err != nil {
		return err
	}
	if err := n.cutOut(path, m, start, stop); err != nil {
		return err
	}
	_, err := n.addMapping(mid) // two extents, if it is too long for one
	return err
}

// cutOut makes a hole from start to stop in extent m, which path leads to. The
// blocks stay allocated.
func (n *inode) cutOut(path []extStep, m mapping, start, stop uint64) error {
	level := len(path) - 1
	at := path[level].pos
	switch {
	case start == m.start && stop == m.end():
		return n.removeEntry(path, level, at)
	case start == m.start:
		putExtent(extEntry(n.nodeWrite(path[level]), at), m.clip(stop, m.count))
		if at == 0 {
			n.fixKeys(path, level)
		}
		return nil
	}
	if stop < m.end() {
		if err := n.roomFor(path, 1); err != nil {
			return err
		}
	}
	putExtent(extEntry(n.nodeWrite(path[level]), at), m.clip(m.start, start-m.start))
	if stop == m.end() {
		return nil
	}
	var e [extEntryLen]byte
	putExtent(e[:], m.clip(stop, m.count))
	return n.insertEntry(path, level, at+1, e[:])
}

// removeExtent frees the last extent, or part of one, that is mapped between
// start and end. done is true if there was none.
//
// Context: FS.mu held and, unless nobody else has the inode, n.mu; the inode
// touched.
func (n *inode) removeExtent(start, end uint64) (done bool, err error) {
	path, err := n.extPath(end - 1)
	if err != nil {
		return false, err
	}
	leaf := path[len(path)-1]
	if leaf.pos < 0 {
		return true, nil
	}
	m := getExtent(extEntry(n.nodeBytes(leaf), leaf.pos))
	if m.end() <= start {
		return true, nil
	}
	from, to := max(start, m.start), min(end, m.end())
	if from >= to {
		return false, n.f.damaged("inode %d: extents out of order at block %d", n.ino, m.start)
	}
	if err := n.cutOut(path, m, from, to); err != nil {
		return false, err
	}
	return false, n.freeContent(m.clip(from, to-from))
}

// freeContent gives back blocks that the inode had mapped.
func (n *inode) freeContent(m mapping) error {
	if err := n.f.free(m.nr, m.count); err != nil {
		return err
	}
	n.addBlocks(-int64(m.count))
	if !n.isReg() {
		for i := range m.count {
			n.f.forget(m.nr + i)
		}
	}
	return nil
}
