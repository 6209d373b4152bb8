package ext4

import (
	"errors"
	"syscall"
)

const (
	// chunkBytes is how much of a write is mapped in one transaction at most.
	chunkBytes = 4 << 20
	// chunkPieces bounds the extents of a chunk, so that its changes fit into
	// a transaction.
	chunkPieces = 8
)

// WriteAt implements fs.Inode.
func (n *inode) WriteAt(p []byte, off int64) (int, error) {
	f := n.f
	if !n.isReg() {
		return 0, n.typeError()
	}
	if f.stopped() {
		return 0, syscall.EROFS
	}
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if len(p) == 0 {
		return 0, nil
	}
	if limit := n.maxBytes(); off >= limit {
		return 0, syscall.EFBIG
	} else if int64(len(p)) > limit-off {
		p = p[:limit-off]
	}
	if ok, err := n.overwrite(p, off); ok || err != nil {
		if err != nil {
			return 0, err
		}
		return len(p), n.stamp()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.cleanTail(off); err != nil {
		return 0, err
	}
	for done := 0; done < len(p); {
		k, err := n.writeChunk(p[done:min(len(p), done+chunkBytes)], off+int64(done))
		done += k
		if err != nil {
			if done > 0 && errors.Is(err, syscall.ENOSPC) {
				err = nil // a short write
			}
			return done, err
		}
	}
	return len(p), nil
}

// cleanTail zeroes what the last block has behind the end of the file, before
// the file grows with a gap up to offset to. It is zero already, unless a
// crash came between content and size.
//
// Context: n.mu held.
func (n *inode) cleanTail(to int64) error {
	end := int64(n.f.blocksOf(n.size)) * int64(n.f.sb.blockSize)
	return n.zeroEdge(n.size, min(to, end))
}

// maxBytes returns how large the file can become.
func (n *inode) maxBytes() int64 {
	return int64(n.maxBlocks()) * int64(n.f.sb.blockSize)
}

// overwrite writes whole blocks that are mapped already, together with other
// readers and writers. ok is false if there is more to do.
func (n *inode) overwrite(p []byte, off int64) (ok bool, err error) {
	bs := int64(n.f.sb.blockSize)
	n.mu.RLock()
	defer n.mu.RUnlock()
	end := off + int64(len(p))
	// Up to the end of the file, a last partial block is whole.
	if off%bs != 0 || end > n.size || end%bs != 0 && end != n.size {
		return false, nil
	}
	first, last := uint64(off/bs), n.f.blocksOf(end)
	var list []piece
	for at := first; at < last; {
		m, err := n.mapBlock(at, last-at)
		if err != nil || m.state != written {
			return false, err
		}
		list = append(list, piece{mapping: m})
		at = m.end()
	}
	for _, m := range list {
		if err := n.writePiece(m, p, off); err != nil {
			return false, err
		}
	}
	return true, nil
}

// stamp sets the times of a file whose content has changed.
func (n *inode) stamp() error {
	f := n.f
	if err := f.begin(creditsInode); err != nil {
		return err
	}
	defer f.end()
	if err := n.touch(true); err != nil {
		return err
	}
	n.setTimes(true)
	return nil
}

// setTimes sets ctime and, for content, mtime to now.
//
// Context: FS.mu held, the inode touched.
func (n *inode) setTimes(content bool) {
	now := n.f.now()
	n.at.Lock()
	defer n.at.Unlock()
	n.ctime = now
	if content {
		n.mtime = now
	}
}

// writeChunk writes p: it chooses blocks, writes to them, and then maps them,
// in this order, so that no transaction maps a block without its content.
//
// Context: n.mu held.
func (n *inode) writeChunk(p []byte, off int64) (int, error) {
	bs := int64(n.f.sb.blockSize)
	end := off + int64(len(p))
	list, err := n.choose(uint64(off/bs), n.f.blocksOf(end))
	if len(list) == 0 {
		return 0, err
	}
	for _, c := range list {
		if err := n.writePiece(c, p, off); err != nil {
			n.giveUp(list)
			return 0, err
		}
	}
	end = min(end, int64(list[len(list)-1].end())*bs)
	return n.mapChunk(list, off, end)
}

// mapChunk maps what has been written up to end and returns how many bytes
// from off on that is.
func (n *inode) mapChunk(list []piece, off, end int64) (int, error) {
	f := n.f
	bs := int64(f.sb.blockSize)
	err := f.retry(func() error {
		if err := f.begin(creditsTree + 6*len(list)); err != nil {
			return err
		}
		defer f.end()
		if err := n.touch(false); err != nil {
			return err
		}
		n.setTimes(true)
		for len(list) > 0 {
			c := &list[0]
			if err := n.mapPiece(c); err != nil {
				if mapped := min(end, int64(c.start)*bs); mapped > off {
					n.grow(mapped)
				}
				return f.check(err)
			}
			list = list[1:]
		}
		n.grow(end)
		return nil
	})
	if err != nil {
		n.giveUp(list)
		end = min(end, int64(list[0].start)*bs)
		return int(max(0, end-off)), err
	}
	return int(end - off), nil
}

// mapPiece maps a piece that has been written. If it cannot as a whole, the
// piece becomes the rest.
func (n *inode) mapPiece(c *piece) error {
	f := n.f
	switch {
	case c.fresh:
		f.unhold(c.nr, c.count)
		if err := f.claim(zone{c.nr, c.nr + c.count}); err != nil {
			f.hold(c.nr, c.count)
			return err
		}
		done, err := n.addMapping(c.mapping)
		n.addBlocks(int64(done))
		f.unreserve(n, c.start, c.start+done)
		if err == nil {
			return nil
		}
		// What is left is held again. It becomes free in the bitmap first.
		c.mapping = c.clip(c.start+done, c.count)
		if e := f.unclaim(zone{c.nr, c.nr + c.count}); e != nil {
			return e
		}
		return err
	case c.state == unwritten:
		return n.convert(c.start, c.end(), written)
	}
	return nil
}

// grow makes the file at least size bytes long.
//
// Context: FS.mu and n.mu held, the inode touched.
func (n *inode) grow(size int64) {
	if size <= n.size {
		return
	}
	n.setSize(size)
}

// setSize sets the size.
//
// Context: as of grow.
func (n *inode) setSize(size int64) {
	n.at.Lock()
	n.size = size
	n.at.Unlock()
	if size > 1<<31-1 && !n.f.hasLargeFile {
		n.f.hasLargeFile, n.f.wantLargeFile = true, true
	}
}
