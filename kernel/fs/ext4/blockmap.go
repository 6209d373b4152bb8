package ext4

// A block map has the numbers of the first 12 blocks in the inode, then of
// one, two and three levels of blocks that are full of numbers.
const directBlocks = 12

// pointerPath returns the index at each level of the map for logical block
// lblk: first in i_block, then in the blocks below.
func (f *FS) pointerPath(lblk uint64) []int {
	p := uint64(f.sb.blockSize / 4)
	if lblk < directBlocks {
		return []int{int(lblk)}
	}
	lblk -= directBlocks
	if lblk < p {
		return []int{12, int(lblk)}
	}
	lblk -= p
	if lblk < p*p {
		return []int{13, int(lblk / p), int(lblk % p)}
	}
	lblk -= p * p
	if lblk < p*p*p {
		return []int{14, int(lblk / (p * p)), int(lblk / p % p), int(lblk % p)}
	}
	return nil
}

// indirect returns the block of numbers nr.
func (n *inode) indirect(nr uint64) (*buffer, error) {
	f := n.f
	if !f.usable(nr, 1) {
		return nil, f.damaged("inode %d: indirect block at %d", n.ino, nr)
	}
	b, err := f.cache.get(nr)
	if err != nil {
		return nil, err
	}
	return b, f.verify(b, kindIndirect, n.seed, func([]byte) error { return nil })
}

// pointer returns number i in d.
func pointer(d []byte, i int) uint64 { return uint64(le.Uint32(d[4*i:])) }

// mapPointer returns the run of blocks at logical block lblk, of at most limit
// blocks, or the hole there.
func (n *inode) mapPointer(lblk, limit uint64) (mapping, error) {
	path := n.f.pointerPath(lblk)
	if path == nil {
		return mapping{start: lblk, count: limit}, nil
	}
	d := n.root[:]
	p := uint64(n.f.sb.blockSize / 4)
	for level, i := range path {
		nr := pointer(d, i)
		below := len(path) - 1 - level // levels
		if below == 0 {
			return n.pointerRun(d, i, lblk, limit)
		}
		if nr == 0 {
			span := uint64(1) // logical blocks that number i stands for
			for range below {
				span *= p
			}
			at := uint64(0) // where lblk is in them
			for _, j := range path[level+1:] {
				at = at*p + uint64(j)
			}
			return mapping{start: lblk, count: span - at}, nil
		}
		b, err := n.indirect(nr)
		if err != nil {
			return mapping{}, err
		}
		d = b.bytes()
	}
	return mapping{}, n.f.damaged("inode %d: block map", n.ino)
}

// pointerRun returns the mapping that numbers i and those after it in d make.
func (n *inode) pointerRun(d []byte, i int, lblk, limit uint64) (mapping, error) {
	m := mapping{start: lblk, count: 1, nr: pointer(d, i), state: written}
	if m.nr == 0 {
		m.state = hole
	}
	end := len(d) / 4
	if len(d) == len(n.root) {
		end = directBlocks
	}
	for i++; i < end && m.count < limit; i++ {
		next := pointer(d, i)
		if m.state == hole && next != 0 || m.state == written && next != m.nr+m.count {
			break
		}
		m.count++
	}
	if m.state == written && !n.f.usable(m.nr, m.count) {
		return mapping{}, n.f.damaged("inode %d: blocks %d to %d", n.ino, m.nr, m.nr+m.count-1)
	}
	return m, nil
}
