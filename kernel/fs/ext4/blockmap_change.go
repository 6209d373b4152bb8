package ext4

// addPointers maps blocks that were holes. It returns how many it mapped,
// which is all unless there is an error.
//
// Context: FS.mu and n.mu held, the inode touched.
func (n *inode) addPointers(m mapping) (done uint64, err error) {
	for done < m.count {
		d, i, err := n.pointerSlot(m.start + done)
		if err != nil {
			return done, err
		}
		end := len(d) / 4
		if len(d) == len(n.root) {
			end = directBlocks
		}
		for ; i < end && done < m.count; i++ {
			le.PutUint32(d[4*i:], uint32(m.nr+done))
			done++
		}
	}
	return done, nil
}

// pointerSlot returns where the number of logical block lblk belongs: bytes
// that may be changed, and the index in them. It allocates the blocks of
// numbers on the way.
func (n *inode) pointerSlot(lblk uint64) (d []byte, i int, err error) {
	f := n.f
	path := f.pointerPath(lblk)
	d = n.root[:]
	for _, i := range path[:len(path)-1] {
		nr := pointer(d, i)
		var b *buffer
		if nr == 0 {
			if nr, err = f.allocMeta(n.metaGoal()); err != nil {
				return nil, 0, err
			}
			b = f.fresh(nr, kindIndirect, n.seed)
			n.addBlocks(1)
			le.PutUint32(d[4*i:], uint32(nr))
		} else if b, err = n.indirect(nr); err != nil {
			return nil, 0, err
		}
		d = f.dirty(b, kindIndirect, n.seed)
	}
	return d, path[len(path)-1], nil
}

// A pointerWalk frees the blocks of a range of a block map, from its end on.
type pointerWalk struct {
	n          *inode
	start, end uint64
	run        mapping // neighbours that are to be freed together
}

// removePointers frees blocks between start and end until all are, or the
// transaction is full.
//
// Context: as of removeExtent.
func (n *inode) removePointers(start, end uint64) (done bool, err error) {
	w := &pointerWalk{n: n, start: start, end: end}
	p := uint64(n.f.sb.blockSize / 4)
	tops := [3]uint64{directBlocks, directBlocks + p, directBlocks + p + p*p}
	spans := [3]uint64{p, p * p, p * p * p}
	done = true
	for i := 2; i >= 0 && done && err == nil; i-- {
		done, err = w.below(n.root[:], directBlocks+i, tops[i], spans[i], i)
	}
	if done && err == nil {
		for i := directBlocks - 1; i >= 0 && err == nil; i-- {
			err = w.number(n.root[:], i, uint64(i))
		}
	}
	if e := w.flush(); err == nil {
		err = e
	}
	return done, err
}

// number frees the block that number i in d stands for, which is logical block
// lblk, if that is in the range.
func (w *pointerWalk) number(d []byte, i int, lblk uint64) error {
	nr := pointer(d, i)
	if nr == 0 || lblk < w.start || lblk >= w.end {
		return nil
	}
	le.PutUint32(d[4*i:], 0)
	if w.run.count > 0 && nr+1 == w.run.nr {
		w.run.nr--
		w.run.count++
		return nil
	}
	err := w.flush()
	w.run = mapping{nr: nr, count: 1, state: written}
	return err
}

func (w *pointerWalk) flush() error {
	run := w.run
	w.run = mapping{}
	if run.count == 0 {
		return nil
	}
	return w.n.freeContent(run)
}

// below frees what is in the range below number i in d, a block of numbers
// that stands for span logical blocks from first on, with levels more below.
func (w *pointerWalk) below(d []byte, i int, first, span uint64, levels int) (done bool, err error) {
	n, f := w.n, w.n.f
	nr := pointer(d, i)
	if nr == 0 || w.end <= first || w.start >= first+span {
		return true, nil
	}
	if !f.room(creditsInode) {
		return false, w.flush()
	}
	b, err := n.indirect(nr)
	if err != nil {
		return false, err
	}
	sub := f.dirty(b, kindIndirect, n.seed)
	p := uint64(f.sb.blockSize / 4)
	each := span / p
	for j := int(p) - 1; j >= 0; j-- {
		at := first + uint64(j)*each
		if levels == 0 {
			err = w.number(sub, j, at)
			done = true
		} else {
			done, err = w.below(sub, j, at, each, levels-1)
		}
		if err != nil || !done {
			return done, err
		}
	}
	for _, c := range sub {
		if c != 0 {
			return true, nil
		}
	}
	le.PutUint32(d[4*i:], 0)
	n.addBlocks(-1)
	return true, f.freeMeta(nr)
}
