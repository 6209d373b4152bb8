package ext4

import (
	"slices"
)

// Orphans are inodes that a crash would leave half-way: without links but
// still open, or being truncated. They are on a list, which Mount works off:
// in the superblock and the deletion times of the orphans, or with the
// feature orphan_file in a file of inode numbers.

// orphanTailLen is the length of what ends a block of the orphan file: a
// magic number and a checksum.
const (
	orphanTailLen = 8
	orphanMagic   = 0x0b10ca04
)

// orphanState says where an inode is listed. Guarded by FS.mu.
type orphanState struct {
	listed bool
	inFile bool
	nr     uint64 // the orphan file's block
	off    int    // in that block
}

// orphanFile is the open orphan file.
type orphanFile struct {
	blocks []uint64
	seed   uint32
	count  int // inodes listed. Guarded by FS.mu
}

// addOrphan lists an inode, unless it is listed.
//
// Context: FS.mu held, the inode touched.
func (f *FS) addOrphan(n *inode) error {
	if n.orphan.listed {
		return nil
	}
	if ok, err := f.addToFile(n); ok || err != nil {
		return err
	}
	super, err := f.superBytes()
	if err != nil {
		return err
	}
	n.at.Lock()
	n.dtime = le.Uint32(super[sbLastOrphan:])
	n.at.Unlock()
	le.PutUint32(super[sbLastOrphan:], n.ino)
	f.orphans = append(f.orphans, n)
	n.orphan = orphanState{listed: true}
	return nil
}

// dropOrphan takes an inode off the list, if it is on it.
//
// Context: FS.mu held, the inode touched.
func (f *FS) dropOrphan(n *inode) error {
	if !n.orphan.listed {
		return nil
	}
	if n.orphan.inFile {
		return f.dropFromFile(n)
	}
	// f.orphans is the list from its end: the one before n points to n.
	i := slices.Index(f.orphans, n)
	n.at.Lock()
	next := n.dtime
	n.dtime = 0
	n.at.Unlock()
	if i == len(f.orphans)-1 {
		super, err := f.superBytes()
		if err != nil {
			return err
		}
		le.PutUint32(super[sbLastOrphan:], next)
	} else {
		prev := f.orphans[i+1]
		if err := prev.touch(false); err != nil {
			return err
		}
		prev.at.Lock()
		prev.dtime = next
		prev.at.Unlock()
	}
	f.orphans = slices.Delete(f.orphans, i, i+1)
	n.orphan = orphanState{}
	return nil
}

// orphanBlock returns a checked block of the orphan file.
func (f *FS) orphanBlock(nr uint64) (*buffer, error) {
	b, err := f.cache.get(nr)
	if err != nil {
		return nil, err
	}
	seed := f.orphanFile.seed
	return b, f.verify(b, kindOrphans, seed, func(d []byte) error {
		tail := d[len(d)-orphanTailLen:]
		if le.Uint32(tail) != orphanMagic {
			return f.damaged("orphan file: block %d has magic %#x", nr, le.Uint32(tail))
		}
		if f.sb.metaCsum() && le.Uint32(tail[4:]) != orphanCsum(seed, nr, d) {
			return f.damaged("orphan file: block %d has a bad checksum", nr)
		}
		return nil
	})
}

// addToFile lists an inode in the orphan file; ok is false if there is none or
// it is full.
func (f *FS) addToFile(n *inode) (ok bool, err error) {
	if f.orphanFile == nil {
		return false, nil
	}
	for _, nr := range f.orphanFile.blocks {
		b, err := f.orphanBlock(nr)
		if err != nil {
			return false, err
		}
		d := b.bytes()
		for off := 0; off < len(d)-orphanTailLen; off += 4 {
			if le.Uint32(d[off:]) != 0 {
				continue
			}
			le.PutUint32(f.dirty(b, kindOrphans, f.orphanFile.seed)[off:], n.ino)
			n.orphan = orphanState{true, true, nr, off}
			f.orphanFile.count++
			return true, f.setOrphanPresent(true)
		}
	}
	return false, nil
}

func (f *FS) dropFromFile(n *inode) error {
	b, err := f.orphanBlock(n.orphan.nr)
	if err != nil {
		return err
	}
	le.PutUint32(f.dirty(b, kindOrphans, f.orphanFile.seed)[n.orphan.off:], 0)
	n.orphan = orphanState{}
	if f.orphanFile.count--; f.orphanFile.count == 0 {
		return f.setOrphanPresent(false)
	}
	return nil
}

// setOrphanPresent says in the superblock whether the orphan file has to be
// looked at.
//
// Context: FS.mu held.
func (f *FS) setOrphanPresent(on bool) error {
	if f.orphanPresent == on {
		return nil
	}
	super, err := f.superBytes()
	if err != nil {
		return err
	}
	v := le.Uint32(super[sbROCompat:]) &^ roOrphanPresent
	if on {
		v |= roOrphanPresent
	}
	le.PutUint32(super[sbROCompat:], v)
	f.orphanPresent = on
	return nil
}

// openOrphanFile finds the blocks of the orphan file.
func (f *FS) openOrphanFile() error {
	if f.sb.orphanIno == 0 {
		return nil
	}
	n, err := f.iget(f.sb.orphanIno)
	if err != nil {
		return err
	}
	defer n.DecRef()
	if !n.isReg() {
		return f.damaged("the orphan file is no file")
	}
	o := &orphanFile{seed: n.seed}
	const most = 1 << 12 // blocks; e2fsprogs makes up to 512
	for at := range min(f.blocksOf(n.size), most) {
		m, err := n.mapBlock(at, 1)
		if err != nil {
			return err
		}
		if m.state != written {
			return f.damaged("the orphan file has a hole at block %d", at)
		}
		o.blocks = append(o.blocks, m.nr)
	}
	f.orphanFile = o
	return nil
}

// findOrphans returns the inodes that are listed on the disk, in the order of
// the list from its end.
func (f *FS) findOrphans() ([]*inode, error) {
	var found []*inode
	seen := make(map[uint32]bool)
	add := func(ino uint32, s orphanState) (*inode, error) {
		if seen[ino] || ino < f.sb.firstIno {
			return nil, f.damaged("the orphan list has inode %d", ino)
		}
		seen[ino] = true
		n, err := f.iget(ino)
		if err != nil {
			return nil, err
		}
		n.orphan = s
		found = append(found, n)
		return n, nil
	}
	super, err := f.superBytes()
	if err != nil {
		return nil, err
	}
	for ino := le.Uint32(super[sbLastOrphan:]); ino != 0; {
		n, err := add(ino, orphanState{listed: true})
		if err != nil {
			return found, err
		}
		ino = n.dtime
	}
	slices.Reverse(found)
	f.orphans = slices.Clone(found)
	if f.orphanFile == nil || !f.orphanPresent {
		return found, nil
	}
	for _, nr := range f.orphanFile.blocks {
		b, err := f.orphanBlock(nr)
		if err != nil {
			return found, err
		}
		d := b.bytes()
		for off := 0; off < len(d)-orphanTailLen; off += 4 {
			if ino := le.Uint32(d[off:]); ino != 0 {
				f.orphanFile.count++
				if _, err := add(ino, orphanState{true, true, nr, off}); err != nil {
					return found, err
				}
			}
		}
	}
	return found, nil
}

// cleanOrphans finishes what a crash interrupted.
func (f *FS) cleanOrphans() error {
	f.mu.Lock()
	found, err := f.findOrphans()
	f.mu.Unlock()
	freed, cut := 0, 0
	for _, n := range found {
		if n.links == 0 {
			freed++ // by DecRef
		} else if err == nil {
			cut++
			err = f.finishTruncate(n)
		}
	}
	for _, n := range found {
		n.DecRef()
	}
	if freed+cut > 0 {
		f.log("after an unclean end: freed %d unlinked files, finished %d truncations", freed, cut)
	}
	return err
}

// finishTruncate frees what a file has past its end.
func (f *FS) finishTruncate(n *inode) error {
	start := uint64(1 << 32)
	if n.isReg() {
		start = f.blocksOf(n.size)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dropBlocks(start, 1<<32, true, func() error { return nil }, func() error { return f.dropOrphan(n) })
}
