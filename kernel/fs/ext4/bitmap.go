package ext4

import (
	"math/bits"
	"sort"
)

func testBit(d []byte, i uint32) bool { return d[i/8]>>(i%8)&1 != 0 }

// setBits sets bits start to start+n-1 to on, and returns how many changed.
func setBits(d []byte, start, n uint32, on bool) (changed uint32) {
	for i := start; i < start+n; {
		if i%8 == 0 && start+n-i >= 8 {
			old := d[i/8]
			d[i/8] = 0
			if on {
				d[i/8] = 0xff
			}
			changed += uint32(bits.OnesCount8(old ^ d[i/8]))
			i += 8
			continue
		}
		if testBit(d, i) != on {
			d[i/8] ^= 1 << (i % 8)
			changed++
		}
		i++
	}
	return changed
}

// nextClear returns the first bit from i on, below end, that is clear in d
// and in busy, which may be nil; end if there is none.
func nextClear(d, busy []byte, i, end uint32) uint32 {
	for i < end {
		v := d[i/8]
		if busy != nil {
			v |= busy[i/8]
		}
		v |= 1<<(i%8) - 1
		if v != 0xff {
			return min(i&^7+uint32(bits.TrailingZeros8(^v)), end)
		}
		i = i&^7 + 8
	}
	return end
}

// nextSet returns the first bit from i on, below end, that is set in d or in
// busy; end if there is none.
func nextSet(d, busy []byte, i, end uint32) uint32 {
	for i < end {
		v := d[i/8]
		if busy != nil {
			v |= busy[i/8]
		}
		v &^= 1<<(i%8) - 1
		if v != 0 {
			return min(i&^7+uint32(bits.TrailingZeros8(v)), end)
		}
		i = i&^7 + 8
	}
	return end
}

// zonesIn calls visit for the parts of the file system's own structures that
// are in group g, as bits of its bitmap.
func (f *FS) zonesIn(g uint32, visit func(start, n uint32)) {
	from := f.sb.groupStart(g)
	to := from + uint64(f.sb.groupBlocks(g))
	i := sort.Search(len(f.zones), func(i int) bool { return f.zones[i].end > from })
	for ; i < len(f.zones) && f.zones[i].start < to; i++ {
		start, end := max(f.zones[i].start, from), min(f.zones[i].end, to)
		visit(uint32(start-from), uint32(end-start))
	}
}

// blockBitmap returns group g's bitmap of blocks.
//
// Context: FS.mu held.
func (f *FS) blockBitmap(g uint32) (*buffer, error) {
	d := &f.groups[g]
	if d.flags&groupBlockUninit != 0 {
		return f.newBlockBitmap(g), nil
	}
	b, err := f.cache.get(d.blockBitmap)
	if err != nil {
		return nil, err
	}
	return b, f.verify(b, kindBlockBitmap, g, func(raw []byte) error {
		if err := f.checkBitmap("block", g, raw[:f.sb.blocksPerGroup/8], d.blockCsum); err != nil {
			return err
		}
		missing := false
		f.zonesIn(g, func(start, n uint32) {
			missing = missing || nextClear(raw, nil, start, start+n) != start+n
		})
		if missing {
			return f.damaged("block bitmap of group %d has blocks of metadata as free", g)
		}
		return nil
	})
}

// checkBitmap compares a bitmap's checksum with the descriptor's.
func (f *FS) checkBitmap(what string, g uint32, raw []byte, want uint32) error {
	if !f.sb.metaCsum() {
		return nil
	}
	got := crc32c(f.sb.csumSeed, raw)
	if f.sb.descSize < 64 {
		got, want = got&0xffff, want&0xffff
	}
	if got != want {
		return f.damaged("%s bitmap of group %d: checksum %#x, computed %#x", what, g, want, got)
	}
	return nil
}

// newBlockBitmap returns the bitmap of a group whose bitmap is not on disk:
// only metadata is taken.
func (f *FS) newBlockBitmap(g uint32) *buffer {
	raw := make([]byte, f.sb.blockSize)
	f.zonesIn(g, func(start, n uint32) { setBits(raw, start, n, true) })
	n := f.sb.groupBlocks(g)
	setBits(raw, n, uint32(8*len(raw))-n, true)
	b := f.cache.create(f.groups[g].blockBitmap, raw)
	b.kind, b.owner = kindBlockBitmap, g
	return b
}

// inodeBitmap returns group g's bitmap of inodes.
//
// Context: FS.mu held.
func (f *FS) inodeBitmap(g uint32) (*buffer, error) {
	d := &f.groups[g]
	if d.flags&groupInodeUninit != 0 {
		raw := make([]byte, f.sb.blockSize)
		setBits(raw, f.sb.inodesPerGroup, uint32(8*len(raw))-f.sb.inodesPerGroup, true)
		b := f.cache.create(d.inodeBitmap, raw)
		b.kind, b.owner = kindInodeBitmap, g
		return b, nil
	}
	b, err := f.cache.get(d.inodeBitmap)
	if err != nil {
		return nil, err
	}
	return b, f.verify(b, kindInodeBitmap, g, func(raw []byte) error {
		return f.checkBitmap("inode", g, raw[:f.sb.inodesPerGroup/8], d.inodeCsum)
	})
}
