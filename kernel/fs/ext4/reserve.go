package ext4

import (
	"slices"
	"sort"
	"syscall"
)

// ranges is a set of logical blocks: sorted, apart from each other.
type ranges []zone

// count returns how many blocks between start and end are in the set.
func (r ranges) count(start, end uint64) uint64 {
	total := uint64(0)
	i := sort.Search(len(r), func(i int) bool { return r[i].end > start })
	for ; i < len(r) && r[i].start < end; i++ {
		total += min(end, r[i].end) - max(start, r[i].start)
	}
	return total
}

// add puts the blocks from start to end into the set.
func (r *ranges) add(start, end uint64) {
	s := *r
	i := sort.Search(len(s), func(i int) bool { return s[i].end >= start })
	j := i
	for ; j < len(s) && s[j].start <= end; j++ {
		start, end = min(start, s[j].start), max(end, s[j].end)
	}
	*r = slices.Replace(s, i, j, zone{start, end})
}

// remove takes the blocks from start to end out of the set.
func (r *ranges) remove(start, end uint64) {
	s := *r
	i := sort.Search(len(s), func(i int) bool { return s[i].end > start })
	var keep []zone
	j := i
	for ; j < len(s) && s[j].start < end; j++ {
		if s[j].start < start {
			keep = append(keep, zone{s[j].start, start})
		}
		if s[j].end > end {
			keep = append(keep, zone{end, s[j].end})
		}
	}
	*r = slices.Replace(s, i, j, keep...)
}

// total returns the size of the set.
func (r ranges) total() uint64 { return r.count(0, 1<<63) }

// reservation returns how many blocks have to be kept for so many blocks of
// content: with them, blocks to find them by, at worst.
//
// Context: FS.mu held.
func (n *inode) reservation(blocks uint64) uint64 {
	if blocks == 0 {
		return 0
	}
	per := uint64(n.f.sb.blockSize)
	if n.extents {
		if extDepth(n.root[:]) == 0 && uint64(extCount(n.root[:]))+blocks <= 4 {
			return blocks
		}
		return blocks + blocks/(per/extEntryLen-2) + 3
	}
	return blocks + blocks/(per/4) + 4
}

// Reserve implements fs.Inode.
func (n *inode) Reserve(off, length int64) error {
	f := n.f
	if !n.isReg() {
		return n.typeError()
	}
	if f.stopped() {
		return syscall.EROFS
	}
	if off < 0 || length < 0 {
		return syscall.EINVAL
	}
	if off > n.maxBytes()-length {
		return syscall.EFBIG
	}
	if length == 0 {
		return nil
	}
	bs := int64(f.sb.blockSize)
	n.mu.RLock()
	defer n.mu.RUnlock()
	end := f.blocksOf(off + length)
	var holes ranges
	for at := uint64(off / bs); at < end; {
		m, err := n.mapBlock(at, end-at)
		if err != nil {
			return err
		}
		if m.state == hole {
			holes.add(m.start, m.end())
		}
		at = m.end()
	}
	if len(holes) == 0 {
		return nil
	}
	return f.retry(func() error { return f.reserveFor(n, holes) })
}

// reserveFor adds holes to what is reserved for the inode.
func (f *FS) reserveFor(n *inode, holes ranges) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	more := uint64(0)
	for _, z := range holes {
		more += z.end - z.start - n.reserve.count(z.start, z.end)
	}
	if more == 0 {
		return nil
	}
	cost := n.reservation(n.reserve.total() + more)
	if cost > n.reserveCost && cost-n.reserveCost > f.available() {
		return syscall.ENOSPC
	}
	for _, z := range holes {
		n.reserve.add(z.start, z.end)
	}
	f.reserved += cost - n.reserveCost
	n.reserveCost = cost
	return nil
}

// unreserve gives back what is reserved for an inode between start and end.
//
// Context: FS.mu held.
func (f *FS) unreserve(n *inode, start, end uint64) {
	if len(n.reserve) == 0 {
		return
	}
	n.reserve.remove(start, end)
	cost := n.reservation(n.reserve.total())
	cost = min(cost, n.reserveCost) // a tree that grew does not cost more
	f.reserved -= n.reserveCost - cost
	n.reserveCost = cost
}
