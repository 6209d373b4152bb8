package ext4

// A state says what a range of a file is.
type state uint8

const (
	hole      state = iota
	written         // has content
	unwritten       // has blocks, but reads as zeros
)

// A mapping is a range of a file's logical blocks that are all holes, or are
// in consecutive blocks of the device.
type mapping struct {
	start uint64 // logical block
	count uint64 // blocks
	nr    uint64 // first block on the device, unless a hole
	state state
}

func (m mapping) end() uint64 { return m.start + m.count }

// clip returns the part of m from logical block start on, of at most count.
func (m mapping) clip(start, count uint64) mapping {
	skip := start - m.start
	m.start, m.count = start, min(m.count-skip, count)
	if m.state != hole {
		m.nr += skip
	}
	return m
}

// mapBlock returns the mapping at logical block lblk; it starts there and has
// at most limit blocks.
//
// Context: n.mu held, or FS.mu.
func (n *inode) mapBlock(lblk, limit uint64) (mapping, error) {
	var m mapping
	var err error
	if n.extents {
		m, err = n.mapExtent(lblk)
	} else {
		m, err = n.mapPointer(lblk, limit)
	}
	if err != nil {
		return mapping{}, err
	}
	return m.clip(lblk, limit), nil
}

// maxBlocks returns how many logical blocks the inode can have.
func (n *inode) maxBlocks() uint64 {
	if n.extents {
		return 1<<32 - 1
	}
	p := uint64(n.f.sb.blockSize / 4)
	return min(directBlocks+p+p*p+p*p*p, 1<<32-1)
}

// blocksOf returns the number of blocks that size bytes take.
func (f *FS) blocksOf(size int64) uint64 {
	return (uint64(size) + uint64(f.sb.blockSize) - 1) / uint64(f.sb.blockSize)
}

// addMapping maps blocks that the running transaction has taken to what was a
// hole. It returns how many of them it mapped: all, unless there is an error.
//
// Context: FS.mu and n.mu held, the inode touched.
func (n *inode) addMapping(m mapping) (uint64, error) {
	if !n.extents {
		return n.addPointers(m)
	}
	for done := uint64(0); ; {
		part := m.clip(m.start+done, maxLen(m.state))
		if part.count == 0 {
			return done, nil
		}
		if err := n.addExtent(part); err != nil {
			return done, err
		}
		done += part.count
	}
}

// mapCost returns how many blocks may be needed to map up to span blocks from
// logical block lblk on.
//
// Context: FS.mu and n.mu held.
func (n *inode) mapCost(lblk uint64) (extra, span uint64, err error) {
	if n.extents {
		path, err := n.extPath(lblk)
		if err != nil {
			return 0, 0, err
		}
		if d := n.nodeBytes(path[len(path)-1]); extCount(d) < extMax(d) {
			return 0, extMaxLen, nil
		}
		return uint64(len(path)) + 1, extMaxLen, nil
	}
	path := n.f.pointerPath(lblk)
	if len(path) == 0 {
		return 0, 0, nil
	}
	last := path[len(path)-1]
	if len(path) == 1 {
		return 0, uint64(directBlocks - last), nil
	}
	d := n.root[:]
	for level, i := range path[:len(path)-1] {
		nr := pointer(d, i)
		if nr == 0 {
			extra = uint64(len(path) - 1 - level)
			break
		}
		b, err := n.indirect(nr)
		if err != nil {
			return 0, 0, err
		}
		d = b.bytes()
	}
	return extra, uint64(n.f.sb.blockSize/4 - last), nil
}

// removeSome frees some of the blocks mapped between start and end. done is
// true if there are none left.
//
// Context: FS.mu held and, unless nobody else has the inode, n.mu; the inode
// touched.
func (n *inode) removeSome(start, end uint64) (done bool, err error) {
	if n.extents {
		return n.removeExtent(start, end)
	}
	return n.removePointers(start, end)
}

// addBlocks changes i_blocks.
//
// Context: FS.mu held, the inode touched.
func (n *inode) addBlocks(delta int64) {
	n.at.Lock()
	defer n.at.Unlock()
	n.sectors = uint64(max(0, int64(n.sectors)+delta*int64(n.f.sb.blockSize/512)))
}

// metaGoal returns where a metadata block of the inode would be good.
//
// Context: FS.mu held.
func (n *inode) metaGoal() uint64 {
	if n.goal != 0 {
		return n.goal
	}
	return n.homeGoal()
}

// homeGoal returns the first block of the inode's group, where its first
// blocks would be good.
func (n *inode) homeGoal() uint64 {
	return n.f.sb.groupStart((n.ino - 1) / n.f.sb.inodesPerGroup)
}
