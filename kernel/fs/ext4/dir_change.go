package ext4

import "syscall"

// insertDirent puts an entry into a block of entries, if it has room.
func (f *FS) insertDirent(d []byte, ino uint32, typ uint8, name string) bool {
	area := f.area(d)
	off, used, e, ok := findRoom(area, name)
	if !ok {
		return false
	}
	if used > 0 {
		le.PutUint16(area[off+4:], uint16(used))
	}
	putDirent(area, off+used, e.len-used, ino, typ, name)
	return true
}

// hasRoom reports whether insertDirent would find room.
func (f *FS) hasRoom(d []byte, name string) bool {
	_, _, _, ok := findRoom(f.area(d), name)
	return ok
}

// findRoom returns the first entry of a block, at off, that has room behind the
// used bytes of its own for one called name.
func findRoom(area []byte, name string) (off, used int, e dirent, ok bool) {
	need := direntLen(len(name))
	for off < len(area) {
		if e, ok = getDirent(area, off); !ok {
			return 0, 0, e, false
		}
		used = 0
		if e.ino != 0 {
			used = direntLen(len(e.name))
		}
		if e.len-used >= need {
			return off, used, e, true
		}
		off += e.len
	}
	return 0, 0, e, false
}

// initDirBlock makes d a block of entries without any.
func (f *FS) initDirBlock(d []byte) {
	clear(d)
	area := f.area(d)
	putDirent(area, 0, len(area), 0, 0, "")
	if len(area) < len(d) {
		tail := d[len(area):]
		le.PutUint16(tail[4:], dirTailLen)
		tail[7] = dirTailType
	}
}

// appendBlock adds a block without entries to the directory. It fails with
// ENOSPC before any change.
//
// Context: FS.mu and n.mu held, the inode touched.
func (n *inode) appendBlock() (*buffer, uint64, error) {
	f := n.f
	bs := int64(f.sb.blockSize)
	lblk := uint64(n.size / bs)
	if lblk >= maxDirBlocks {
		return nil, 0, syscall.ENOSPC
	}
	nr, err := f.allocMeta(n.dataGoal())
	if err != nil {
		return nil, 0, err
	}
	n.goal = nr + 1
	if _, err := n.addMapping(mapping{start: lblk, count: 1, nr: nr, state: written}); err != nil {
		if e := f.freeMeta(nr); e != nil {
			return nil, 0, e
		}
		return nil, 0, err
	}
	n.addBlocks(1)
	b := f.fresh(nr, kindDir, n.seed)
	f.initDirBlock(b.bytes())
	n.setSize(int64(lblk+1) * bs)
	return b, lblk, nil
}

// addEntry adds an entry to the directory, which has none of that name. It
// may fail with ENOSPC; then the directory has at most grown.
//
// Context: FS.mu held, the inode touched.
func (n *inode) addEntry(name string, child *inode) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.f
	typ := f.direntType(child.typ)
	if n.indexed {
		return n.addIndexed(name, child.ino, typ)
	}
	blocks := f.blocksOf(n.size)
	for lblk := range blocks {
		b, err := n.dirBlock(lblk)
		if err != nil {
			return err
		}
		if f.hasRoom(b.bytes(), name) {
			f.insertDirent(f.dirty(b, kindDir, n.seed), child.ino, typ, name)
			return nil
		}
	}
	if blocks == 1 && f.sb.dirIndex() {
		if err := n.makeIndex(); err != nil {
			return err
		}
		return n.addIndexed(name, child.ino, typ)
	}
	b, _, err := n.appendBlock()
	if err != nil {
		return err
	}
	f.insertDirent(b.bytes(), child.ino, typ, name)
	return nil
}

// removeSlot removes the entry at a slot.
//
// Context: FS.mu held.
func (n *inode) removeSlot(s slot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.f.dirty(s.b, kindDir, n.seed)
	if s.prev.len == 0 {
		le.PutUint32(d[s.e.off:], 0)
		return
	}
	le.PutUint16(d[s.prev.off+4:], uint16(s.prev.len+s.e.len))
}

// setSlot makes the entry at a slot name another inode.
//
// Context: FS.mu held.
func (n *inode) setSlot(s slot, child *inode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.f.dirty(s.b, kindDir, n.seed)
	le.PutUint32(d[s.e.off:], child.ino)
	d[s.e.off+7] = n.f.direntType(child.typ)
}

// initDir gives a new directory its first block. It fails with ENOSPC before
// any change.
//
// Context: FS.mu held, the inode touched.
func (n *inode) initDir(parent *inode) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, _, err := n.appendBlock()
	if err != nil {
		return err
	}
	d := b.bytes()
	typ := n.f.direntType(syscall.S_IFDIR)
	area := n.f.area(d)
	putDirent(area, 0, 12, n.ino, typ, ".")
	putDirent(area, 12, len(area)-12, parent.ino, typ, "..")
	return nil
}

// dotdot returns the buffer with the directory's entry "..", which is the
// second, and how it is checked.
func (n *inode) dotdot() (*buffer, kind, error) {
	if n.indexed {
		x, err := n.dxNode(0)
		if err != nil {
			return nil, 0, err
		}
		return x.b, kindDxRoot, nil
	}
	b, err := n.dirBlock(0)
	if err != nil {
		return nil, 0, err
	}
	dot, _ := getDirent(b.bytes(), 0)
	e, ok := getDirent(b.bytes(), dot.len)
	if dot.len != 12 || !ok || string(e.name) != ".." {
		return nil, 0, n.f.damaged("directory %d has no entry ..", n.ino)
	}
	return b, kindDir, nil
}

// setParent makes ".." name another directory.
//
// Context: FS.mu held.
func (n *inode) setParent(parent *inode) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, k, err := n.dotdot()
	if err != nil {
		return err
	}
	le.PutUint32(n.f.dirty(b, k, n.seed)[12:], parent.ino)
	return nil
}

// isEmpty reports whether the directory has no entries.
//
// Context: FS.mu held, or n.mu.
func (n *inode) isEmpty() (bool, error) {
	f := n.f
	first := uint64(0)
	if n.indexed {
		return n.indexedEmpty()
	}
	for lblk := first; lblk < f.blocksOf(n.size); lblk++ {
		b, err := n.dirBlock(lblk)
		if err != nil {
			return false, err
		}
		if len(f.entries(b.bytes())) > 0 {
			return false, nil
		}
	}
	return true, nil
}
