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

// A piece is a part of a chunk with one mapping.
type piece struct {
	mapping
	fresh bool // blocks that are held for it; it was a hole
}

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

// choose returns the pieces from one logical block to another, or fewer: where
// there are holes, blocks are held for them.
func (n *inode) choose(start, end uint64) ([]piece, error) {
	var list []piece
	for at := start; at < end && len(list) < chunkPieces; {
		m, err := n.mapBlock(at, end-at)
		if err == nil && m.state == hole {
			err = n.f.retry(func() error { return n.holdFor(&m) })
			if err == nil {
				list = append(list, piece{m, true})
			}
		} else if err == nil {
			list = append(list, piece{m, false})
		}
		if err != nil {
			return list, err
		}
		at = m.end()
	}
	return list, nil
}

// holdFor turns a hole, or the first part of it, into blocks that are held.
func (n *inode) holdFor(m *mapping) error {
	f := n.f
	f.mu.Lock()
	defer f.mu.Unlock()
	own := n.reserve.count(m.start, m.end())
	want := min(m.count, f.available()+own)
	if f.available()+own < want+want/64+16 {
		// The last blocks: some are needed to find the others by.
		extra, span, err := n.mapCost(m.start)
		if err != nil {
			return err
		}
		want = min(want, span, f.available()+own-min(f.available()+own, extra))
	}
	if want == 0 {
		return syscall.ENOSPC
	}
	z, err := f.findRun(n.dataGoal(), uint32(min(want, 1<<16)))
	if err != nil {
		return err
	}
	m.nr, m.count, m.state = z.start, z.end-z.start, written
	f.hold(m.nr, m.count)
	n.goal = z.end
	return nil
}

// dataGoal returns where the next block would be good: after the last.
//
// Context: FS.mu and n.mu held.
func (n *inode) dataGoal() uint64 {
	if n.goal == 0 {
		n.goal = n.homeGoal()
		if last := n.f.blocksOf(n.size); last > 0 {
			if m, err := n.mapBlock(last-1, 1); err == nil && m.state != hole {
				n.goal = m.nr + 1
			}
		}
	}
	return n.goal
}

// giveUp gives back the blocks that are held for pieces.
func (n *inode) giveUp(list []piece) {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	for _, c := range list {
		if c.fresh {
			n.f.unhold(c.nr, c.count)
		}
	}
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

// writePiece writes the part of p, which begins at offset off of the file,
// that falls into a piece. It writes whole blocks: around p they keep what
// they have, or get zeros where there was nothing.
func (n *inode) writePiece(c piece, p []byte, off int64) error {
	bs := int64(n.f.sb.blockSize)
	start, end := max(off, int64(c.start)*bs), min(off+int64(len(p)), int64(c.end())*bs)
	p = p[start-off : end-off]
	head, tail := start%bs, (bs-end%bs)%bs
	if head == 0 && tail == 0 {
		return n.writeBlocks(c, start, p)
	}
	const bounce = 64 << 10
	if int64(len(p)) <= bounce || head+int64(len(p)) <= bs {
		buf := make([]byte, head+int64(len(p))+tail)
		if err := n.fillEdges(c, buf, start-head, head, tail); err != nil {
			return err
		}
		copy(buf[head:], p)
		return n.writeBlocks(c, start-head, buf)
	}
	// The edges on their own, so that the middle need not be copied.
	first, last := int((bs-head)%bs), len(p)-int(end%bs)
	for _, part := range [][2]int{{0, first}, {first, last}, {last, len(p)}} {
		if part[0] < part[1] {
			if err := n.writePiece(c, p[part[0]:part[1]], start+int64(part[0])); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillEdges reads what the first head and the last tail bytes of buf have on
// the disk; buf belongs at offset at of the file.
func (n *inode) fillEdges(c piece, buf []byte, at, head, tail int64) error {
	if c.fresh || c.state != written {
		return nil
	}
	bs := int64(n.f.sb.blockSize)
	read := func(i int64) error {
		// Beyond the end of the file there is nothing to keep.
		keep := min(bs, n.size-(at+i))
		if keep <= 0 {
			return nil
		}
		block := buf[i : i+bs]
		if err := n.f.dev.ReadAt(block, int64(c.nr)*bs+at+i-int64(c.start)*bs); err != nil {
			return err
		}
		clear(block[keep:])
		return nil
	}
	last := int64(len(buf)) - bs
	if head > 0 || last == 0 {
		if err := read(0); err != nil {
			return err
		}
	}
	if tail > 0 && last > 0 {
		return read(last)
	}
	return nil
}

// writeBlocks writes whole blocks to a piece; at is their offset in the file.
func (n *inode) writeBlocks(c piece, at int64, p []byte) error {
	bs := int64(n.f.sb.blockSize)
	if err := n.f.dev.WriteAt(p, int64(c.nr)*bs+at-int64(c.start)*bs); err != nil {
		return err
	}
	n.noteWrite()
	return nil
}

// noteWrite records that the device has got content of the inode that is not
// flushed.
func (n *inode) noteWrite() {
	seq := n.f.writes.Add(1)
	for {
		old := n.wrote.Load()
		if old >= seq || n.wrote.CompareAndSwap(old, seq) {
			return
		}
	}
}
