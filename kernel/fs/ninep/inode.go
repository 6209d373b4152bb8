package ninep

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kiln/kernel/fs"
)

// inode implements fs.Inode.
type inode struct {
	f      *FS
	number uint64 // of the qid
	kind   uint8  // of the qid

	refs int // guarded by FS.mu

	mu     sync.Mutex
	fid    *fid // guarded by mu: a path to the file
	reader *fid // guarded by mu: open for reading, or nil
	writer *fid // guarded by mu: open for writing, or nil
	dirty  bool // guarded by mu: written to since the last Sync

	// lost are the last attributes of a file that has lost the name by which
	// it was known: the server cannot be asked for it any more.
	lost atomic.Pointer[fs.Attr]
}

// Ino is the inode number.
func (in *inode) Ino() uint64 { return in.number }

// IncRef takes a further reference.
func (in *inode) IncRef() {
	in.f.mu.Lock()
	defer in.f.mu.Unlock()
	in.refs++
}

// DecRef gives one back. The last one closes the file.
func (in *inode) DecRef() {
	in.f.mu.Lock()
	in.refs--
	if in.refs < 0 {
		panic(fmt.Sprintf("ninep: inode %d has %d references", in.number, in.refs))
	}
	last := in.refs == 0
	if last && in.f.inodes[in.number] == in {
		delete(in.f.inodes, in.number)
	}
	in.f.mu.Unlock()
	if !last {
		return
	}
	for _, x := range []*fid{in.reader, in.writer, in.fid} {
		if x != nil {
			in.f.release(x)
		}
	}
}

// path returns the inode's path, for the caller to release.
func (in *inode) path() (*fid, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.lost.Load() != nil {
		return nil, syscall.ESTALE // it may be another file's by now
	}
	return in.fid.use(), nil
}

// call sends a request about the inode's path, whose fid comes first in it.
func (in *inode) call(typ uint8, rest func(body) body) (reply, error) {
	p, err := in.path()
	if err != nil {
		return reply{}, err
	}
	defer in.f.release(p)
	r, err := in.f.s.call(typ, rest(newBody().u32(p.num)))
	if err == nil {
		err = r.check(typ)
	}
	return r, err
}

// directory fails if the inode is none.
func (in *inode) directory() error {
	if in.kind&qidDirectory == 0 {
		return syscall.ENOTDIR
	}
	return nil
}

// entry fails if name cannot be an entry of the inode.
func (in *inode) entry(name string) error {
	if err := in.directory(); err != nil {
		return err
	}
	if len(name) > maxName {
		return syscall.ENAMETOOLONG
	}
	return nil
}

// change fails if an entry of that name cannot be changed.
func (in *inode) change(name string) error {
	if err := in.entry(name); err != nil {
		return err
	}
	return in.writable()
}

func (in *inode) writable() error {
	if in.f.o.ReadOnly {
		return syscall.EROFS
	}
	return nil
}

// getattrAll asks for all that statx(2) tells.
const getattrAll = 0x7ff | 0x800

const validBtime = 0x800

// Attr asks the server for the attributes.
func (in *inode) Attr() (fs.Attr, error) {
	if lost := in.lost.Load(); lost != nil {
		return *lost, nil
	}
	r, err := in.call(tgetattr, func(b body) body { return b.u64(getattrAll) })
	if err != nil {
		return fs.Attr{}, err
	}
	valid := r.u64()
	if q := r.qid(); !r.bad && q.path != in.number {
		return fs.Attr{}, syscall.ESTALE // the host put another file there
	}
	a := fs.Attr{Ino: in.number, Mode: r.u32()}
	a.UID = fromServer(r.u32(), in.f.o.UID)
	a.GID = fromServer(r.u32(), in.f.o.GID)
	nlink := r.u64()
	a.Nlink = uint32(min(nlink, 1<<32-1))
	a.Rdev = r.u64()
	a.Size = r.u64()
	r.u64() // st_blksize
	a.Blocks = r.u64()
	for _, t := range []*time.Time{&a.Atime, &a.Mtime, &a.Ctime, &a.Btime} {
		seconds, nanoseconds := r.u64(), r.u64()
		if t != &a.Btime || valid&validBtime != 0 {
			*t = time.Unix(int64(seconds), int64(nanoseconds%1e9))
		}
	}
	if err := r.check(tgetattr); err != nil {
		return fs.Attr{}, err
	}
	if isDir := a.Mode&syscall.S_IFMT == syscall.S_IFDIR; isDir != (in.kind&qidDirectory != 0) || a.Size > 1<<63-1 {
		return fs.Attr{}, protocolError("attributes of mode %#o and size %d for a qid of type %#x", a.Mode, a.Size, in.kind)
	}
	return a, nil
}

// What a Tsetattr sets.
const (
	setMode     = 1 << 0
	setUID      = 1 << 1
	setGID      = 1 << 2
	setSize     = 1 << 3
	setAtime    = 1 << 4
	setMtime    = 1 << 5
	setAtimeNow = 1 << 7 // to the given time, not to that of the server
	setMtimeNow = 1 << 8
)

// SetAttr changes attributes.
func (in *inode) SetAttr(s fs.SetAttr) error {
	if err := in.writable(); err != nil {
		return err
	}
	var valid, mode, uid, gid uint32
	var atime, mtime time.Time
	if s.Mode != nil {
		valid, mode = valid|setMode, *s.Mode
	}
	if s.UID != nil {
		valid, uid = valid|setUID, toServer(*s.UID, in.f.o.UID)
	}
	if s.GID != nil {
		valid, gid = valid|setGID, toServer(*s.GID, in.f.o.GID)
	}
	if s.Atime != nil {
		valid, atime = valid|setAtime|setAtimeNow, *s.Atime
	}
	if s.Mtime != nil {
		valid, mtime = valid|setMtime|setMtimeNow, *s.Mtime
	}
	return in.setattr(valid, mode, uid, gid, 0, atime, mtime)
}

func (in *inode) setattr(valid, mode, uid, gid uint32, size uint64, atime, mtime time.Time) error {
	if valid == 0 {
		return nil
	}
	_, err := in.call(tsetattr, func(b body) body {
		b = b.u32(valid).u32(mode).u32(uid).u32(gid).u64(size)
		for _, t := range []time.Time{atime, mtime} {
			b = b.u64(uint64(t.Unix())).u64(uint64(t.Nanosecond()))
		}
		return b
	})
	return err
}

// Truncate sets the size.
func (in *inode) Truncate(size int64) error {
	if err := in.writable(); err != nil {
		return err
	}
	if in.kind&qidDirectory != 0 {
		return syscall.EISDIR
	}
	if size < 0 {
		return syscall.EINVAL
	}
	if err := in.setattr(setSize, 0, 0, 0, uint64(size), time.Time{}, time.Time{}); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dirty = true
	return nil
}

// Readlink returns a symbolic link's target.
func (in *inode) Readlink() (string, error) {
	if in.kind&qidSymlink == 0 {
		return "", syscall.EINVAL
	}
	p, err := in.path()
	if err != nil {
		return "", err
	}
	defer in.f.release(p)
	r, err := in.f.s.callData(treadlink, newBody().u32(p.num), make([]byte, minMessage+headerSize), nil, nil)
	if err != nil {
		return "", err
	}
	target := r.str()
	return target, r.check(treadlink)
}
