package ext4

import "syscall"

// A piece is a part of a chunk with one mapping.
type piece struct {
	mapping
	fresh bool // blocks that are held for it; it was a hole
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
