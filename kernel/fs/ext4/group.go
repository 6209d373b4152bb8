package ext4

import (
	"cmp"
	"slices"
	"sort"
)

// Flags of a group descriptor.
const (
	groupInodeUninit = 1 // the inode bitmap is not on disk: none is taken
	groupBlockUninit = 2 // the block bitmap is not on disk: only metadata
	groupInodeZeroed = 4 // the inode table is zeroed
)

// A group is a decoded group descriptor. Guarded by FS.mu, except for what
// never changes: where things are.
type group struct {
	blockBitmap uint64
	inodeBitmap uint64
	inodeTable  uint64

	freeBlocks  uint32
	freeInodes  uint32
	usedDirs    uint32
	tableUnused uint32 // inodes at the end of the table never used
	flags       uint16
	blockCsum   uint32 // of the bitmap
	inodeCsum   uint32
	joined      bool // changed in the running transaction
}

// decodeGroup decodes a raw descriptor.
func decodeGroup(d []byte) group {
	g := group{
		blockBitmap: uint64(le.Uint32(d[0x00:])),
		inodeBitmap: uint64(le.Uint32(d[0x04:])),
		inodeTable:  uint64(le.Uint32(d[0x08:])),
		freeBlocks:  uint32(le.Uint16(d[0x0c:])),
		freeInodes:  uint32(le.Uint16(d[0x0e:])),
		usedDirs:    uint32(le.Uint16(d[0x10:])),
		flags:       le.Uint16(d[0x12:]),
		blockCsum:   uint32(le.Uint16(d[0x18:])),
		inodeCsum:   uint32(le.Uint16(d[0x1a:])),
		tableUnused: uint32(le.Uint16(d[0x1c:])),
	}
	if len(d) >= 64 {
		g.blockBitmap |= uint64(le.Uint32(d[0x20:])) << 32
		g.inodeBitmap |= uint64(le.Uint32(d[0x24:])) << 32
		g.inodeTable |= uint64(le.Uint32(d[0x28:])) << 32
		g.freeBlocks |= uint32(le.Uint16(d[0x2c:])) << 16
		g.freeInodes |= uint32(le.Uint16(d[0x2e:])) << 16
		g.usedDirs |= uint32(le.Uint16(d[0x30:])) << 16
		g.tableUnused |= uint32(le.Uint16(d[0x32:])) << 16
		g.blockCsum |= uint32(le.Uint16(d[0x38:])) << 16
		g.inodeCsum |= uint32(le.Uint16(d[0x3a:])) << 16
	}
	return g
}

// encode writes what may have changed into a raw descriptor.
func (g *group) encode(d []byte) {
	le.PutUint16(d[0x0c:], uint16(g.freeBlocks))
	le.PutUint16(d[0x0e:], uint16(g.freeInodes))
	le.PutUint16(d[0x10:], uint16(g.usedDirs))
	le.PutUint16(d[0x12:], g.flags)
	le.PutUint16(d[0x18:], uint16(g.blockCsum))
	le.PutUint16(d[0x1a:], uint16(g.inodeCsum))
	le.PutUint16(d[0x1c:], uint16(g.tableUnused))
	if len(d) >= 64 {
		le.PutUint16(d[0x2c:], uint16(g.freeBlocks>>16))
		le.PutUint16(d[0x2e:], uint16(g.freeInodes>>16))
		le.PutUint16(d[0x30:], uint16(g.usedDirs>>16))
		le.PutUint16(d[0x32:], uint16(g.tableUnused>>16))
		le.PutUint16(d[0x38:], uint16(g.blockCsum>>16))
		le.PutUint16(d[0x3a:], uint16(g.inodeCsum>>16))
	}
}

// groupStart returns group g's first block.
func (s *superblock) groupStart(g uint32) uint64 {
	return uint64(s.firstData) + uint64(g)*uint64(s.blocksPerGroup)
}

// groupBlocks returns how many blocks group g has; the last may be short.
func (s *superblock) groupBlocks(g uint32) uint32 {
	return uint32(min(uint64(s.blocksPerGroup), s.blocks-s.groupStart(g)))
}

// groupOf returns the group of a block, and the block's number in it.
func (s *superblock) groupOf(nr uint64) (g, bit uint32) {
	rel := nr - uint64(s.firstData)
	return uint32(rel / uint64(s.blocksPerGroup)), uint32(rel % uint64(s.blocksPerGroup))
}

// tableBlocks returns the length of an inode table in blocks.
func (s *superblock) tableBlocks() uint64 {
	return (uint64(s.inodesPerGroup)*uint64(s.inodeSize) + uint64(s.blockSize) - 1) / uint64(s.blockSize)
}

// hasSuper reports whether group g has a copy of the superblock.
func (s *superblock) hasSuper(g uint32) bool {
	switch {
	case g == 0:
		return true
	case s.compat&compatSparseSuper2 != 0:
		return g == s.backupBGs[0] || g == s.backupBGs[1]
	case g == 1 || s.roCompat&roSparseSuper == 0:
		return true
	case g%2 == 0:
		return false
	}
	for _, base := range []uint32{3, 5, 7} {
		n := g
		for n%base == 0 {
			n /= base
		}
		if n == 1 {
			return true
		}
	}
	return false
}

// descBlock returns where block i of the group descriptors is.
func (s *superblock) descBlock(i uint32) uint64 {
	if s.incompat&incompatMetaBG == 0 || i < s.firstMetaBG {
		return uint64(superOff/s.blockSize) + 1 + uint64(i)
	}
	g := i * s.descPerBlock
	nr := s.groupStart(g)
	if s.hasSuper(g) {
		nr++
	}
	return nr
}

// A zone is a range of blocks.
type zone struct{ start, end uint64 }

// headBlocks returns the blocks at the start of group g that hold copies of
// superblock and descriptors.
func (s *superblock) headBlocks(g uint32) uint64 {
	n := uint64(0)
	super := s.hasSuper(g)
	if super {
		n = 1
	}
	descs := uint64((s.groups + s.descPerBlock - 1) / s.descPerBlock)
	if s.incompat&incompatMetaBG == 0 {
		if super {
			n += descs + uint64(s.reservedGDT)
		}
		return n
	}
	if g < s.firstMetaBG*s.descPerBlock {
		if super {
			n += min(descs, uint64(s.firstMetaBG))
		}
		return n
	}
	if rel := g % s.descPerBlock; rel == 0 || rel == 1 || rel == s.descPerBlock-1 {
		n++
	}
	return n
}

// loadGroups reads and checks all group descriptors.
func (f *FS) loadGroups() error {
	s := f.sb
	f.groups = make([]group, s.groups)
	for i := uint32(0); i*s.descPerBlock < s.groups; i++ {
		nr := s.descBlock(i)
		if nr >= s.blocks {
			return f.damaged("group descriptors at block %d of %d", nr, s.blocks)
		}
		b, err := f.cache.get(nr)
		if err != nil {
			return err
		}
		d := b.bytes()
		for g := i * s.descPerBlock; g < min(s.groups, (i+1)*s.descPerBlock); g++ {
			raw := d[int(g%s.descPerBlock)*s.descSize:][:s.descSize]
			if err := f.checkGroup(g, raw); err != nil {
				return err
			}
			f.groups[g] = decodeGroup(raw)
		}
	}
	return f.mapZones()
}

func (f *FS) checkGroup(g uint32, raw []byte) error {
	s := f.sb
	if s.descCsums() {
		if got, want := le.Uint16(raw[0x1e:]), f.descCsum(g, raw); got != want {
			return f.damaged("descriptor of group %d: checksum %#x, computed %#x", g, got, want)
		}
	}
	d := decodeGroup(raw)
	if !s.descCsums() {
		d.flags = 0
	}
	inside := func(nr, n uint64) bool { return nr > uint64(s.firstData) && nr < s.blocks && n <= s.blocks-nr }
	switch {
	case !inside(d.blockBitmap, 1), !inside(d.inodeBitmap, 1), !inside(d.inodeTable, s.tableBlocks()):
		return f.damaged("descriptor of group %d: bitmaps at %d and %d, inodes at %d, of %d blocks", g, d.blockBitmap, d.inodeBitmap, d.inodeTable, s.blocks)
	case d.freeBlocks > s.groupBlocks(g), d.freeInodes > s.inodesPerGroup, d.tableUnused > s.inodesPerGroup, d.usedDirs > s.inodesPerGroup:
		return f.damaged("descriptor of group %d: impossible counts %d, %d, %d, %d", g, d.freeBlocks, d.freeInodes, d.tableUnused, d.usedDirs)
	}
	return nil
}

// mapZones collects the blocks of the file system's own structures, which no
// file may map.
func (f *FS) mapZones() error {
	s := f.sb
	zones := []zone{{0, uint64(s.firstData) + 1}}
	for g := range s.groups {
		if n := s.headBlocks(g); n > 0 {
			start := s.groupStart(g)
			zones = append(zones, zone{start, min(start+n, s.blocks)})
		}
		d := &f.groups[g]
		zones = append(zones, zone{d.blockBitmap, d.blockBitmap + 1}, zone{d.inodeBitmap, d.inodeBitmap + 1},
			zone{d.inodeTable, d.inodeTable + s.tableBlocks()})
	}
	f.zones = mergeZones(zones)
	return nil
}

// mergeZones sorts zones and joins those that touch.
func mergeZones(zones []zone) []zone {
	slices.SortFunc(zones, func(a, b zone) int { return cmp.Compare(a.start, b.start) })
	merged := zones[:1]
	for _, z := range zones[1:] {
		if last := &merged[len(merged)-1]; z.start <= last.end {
			last.end = max(last.end, z.end)
		} else {
			merged = append(merged, z)
		}
	}
	return merged
}

// usable reports whether n blocks from nr on are in the file system and not
// of its own structures.
func (f *FS) usable(nr, n uint64) bool {
	if n == 0 || nr >= f.sb.blocks || n > f.sb.blocks-nr {
		return false
	}
	i := sort.Search(len(f.zones), func(i int) bool { return f.zones[i].end > nr })
	return i == len(f.zones) || f.zones[i].start >= nr+n
}
