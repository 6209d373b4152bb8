package ninep

import (
	"io"
	"syscall"

	"kiln/kernel/fs"
)

// Flags of Tlopen: Linux's O_ ones.
const (
	openReadOnly  = 0
	openReadWrite = 2
	openWriteOnly = 1
)

// open returns a fid that is open for reading, or for writing, for the caller
// to release. The inode keeps it, too, for the next time.
func (in *inode) open(write bool) (*fid, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	place, modes := &in.reader, []uint32{openReadOnly}
	if write {
		// A server may want to read for a write that is not of whole
		// pages; else the file may be one that only can be written.
		place, modes = &in.writer, []uint32{openReadWrite, openWriteOnly}
	}
	if *place != nil {
		return (*place).use(), nil
	}
	if in.lost.Load() != nil {
		return nil, syscall.ESTALE
	}
	var err error
	for _, mode := range modes {
		var x *fid
		if x, err = in.fid.open(mode); err == nil {
			*place = x
			return x.use(), nil
		}
		if err != syscall.EACCES {
			break
		}
	}
	return nil, err
}

// open returns a new fid for the same file that is open.
func (f *fid) open(mode uint32) (*fid, error) {
	x, _, err := f.walk()
	if err != nil {
		return nil, err
	}
	r, err := f.s.call(tlopen, newBody().u32(x.num).u32(mode))
	if err == nil {
		r.qid()
		r.u32() // iounit: a message carries what fits
		err = r.check(tlopen)
	}
	if err != nil {
		_ = x.release() // err tells what is wrong
		return nil, err
	}
	return x, nil
}

// regular fails if the inode is known to have no content.
func (in *inode) regular() error {
	switch {
	case in.kind&qidDirectory != 0:
		return syscall.EISDIR
	case in.kind&qidSymlink != 0:
		return syscall.EINVAL
	}
	return nil
}

// ReadAt reads content.
func (in *inode) ReadAt(p []byte, off int64) (int, error) {
	if err := in.regular(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, syscall.EINVAL
	}
	x, err := in.open(false)
	if err != nil {
		return 0, err
	}
	defer in.f.release(x)
	return x.read(p, off)
}

// read fills p, or reads to the end and returns io.EOF.
func (f *fid) read(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+f.s.max-readHeader)]
		var head [readHeader]byte
		b := newBody().u32(f.num).u64(uint64(off + int64(done))).u32(uint32(len(part)))
		r, err := f.s.callData(tread, b, head[:], nil, part)
		if err != nil {
			return done, err
		}
		n := r.u32()
		if r.bad || int64(n) > int64(len(part)) {
			return done, protocolError("%d bytes read of %d", n, len(part))
		}
		done += int(n)
		if n == 0 {
			return done, io.EOF
		}
	}
	return done, nil
}

// WriteAt writes content.
func (in *inode) WriteAt(p []byte, off int64) (int, error) {
	if err := in.writable(); err != nil {
		return 0, err
	}
	if err := in.regular(); err != nil {
		return 0, err
	}
	if off < 0 || off > 1<<63-1-int64(len(p)) {
		return 0, syscall.EINVAL
	}
	x, err := in.open(true)
	if err != nil {
		return 0, err
	}
	defer in.f.release(x)
	n, err := x.write(p, off)
	if n > 0 {
		in.wrote(off + int64(n))
	}
	return n, err
}

// wrote notes that the file now reaches to end at least.
func (in *inode) wrote(end int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dirty = true
	if lost := in.lost.Load(); lost != nil && lost.Size < uint64(end) {
		a := *lost
		a.Size = uint64(end)
		in.lost.Store(&a)
	}
}

// write writes all of p.
func (f *fid) write(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+f.s.max-ioHeader)]
		b := newBody().u32(f.num).u64(uint64(off + int64(done))).u32(uint32(len(part)))
		r, err := f.s.callData(twrite, b, make([]byte, replySpace), part, nil)
		if err != nil {
			return done, err
		}
		n := r.u32()
		if r.bad || n == 0 || int64(n) > int64(len(part)) {
			return done, protocolError("%d bytes written of %d", n, len(part))
		}
		done += int(n)
	}
	return done, nil
}

// Sync makes the server write the inode back to its disk.
func (in *inode) Sync(dataOnly bool) error {
	if in.f.o.ReadOnly || in.kind&qidSymlink != 0 {
		return nil
	}
	in.mu.Lock()
	x := in.writer
	if x != nil {
		x.use()
	}
	in.dirty = false
	in.mu.Unlock()
	if x == nil {
		// Directories, and files that were truncated or only read.
		var err error
		if x, err = in.open(false); err != nil {
			return in.stillDirty(err)
		}
	}
	defer in.f.release(x)
	var flag uint32
	if dataOnly {
		flag = 1
	}
	if _, err := in.f.s.call(tfsync, newBody().u32(x.num).u32(flag)); err != nil {
		return in.stillDirty(err)
	}
	return nil
}

func (in *inode) stillDirty(err error) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dirty = true
	return err
}

// flush is Sync if anything was written since the last.
func (in *inode) flush() error {
	in.mu.Lock()
	dirty := in.dirty
	in.mu.Unlock()
	if !dirty {
		return nil
	}
	return in.Sync(false)
}

// Reserve has nothing to reserve: WriteAt tells if there is no space.
func (in *inode) Reserve(int64, int64) error { return nil }

// Fallocate is not in the protocol.
func (in *inode) Fallocate(uint32, int64, int64) error { return syscall.EOPNOTSUPP }

// SeekData takes everything for data: the protocol does not tell of holes.
func (in *inode) SeekData(off int64) (int64, error) {
	a, err := in.Attr()
	if err == nil && (off < 0 || uint64(off) >= a.Size) {
		err = syscall.ENXIO
	}
	return off, err
}

// SeekHole finds the end.
func (in *inode) SeekHole(off int64) (int64, error) {
	a, err := in.Attr()
	if err == nil && (off < 0 || uint64(off) >= a.Size) {
		err = syscall.ENXIO
	}
	return int64(a.Size), err
}

// maxXattr bounds what a server may send for an attribute, as XATTR_SIZE_MAX.
const maxXattr = 64 << 10

// Getxattr returns the value of an attribute.
func (in *inode) Getxattr(name string) ([]byte, error) { return in.readXattr(name) }

// Listxattr returns the names of all attributes.
func (in *inode) Listxattr() ([]string, error) {
	b, err := in.readXattr("")
	if err != nil {
		return nil, err
	}
	var names []string
	for start, i := 0, 0; i < len(b); i++ {
		if b[i] == 0 {
			if i > start {
				names = append(names, string(b[start:i]))
			}
			start = i + 1
		}
	}
	return names, nil
}

// readXattr reads an attribute, or with an empty name the list of all.
func (in *inode) readXattr(name string) ([]byte, error) {
	if len(name) > maxName {
		return nil, syscall.ERANGE
	}
	p, err := in.path()
	if err != nil {
		return nil, err
	}
	defer in.f.release(p)
	x := in.f.s.newFid()
	r, err := in.f.s.call(txattrwalk, newBody().u32(p.num).u32(x.num).str(name))
	if err != nil {
		x.drop()
		return nil, err
	}
	defer in.f.release(x)
	size := r.u64()
	if r.bad || size > maxXattr {
		return nil, protocolError("an extended attribute of %d bytes", size)
	}
	value := make([]byte, size)
	n, err := x.read(value, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return value[:n], nil
}

// Setxattr sets an attribute.
func (in *inode) Setxattr(name string, value []byte, flags uint32) error {
	if len(value) == 0 {
		// To servers, an empty value means that the attribute goes away.
		return syscall.EOPNOTSUPP
	}
	return in.writeXattr(name, value, flags)
}

// Removexattr removes an attribute.
func (in *inode) Removexattr(name string) error {
	return in.writeXattr(name, nil, fs.XattrReplace)
}

func (in *inode) writeXattr(name string, value []byte, flags uint32) error {
	if err := in.writable(); err != nil {
		return err
	}
	if len(name) > maxName || len(value) > maxXattr {
		return syscall.ERANGE
	}
	p, err := in.path()
	if err != nil {
		return err
	}
	defer in.f.release(p)
	x, _, err := p.walk()
	if err != nil {
		return err
	}
	b := newBody().u32(x.num).str(name).u64(uint64(len(value))).u32(flags)
	if _, err := in.f.s.call(txattrcreate, b); err != nil {
		in.f.release(x)
		return err
	}
	if _, err := x.write(value, 0); err != nil {
		in.f.release(x)
		return err
	}
	// The attribute is set by the clunk.
	return x.release()
}
