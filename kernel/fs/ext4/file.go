package ext4

import (
	"io"
	"syscall"
)

// typeError returns what reading and writing fail with on what is no regular
// file.
func (n *inode) typeError() error {
	if n.isDir() {
		return syscall.EISDIR
	}
	return syscall.EINVAL
}

// ReadAt implements fs.Inode.
func (n *inode) ReadAt(p []byte, off int64) (int, error) {
	if !n.isReg() {
		return 0, n.typeError()
	}
	if off < 0 {
		return 0, syscall.EINVAL
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.readContent(p, off)
}

// readContent reads what is before the end of the file.
//
// Context: n.mu held.
func (n *inode) readContent(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if off >= n.size {
		return 0, io.EOF
	}
	want := int(min(int64(len(p)), n.size-off))
	bs := int64(n.f.sb.blockSize)
	for done := 0; done < want; {
		at := off + int64(done)
		skip := at % bs
		blocks := (skip + int64(want-done) + bs - 1) / bs
		m, err := n.mapBlock(uint64(at/bs), uint64(blocks))
		if err != nil {
			return done, err
		}
		length := int(min(int64(m.count)*bs-skip, int64(want-done)))
		if m.state != written {
			clear(p[done : done+length])
		} else if err := n.f.readDevice(p[done:], length, int64(m.nr)*bs+skip); err != nil {
			return done, err
		}
		done += length
	}
	if want < len(p) {
		return want, io.EOF
	}
	return want, nil
}

// bounceMax is up to where unaligned reads go through a buffer of their own as
// a whole, rather than in three parts.
const bounceMax = 128 << 10 // bytes

// readDevice reads length bytes at device offset off into p. What p has after
// them may be overwritten up to the end of the sector.
func (f *FS) readDevice(p []byte, length int, off int64) error {
	ss := int64(f.dev.SectorSize())
	head := off % ss
	span := (head + int64(length) + ss - 1) / ss * ss
	switch {
	case head == 0 && span <= int64(len(p)):
		if err := f.dev.ReadAt(p[:span], off); err != nil {
			return err
		}
		clear(p[length:span])
		return nil
	case length <= bounceMax:
		buf := make([]byte, span)
		if err := f.dev.ReadAt(buf, off-head); err != nil {
			return err
		}
		copy(p[:length], buf[head:])
		return nil
	}
	first := int((ss - head) % ss)
	middle := (length - first) / int(ss) * int(ss)
	if err := f.readDevice(p[:first:first], first, off); first > 0 && err != nil {
		return err
	}
	if err := f.dev.ReadAt(p[first:first+middle], off+int64(first)); err != nil {
		return err
	}
	rest := length - first - middle
	if rest == 0 {
		return nil
	}
	return f.readDevice(p[first+middle:length:length], rest, off+int64(first+middle))
}

// Readlink implements fs.Inode.
func (n *inode) Readlink() (string, error) {
	if n.typ != syscall.S_IFLNK {
		return "", syscall.EINVAL
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.fast {
		return string(n.root[:n.size]), nil
	}
	if n.size <= 0 || n.size > int64(n.f.sb.blockSize) {
		return "", n.f.damaged("inode %d: symbolic link of %d bytes", n.ino, n.size)
	}
	m, err := n.mapBlock(0, 1)
	if err != nil {
		return "", err
	}
	if m.state != written {
		return "", n.f.damaged("inode %d: symbolic link without content", n.ino)
	}
	// Targets are metadata: they are in the journal.
	b, err := n.f.cache.get(m.nr)
	if err != nil {
		return "", err
	}
	return string(b.bytes()[:n.size]), nil
}

// SeekData implements fs.Inode.
func (n *inode) SeekData(off int64) (int64, error) {
	return n.seek(off, true)
}

// SeekHole implements fs.Inode.
func (n *inode) SeekHole(off int64) (int64, error) {
	return n.seek(off, false)
}

// seek returns the next offset from off on that has data, or is in a hole.
func (n *inode) seek(off int64, data bool) (int64, error) {
	if !n.isReg() {
		return 0, n.typeError()
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if off < 0 || off >= n.size {
		return 0, syscall.ENXIO
	}
	bs := int64(n.f.sb.blockSize)
	end := n.f.blocksOf(n.size)
	for lblk := uint64(off / bs); lblk < end; {
		m, err := n.mapBlock(lblk, end-lblk)
		if err != nil {
			return 0, err
		}
		if (m.state == written) == data {
			return max(off, int64(lblk)*bs), nil
		}
		lblk = m.end()
	}
	if data {
		return 0, syscall.ENXIO
	}
	return n.size, nil
}
