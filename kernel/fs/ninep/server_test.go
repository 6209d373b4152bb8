package ninep

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// server is a small 9P2000.L server of a folder. Like QEMU's it knows files by
// their path, so that one without a name is reached only through what is open.
type server struct {
	t    testing.TB
	root string
	max  int // message size

	mu    sync.Mutex
	fids  map[uint32]*serverFid
	calls map[byte]int
	// reply, if not nil, may change a reply before it is sent.
	reply func(b []byte) []byte
}

type serverFid struct {
	path  string
	file  *os.File
	value []byte // of the attribute that is read
	set   string // the attribute that is written
	want  int    // its size
	flags int
}

func newServer(t testing.TB) *server {
	return &server{t: t, root: t.TempDir(), max: 8192, fids: make(map[uint32]*serverFid), calls: make(map[byte]int)}
}

func (s *server) MaxMessage() int { return s.max }

func (s *server) RoundTrip(request, answer [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m []byte
	for _, part := range request {
		m = append(m, part...)
	}
	if int(binary.LittleEndian.Uint32(m)) != len(m) || len(m) > s.max {
		s.t.Errorf("a request of %d bytes says that it has %d", len(m), binary.LittleEndian.Uint32(m))
	}
	r := &reply{b: m[headerSize:]}
	s.calls[m[4]]++
	out, err := s.serve(m[4], r)
	typ := m[4] + 1
	if r.bad || len(r.b) > 0 {
		s.t.Errorf("request %d: bad %t, %d bytes left", m[4], r.bad, len(r.b))
	}
	if err != nil {
		errno := syscall.EIO
		errors.As(err, &errno)
		typ, out = rlerror, body{}.u32(uint32(errno))
	}
	b := append(body{}.u32(uint32(headerSize+len(out))).u8(typ).u16(binary.LittleEndian.Uint16(m[5:])), out...)
	if s.reply != nil {
		b = s.reply(b)
	}
	n := len(b)
	for _, part := range answer {
		b = b[copy(part, b):]
	}
	if len(b) > 0 {
		s.t.Errorf("a reply to request %d has %d bytes more than there is room", m[4], len(b))
	}
	return n, nil
}

func (s *server) qid(path string) (body, unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, st, err
	}
	kind := uint8(0)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		kind = qidDirectory
	case unix.S_IFLNK:
		kind = qidSymlink
	}
	return body{}.u8(kind).u32(uint32(st.Mtim.Sec)).u64(st.Ino), st, nil
}

// serve carries out one request.
func (s *server) serve(typ byte, r *reply) (body, error) {
	if typ == tversion {
		max, name := r.u32(), r.str()
		return body{}.u32(max).str(name), nil
	}
	num := r.u32()
	f := s.fids[num]
	if typ == tattach {
		r.u32()
		r.str()
		r.str()
		r.u32()
		s.fids[num] = &serverFid{path: s.root}
		q, _, err := s.qid(s.root)
		return q, err
	}
	if f == nil {
		r.b = nil
		s.t.Errorf("request %d uses fid %d, which is not known", typ, num)
		return nil, syscall.EBADF
	}
	switch typ {
	case twalk, tlopen, tlcreate, tread, twrite, treaddir, tfsync, tclunk:
		return s.serveFid(typ, num, f, r)
	case txattrwalk, txattrcreate:
		return s.serveXattr(typ, f, r)
	case tgetattr, tsetattr, tstatfs, treadlink:
		return s.serveAttr(typ, f, r)
	}
	return s.serveName(typ, f, r)
}

func (s *server) serveFid(typ byte, num uint32, f *serverFid, r *reply) (body, error) {
	switch typ {
	case twalk:
		return s.walk(f, r)
	case tlopen:
		file, err := os.OpenFile(f.path, int(r.u32()), 0)
		if err != nil {
			return nil, err
		}
		f.file = file
		q, _, err := s.qid(f.path)
		return q.u32(0), err
	case tlcreate:
		name, flags, mode := r.str(), r.u32(), r.u32()
		r.u32()
		path := filepath.Join(f.path, name)
		file, err := os.OpenFile(path, int(flags), os.FileMode(mode&0o777))
		if err != nil {
			return nil, err
		}
		f.file, f.path = file, path
		q, _, err := s.qid(path)
		return q.u32(0), err
	case tread:
		off, n := int64(r.u64()), r.u32()
		b := make([]byte, n)
		if f.file == nil {
			n = uint32(copy(b, f.value[min(off, int64(len(f.value))):]))
			return append(body{}.u32(n), b[:n]...), nil
		}
		got, err := f.file.ReadAt(b, off)
		if err == io.EOF {
			err = nil
		}
		return append(body{}.u32(uint32(got)), b[:got]...), err
	case twrite:
		off, n := int64(r.u64()), int(r.u32())
		b := r.take(n)
		if f.set != "" {
			f.value = append(f.value[:off:off], b...)
			return body{}.u32(uint32(n)), nil
		}
		n, err := f.file.WriteAt(b, off)
		return body{}.u32(uint32(n)), err
	case treaddir:
		return s.readdir(f, r)
	case tfsync:
		r.u32()
		return nil, f.file.Sync()
	}
	delete(s.fids, num)
	return nil, f.end()
}

// end is what the clunk does.
func (f *serverFid) end() error {
	if f.file != nil {
		return f.file.Close()
	}
	if f.set == "" {
		return nil
	}
	if f.want == 0 {
		return unix.Lremovexattr(f.path, f.set)
	}
	if len(f.value) != f.want {
		return syscall.EINVAL
	}
	return unix.Lsetxattr(f.path, f.set, f.value, f.flags)
}

func (s *server) walk(f *serverFid, r *reply) (body, error) {
	to, n := r.u32(), int(r.u16())
	path, qids := f.path, body{}
	for range n {
		path = filepath.Join(path, r.str())
		q, _, err := s.qid(path)
		if err != nil {
			return nil, err
		}
		qids = append(qids, q...)
	}
	if s.fids[to] != nil {
		s.t.Errorf("walk to fid %d, which is in use", to)
	}
	s.fids[to] = &serverFid{path: path}
	return append(body{}.u16(uint16(n)), qids...), nil
}

// readdir numbers the entries by their order, from 1.
func (s *server) readdir(f *serverFid, r *reply) (body, error) {
	off, count := int(r.u64()), int(r.u32())
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, err
	}
	names := []string{".", ".."}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	out := body{}
	for i := off; i < len(names); i++ {
		q, st, err := s.qid(filepath.Join(f.path, names[i]))
		if err != nil {
			return nil, err
		}
		e := append(body{}, q...).u64(uint64(i + 1)).u8(uint8(st.Mode >> 12)).str(names[i])
		if len(out)+len(e) > count {
			break
		}
		out = append(out, e...)
	}
	return append(body{}.u32(uint32(len(out))), out...), nil
}

func (s *server) serveXattr(typ byte, f *serverFid, r *reply) (body, error) {
	if typ == txattrcreate {
		f.set = r.str()
		f.want, f.flags = int(r.u64()), int(r.u32())
		return nil, nil
	}
	to, name := r.u32(), r.str()
	buf := make([]byte, 65536)
	var n int
	var err error
	if name == "" {
		n, err = unix.Llistxattr(f.path, buf)
	} else {
		n, err = unix.Lgetxattr(f.path, name, buf)
	}
	if err != nil {
		return nil, err
	}
	s.fids[to] = &serverFid{path: f.path, value: buf[:n]}
	return body{}.u64(uint64(n)), nil
}

func (s *server) serveAttr(typ byte, f *serverFid, r *reply) (body, error) {
	switch typ {
	case treadlink:
		target, err := os.Readlink(f.path)
		return body{}.str(target), err
	case tstatfs:
		var st unix.Statfs_t
		err := unix.Statfs(f.path, &st)
		return body{}.u32(uint32(st.Type)).u32(uint32(st.Bsize)).u64(st.Blocks).u64(st.Bfree).u64(st.Bavail).
			u64(st.Files).u64(st.Ffree).u64(0).u32(uint32(st.Namelen)), err
	case tgetattr:
		mask := r.u64()
		q, st, err := s.qid(f.path)
		b := append(body{}.u64(mask&0x7ff), q...).u32(st.Mode).u32(st.Uid).u32(st.Gid).u64(st.Nlink).u64(st.Rdev).
			u64(uint64(st.Size)).u64(uint64(st.Blksize)).u64(uint64(st.Blocks))
		for _, t := range []unix.Timespec{st.Atim, st.Mtim, st.Ctim, {}} {
			b = b.u64(uint64(t.Sec)).u64(uint64(t.Nsec))
		}
		return b.u64(0).u64(0), err
	}
	valid, mode, uid, gid, size := r.u32(), r.u32(), r.u32(), r.u32(), int64(r.u64())
	var times [2]unix.Timespec
	for i := range times {
		times[i] = unix.Timespec{Sec: int64(r.u64()), Nsec: int64(r.u64())}
		if valid&(setAtime<<i) == 0 {
			times[i] = unix.Timespec{Nsec: unix.UTIME_OMIT}
		}
	}
	var errs []error
	if valid&setMode != 0 {
		errs = append(errs, unix.Chmod(f.path, mode))
	}
	if valid&(setUID|setGID) != 0 {
		owner := [2]int{-1, -1}
		if valid&setUID != 0 {
			owner[0] = int(uid)
		}
		if valid&setGID != 0 {
			owner[1] = int(gid)
		}
		errs = append(errs, os.Lchown(f.path, owner[0], owner[1]))
	}
	if valid&setSize != 0 {
		errs = append(errs, os.Truncate(f.path, size))
	}
	if valid&(setAtime|setMtime) != 0 {
		errs = append(errs, unix.UtimesNanoAt(unix.AT_FDCWD, f.path, times[:], unix.AT_SYMLINK_NOFOLLOW))
	}
	return nil, errors.Join(errs...)
}

func (s *server) serveName(typ byte, f *serverFid, r *reply) (body, error) {
	if typ == tlink {
		target := s.fids[r.u32()]
		return nil, os.Link(target.path, filepath.Join(f.path, r.str()))
	}
	path := filepath.Join(f.path, r.str())
	switch typ {
	case tmkdir:
		mode := r.u32()
		r.u32()
		if err := os.Mkdir(path, os.FileMode(mode&0o777)); err != nil {
			return nil, err
		}
	case tmknod:
		mode, major, minor := r.u32(), r.u32(), r.u32()
		r.u32()
		if err := unix.Mknod(path, mode, int(unix.Mkdev(major, minor))); err != nil {
			return nil, err
		}
	case tsymlink:
		target := r.str()
		r.u32()
		if err := os.Symlink(target, path); err != nil {
			return nil, err
		}
	case tunlinkat:
		if r.u32() == removeDirectory {
			return nil, unix.Rmdir(path)
		}
		return nil, unix.Unlink(path)
	case trenameat:
		to := filepath.Join(s.fids[r.u32()].path, r.str())
		if err := os.Rename(path, to); err != nil {
			return nil, err
		}
		for _, other := range s.fids {
			if other.path == path || strings.HasPrefix(other.path, path+"/") {
				other.path = to + other.path[len(path):]
			}
		}
		return nil, nil
	default:
		s.t.Errorf("request of type %d", typ)
		return nil, syscall.EOPNOTSUPP
	}
	q, _, err := s.qid(path)
	return q, err
}
