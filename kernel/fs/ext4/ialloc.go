package ext4

import (
	"math/rand/v2"
	"syscall"

	"kiln/kernel/fs"
)

// inodeGroup chooses the group for a new inode. Files go to their directory's
// group, so that what is used together is near; directories below the root
// are spread over the disk, others go near their parent as long as its
// neighbourhood is not crowded (after Grigory Orlov).
//
// Context: FS.mu held.
func (f *FS) inodeGroup(dir *inode, isDir bool) (uint32, error) {
	s := f.sb
	parent := (dir.ino - 1) / s.inodesPerGroup
	if isDir {
		if g, ok := f.dirGroup(dir, parent); ok {
			return g, nil
		}
	}
	fallback, found := uint32(0), false
	for i := range s.groups {
		g := (parent + i) % s.groups
		d := &f.groups[g]
		if d.freeInodes == 0 {
			continue
		}
		if d.freeBlocks > 0 {
			return g, nil
		}
		if !found {
			fallback, found = g, true
		}
	}
	if !found {
		return 0, syscall.ENOSPC
	}
	return fallback, nil
}

// dirGroup chooses the group for a new directory. ok is false if none is
// better than any other.
func (f *FS) dirGroup(dir *inode, parent uint32) (group uint32, ok bool) {
	s := f.sb
	var inodes, blocks, dirs uint64
	for i := range f.groups {
		inodes += uint64(f.groups[i].freeInodes)
		blocks += uint64(f.groups[i].freeBlocks)
		dirs += uint64(f.groups[i].usedDirs)
	}
	n := uint64(s.groups)
	avgInodes, avgBlocks := inodes/n, blocks/n
	if dir.ino == inoRoot {
		best := uint32(0)
		for g := range s.groups {
			d := &f.groups[g]
			if d.freeInodes == 0 || uint64(d.freeInodes) < avgInodes || uint64(d.freeBlocks) < avgBlocks {
				continue
			}
			if !ok || d.usedDirs < f.groups[best].usedDirs {
				best, ok = g, true
			}
		}
		return best, ok
	}
	minInodes := max(1, avgInodes-min(avgInodes, uint64(s.inodesPerGroup)/4))
	minBlocks := avgBlocks - min(avgBlocks, uint64(s.blocksPerGroup)/4)
	maxDirs := dirs/n + uint64(s.inodesPerGroup)/16
	for i := range s.groups {
		g := (parent + i) % s.groups
		d := &f.groups[g]
		if uint64(d.freeInodes) >= minInodes && uint64(d.freeBlocks) >= minBlocks && uint64(d.usedDirs) < maxDirs+1 {
			return g, true
		}
	}
	return 0, false
}

// takeInode takes a free inode in the running transaction.
//
// Context: FS.mu held.
func (f *FS) takeInode(dir *inode, isDir bool) (uint32, error) {
	s := f.sb
	first, err := f.inodeGroup(dir, isDir)
	if err != nil {
		return 0, err
	}
	for i := range s.groups {
		g := (first + i) % s.groups
		d := &f.groups[g]
		if d.freeInodes == 0 {
			continue
		}
		b, err := f.inodeBitmap(g)
		if err != nil {
			return 0, err
		}
		from := uint32(0)
		if g == 0 {
			from = s.firstIno - 1
		}
		bit := nextClear(b.bytes(), nil, from, s.inodesPerGroup)
		if bit == s.inodesPerGroup {
			continue
		}
		return g*s.inodesPerGroup + bit + 1, f.claimInode(g, bit, b, isDir)
	}
	return 0, syscall.ENOSPC
}

// claimInode marks an inode as taken.
func (f *FS) claimInode(g, bit uint32, b *buffer, isDir bool) error {
	s := f.sb
	d, err := f.joinGroup(g)
	if err != nil {
		return err
	}
	if err := f.prepareTable(g, bit); err != nil {
		return err
	}
	setBits(f.dirty(b, kindInodeBitmap, g), bit, 1, true)
	d.freeInodes--
	d.flags &^= groupInodeUninit
	if isDir {
		d.usedDirs++
	}
	if d.flags&groupBlockUninit != 0 && s.descCsums() {
		// A group with inodes has a block bitmap on disk: so e2fsck wants it.
		bb, err := f.blockBitmap(g)
		if err != nil {
			return err
		}
		f.dirty(bb, kindBlockBitmap, g)
		d.flags &^= groupBlockUninit
	}
	return nil
}

// prepareTable zeroes the inodes of a group's table that were never used, up
// to and including number bit: mkfs may have left there what was on the disk.
func (f *FS) prepareTable(g, bit uint32) error {
	s := f.sb
	d := &f.groups[g]
	if !s.descCsums() {
		return nil
	}
	for used := s.inodesPerGroup - d.tableUnused; used <= bit; used++ {
		nr, off := f.inodePlace(g*s.inodesPerGroup + used + 1)
		b, err := f.cache.get(nr)
		if err != nil {
			return err
		}
		clear(f.dirty(b, kindInodes, 0)[off : off+s.inodeSize])
		d.tableUnused--
	}
	return nil
}

// newInode makes an inode in the running transaction and returns it with a
// reference. It has no links yet.
//
// Context: FS.mu held.
func (f *FS) newInode(dir *inode, attr fs.New) (*inode, error) {
	isDir := attr.Mode&syscall.S_IFMT == syscall.S_IFDIR
	ino, err := f.takeInode(dir, isDir)
	if err != nil {
		return nil, err
	}
	now := f.now()
	n := &inode{
		f: f, ino: ino, ready: make(chan struct{}), refs: 1,
		typ: attr.Mode & syscall.S_IFMT, mode: attr.Mode & (syscall.S_IFMT | 07777), uid: attr.UID, gid: attr.GID,
		raw: make([]byte, f.sb.inodeSize), gen: rand.Uint32(),
		atime: now, mtime: now, ctime: now,
	}
	if f.sb.inodeSize > 128 {
		le.PutUint16(n.raw[inoExtraIsize:], f.sb.extraIsize)
		n.btime = now
	}
	n.seed = f.inodeSeed(ino, n.gen)
	switch n.typ {
	case syscall.S_IFCHR, syscall.S_IFBLK:
		n.setRdev(attr.Rdev)
	case syscall.S_IFREG, syscall.S_IFDIR:
		n.useExtents()
	}
	close(n.ready)
	f.imu.Lock()
	old := f.inodes[ino]
	if old == nil {
		f.inodes[ino] = n
	}
	f.imu.Unlock()
	if old != nil {
		return nil, f.damaged("inode %d is in use, but free in its bitmap", ino)
	}
	return n, n.touch(false)
}

// useExtents gives the new inode an extent tree, if the file system has them.
func (n *inode) useExtents() {
	if n.f.sb.extents() {
		n.extents = true
		n.flags |= flagExtents
		n.initExtents()
	}
}

// freeInode gives an inode that has no blocks back.
//
// Context: FS.mu held, the inode touched.
func (f *FS) freeInode(n *inode) error {
	g, bit := (n.ino-1)/f.sb.inodesPerGroup, (n.ino-1)%f.sb.inodesPerGroup
	b, err := f.inodeBitmap(g)
	if err != nil {
		return err
	}
	if !testBit(b.bytes(), bit) {
		return f.damaged("freeing inode %d, which is free", n.ino)
	}
	d, err := f.joinGroup(g)
	if err != nil {
		return err
	}
	setBits(f.dirty(b, kindInodeBitmap, g), bit, 1, false)
	d.freeInodes++
	if n.isDir() && d.usedDirs > 0 {
		d.usedDirs--
	}
	n.at.Lock()
	n.links, n.size, n.dtime = 0, 0, uint32(f.now().Unix())
	n.at.Unlock()
	n.store()
	return nil
}

// undoInode takes back newInode, and the blocks that the inode has got since,
// all in the same transaction. n is not used afterwards.
//
// Context: FS.mu held.
func (f *FS) undoInode(n *inode) error {
	for done := !n.hasBlocks(); !done; {
		var err error
		if done, err = n.removeSome(0, 1<<32); err != nil {
			return err
		}
	}
	if err := f.freeInode(n); err != nil {
		return err
	}
	f.imu.Lock()
	delete(f.inodes, n.ino)
	f.imu.Unlock()
	return nil
}
