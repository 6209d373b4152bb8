package ext4

import (
	"errors"
	"syscall"

	"kiln/kernel/fs"
)

// dropBlocks frees the blocks from start to end, in as many transactions as
// it takes. first is called in the first of them, last in the last. If it
// takes several, the inode is on the orphan list in between.
//
// Context: n.mu held, unless nobody else has the inode.
func (n *inode) dropBlocks(start, end uint64, listed bool, first, last func() error) error {
	f := n.f
	for begun, done := false, false; !done; {
		err := f.retry(func() error {
			if err := f.begin(2 * creditsTree); err != nil {
				return err
			}
			defer f.end()
			if err := n.touch(false); err != nil {
				return err
			}
			if !begun {
				if err := first(); err != nil {
					return f.check(err)
				}
				begun = true
			}
			var err error
			for !done && f.room(creditsTree) {
				if done, err = n.removeSome(start, end); err != nil {
					return f.check(err)
				}
			}
			if done {
				err = last()
			} else if listed {
				err = f.addOrphan(n)
			}
			return f.check(err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Truncate implements fs.Inode.
func (n *inode) Truncate(size int64) error {
	f := n.f
	if !n.isReg() {
		return n.typeError()
	}
	if f.stopped() {
		return syscall.EROFS
	}
	if size < 0 {
		return syscall.EINVAL
	}
	if size > n.maxBytes() {
		return syscall.EFBIG
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if size < n.size {
		if err := n.zeroEdge(size, (int64(f.blocksOf(size)) * int64(f.sb.blockSize))); err != nil {
			return err
		}
	} else if err := n.cleanTail(size); err != nil {
		return err
	}
	start := f.blocksOf(max(size, n.size))
	if size <= n.size {
		start = f.blocksOf(size)
	}
	return n.dropBlocks(start, 1<<32, true, func() error {
		f.unreserve(n, f.blocksOf(size), 1<<63)
		n.setSize(size)
		n.setTimes(true)
		return nil
	}, func() error { return f.dropOrphan(n) })
}

// zeroEdge zeroes content in a part of one block, if it has any.
//
// Context: n.mu held.
func (n *inode) zeroEdge(from, to int64) error {
	if from >= to {
		return nil
	}
	bs := int64(n.f.sb.blockSize)
	m, err := n.mapBlock(uint64(from/bs), 1)
	if err != nil || m.state != written {
		return err
	}
	return n.writePiece(piece{mapping: m}, make([]byte, to-from), from)
}

// Fallocate implements fs.Inode.
func (n *inode) Fallocate(mode uint32, off, length int64) error {
	f := n.f
	if !n.isReg() {
		return n.typeError()
	}
	if f.stopped() {
		return syscall.EROFS
	}
	if off < 0 || length <= 0 {
		return syscall.EINVAL
	}
	if off > n.maxBytes()-length {
		return syscall.EFBIG
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch mode {
	case 0, fs.FallocKeepSize:
		return n.preallocate(off, off+length, mode == 0)
	case fs.FallocPunchHole | fs.FallocKeepSize:
		return n.punch(off, off+length)
	case fs.FallocZeroRange, fs.FallocZeroRange | fs.FallocKeepSize:
		return n.zeroRange(off, off+length, mode&fs.FallocKeepSize == 0)
	}
	return syscall.EOPNOTSUPP
}

// zeroEdges zeroes the parts of blocks at both ends of a range, and returns
// the whole blocks between them.
func (n *inode) zeroEdges(off, end int64) (first, last uint64, err error) {
	bs := int64(n.f.sb.blockSize)
	first, last = n.f.blocksOf(off), uint64(end/bs)
	if first > last { // inside of one block
		return first, first, n.zeroEdge(off, end)
	}
	if err := n.zeroEdge(off, int64(first)*bs); err != nil {
		return 0, 0, err
	}
	return first, last, n.zeroEdge(int64(last)*bs, end)
}

func (n *inode) punch(off, end int64) error {
	first, last, err := n.zeroEdges(off, end)
	if err != nil {
		return err
	}
	stamp := func() error { n.setTimes(true); return nil }
	none := func() error { return nil }
	if first >= last {
		return n.stamp()
	}
	return n.dropBlocks(first, last, false, stamp, none)
}

// zeroRange makes a range unwritten.
func (n *inode) zeroRange(off, end int64, extend bool) error {
	if !n.extents {
		return syscall.EOPNOTSUPP
	}
	first, last, err := n.zeroEdges(off, end)
	if err != nil {
		return err
	}
	f := n.f
	for at := first; at < last; {
		m, err := n.mapBlock(at, last-at)
		if err != nil {
			return err
		}
		if m.state == written {
			err = f.retry(func() error {
				if err := f.begin(creditsTree); err != nil {
					return err
				}
				defer f.end()
				if err := n.touch(false); err != nil {
					return err
				}
				return f.check(n.convert(m.start, m.end(), unwritten))
			})
		}
		if err != nil {
			return err
		}
		at = m.end()
	}
	return n.preallocate(off, end, extend)
}

// preallocate gives the holes of a range blocks that read as zeros.
func (n *inode) preallocate(off, end int64, extend bool) error {
	if !n.extents {
		return syscall.EOPNOTSUPP
	}
	f := n.f
	if extend {
		if err := n.cleanTail(end); err != nil {
			return err
		}
	}
	bs := int64(f.sb.blockSize)
	last := f.blocksOf(end)
	for at := uint64(off / bs); at < last; {
		m, err := n.mapBlock(at, last-at)
		if err != nil {
			return err
		}
		if m.state == hole {
			if m, err = n.fillHole(m, end, extend); err != nil {
				return err
			}
		}
		at = m.end()
	}
	if err := f.begin(creditsInode); err != nil {
		return err
	}
	defer f.end()
	if err := n.touch(false); err != nil {
		return err
	}
	if extend {
		n.grow(end)
	}
	n.setTimes(false)
	return nil
}

// fillHole gives the first part of a hole blocks and returns it.
func (n *inode) fillHole(m mapping, end int64, extend bool) (mapping, error) {
	f := n.f
	err := f.retry(func() error {
		want := m
		if err := n.holdFor(&want); err != nil {
			return err
		}
		want.state = unwritten
		if err := f.begin(creditsTree); err != nil {
			n.giveUp([]piece{{want, true}})
			return err
		}
		defer f.end()
		if err := n.touch(false); err != nil {
			return err
		}
		c := piece{want, true}
		if err := n.mapPiece(&c); err != nil {
			f.unhold(c.nr, c.count)
			return f.check(err)
		}
		if extend {
			n.grow(min(end, int64(want.end())*int64(f.sb.blockSize)))
		}
		m = want
		return nil
	})
	return m, err
}

// release is called when the last reference to an inode has gone. It frees an
// inode without links.
func (f *FS) release(n *inode) {
	f.mu.Lock()
	f.imu.Lock()
	if n.refs > 0 || n.freeing || f.inodes[n.ino] != n {
		f.imu.Unlock()
		f.mu.Unlock()
		return
	}
	f.unreserve(n, 0, 1<<63)
	n.leave()
	if n.links > 0 || f.readOnly || f.failed != nil {
		if n.dirty && f.failed == nil {
			n.store()
		}
		delete(f.inodes, n.ino)
		f.imu.Unlock()
		f.mu.Unlock()
		return
	}
	n.freeing = true
	f.imu.Unlock()
	f.mu.Unlock()
	if err := f.destroy(n); err != nil && !errors.Is(err, syscall.EROFS) {
		f.log("freeing inode %d: %v", n.ino, err)
	}
	f.mu.Lock()
	if n.dirty && f.failed == nil {
		n.store()
	}
	f.imu.Lock()
	delete(f.inodes, n.ino)
	f.imu.Unlock()
	f.mu.Unlock()
}

// destroy frees an inode without links and all that it has.
func (f *FS) destroy(n *inode) error {
	none := func() error { return nil }
	start := uint64(1 << 32) // nothing to free
	if n.hasBlocks() {
		start = 0
	}
	return n.dropBlocks(start, 1<<32, true, none, func() error {
		if err := f.dropXattrBlock(n); err != nil {
			return err
		}
		if err := f.dropOrphan(n); err != nil {
			return err
		}
		return f.freeInode(n)
	})
}

// hasBlocks reports whether i_block has a tree of blocks.
func (n *inode) hasBlocks() bool {
	return n.isReg() || n.isDir() || n.typ == syscall.S_IFLNK && !n.fast
}
