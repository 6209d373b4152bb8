package iso9660

import (
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"kiln/kernel/fs"
)

// defaultMode is what files may be used for if nothing is recorded.
const defaultMode = 0o555

// inode implements fs.Inode.
type inode struct {
	f        *FS
	number   uint64
	attr     fs.Attr
	target   string   // of a symbolic link
	sections []extent // of a regular file or a directory, which has one
	broken   error    // why the content cannot be read, or nil

	refs int // guarded by FS.mu

	mu      sync.Mutex
	loaded  bool           // guarded by mu
	entries []dirent       // guarded by mu until loaded, then constant
	index   map[string]int // likewise
}

// directory returns the inode of the directory that begins at e's block, with
// a reference. How long it is, its "." record says.
func (f *FS) directory(e extent) (*inode, error) {
	d := dirent{typ: syscall.DT_DIR, addr: e.off(), extent: e}
	return f.inode(&d, func(in *inode) error {
		self, err := f.selfRecord(e)
		if err != nil {
			return err
		}
		skip := f.skip
		if e.block == f.vol.root.block {
			skip = 0
		}
		in.sections = []extent{self.extent}
		return in.describe(self, syscall.S_IFDIR, skip)
	})
}

// file returns the inode of an entry that is no directory, with a reference.
func (f *FS) file(d *dirent) (*inode, error) {
	return f.inode(d, func(in *inode) error {
		b := make([]byte, min(sectorSize-d.addr%sectorSize, 255))
		if err := f.read(b, d.addr); err != nil {
			return err
		}
		r, err := parseRecord(b[:min(len(b), int(b[recLength]))])
		if err != nil {
			return err
		}
		in.broken = d.broken
		in.sections = append([]extent{d.extent}, d.sections...)
		return in.describe(r, uint32(d.typ)<<12, f.skip)
	})
}

// inode returns the inode of an entry, with a reference: the one that is in
// use, or a new one that fill completes.
func (f *FS) inode(d *dirent, fill func(*inode) error) (*inode, error) {
	n := d.number()
	if in := f.referenced(n); in != nil {
		return in, nil
	}
	fresh := &inode{f: f, number: n, refs: 1}
	if err := fill(fresh); err != nil {
		return nil, f.report(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if in := f.inodes[n]; in != nil { // another was quicker
		in.refs++
		return in, nil
	}
	f.inodes[n] = fresh
	return fresh, nil
}

// referenced returns the inode if it is in use, with a further reference.
func (f *FS) referenced(n uint64) *inode {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.inodes[n]
	if in != nil {
		in.refs++
	}
	return in
}

// describe fills in the attributes that a record gives.
func (in *inode) describe(r record, typ uint32, skip int) error {
	a := fs.Attr{
		Ino: in.number, Mode: typ | defaultMode, Nlink: 1,
		Atime: r.date, Mtime: r.date, Ctime: r.date,
	}
	for _, s := range in.sections {
		a.Size += uint64(s.size)
	}
	if in.f.rock {
		rr, err := in.f.rockRidge(r, skip)
		if err != nil {
			return err
		}
		rr.describe(&a)
		in.target = rr.target
		if rr.badLink != nil {
			in.broken = rr.badLink
		}
	}
	switch typ {
	case syscall.S_IFREG, syscall.S_IFDIR:
	case syscall.S_IFLNK:
		a.Size = uint64(len(in.target))
		in.sections = nil
	default:
		a.Size = 0
		in.sections = nil
	}
	a.Blocks = (a.Size + 511) / 512
	in.attr = a
	return nil
}

// describe puts what Rock Ridge says into a, whose type stays.
func (rr *rock) describe(a *fs.Attr) {
	if rr.px {
		a.Mode = fileType(a.Mode) | rr.mode&^syscall.S_IFMT&0xffff
		a.Nlink, a.UID, a.GID = max(rr.nlink, 1), rr.uid, rr.gid
	}
	if t := fileType(a.Mode); t == syscall.S_IFCHR || t == syscall.S_IFBLK {
		a.Rdev = rr.rdev
	}
	for _, p := range []struct {
		to   *time.Time
		from time.Time
	}{{&a.Mtime, rr.mtime}, {&a.Atime, rr.atime}, {&a.Ctime, rr.ctime}, {&a.Btime, rr.btime}} {
		if !p.from.IsZero() {
			*p.to = p.from
		}
	}
}

// Ino is the inode number.
func (in *inode) Ino() uint64 { return in.number }

// IncRef takes a further reference.
func (in *inode) IncRef() {
	in.f.mu.Lock()
	defer in.f.mu.Unlock()
	in.refs++
}

// DecRef gives one back.
func (in *inode) DecRef() {
	in.f.mu.Lock()
	defer in.f.mu.Unlock()
	in.refs--
	if in.refs < 0 {
		panic(fmt.Sprintf("iso9660: inode %d has %d references", in.number, in.refs))
	}
	if in.refs == 0 {
		delete(in.f.inodes, in.number)
	}
}

// Attr returns the attributes.
func (in *inode) Attr() (fs.Attr, error) { return in.attr, nil }

// load returns a directory's entries, reading them the first time.
func (in *inode) load() ([]dirent, map[string]int, error) {
	if fileType(in.attr.Mode) != syscall.S_IFDIR {
		return nil, nil, syscall.ENOTDIR
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.loaded {
		entries, index, err := in.f.readDirectory(in.sections[0])
		if err != nil {
			return nil, nil, in.f.report(fmt.Errorf("directory in block %d: %w", in.sections[0].block, err))
		}
		in.entries, in.index, in.loaded = entries, index, true
	}
	return in.entries, in.index, nil
}

// Lookup returns the entry called name, with a reference.
func (in *inode) Lookup(name string) (fs.Inode, error) {
	entries, index, err := in.load()
	if err != nil {
		return nil, err
	}
	i, ok := index[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	var found *inode
	if d := &entries[i]; d.typ == syscall.DT_DIR {
		found, err = in.f.directory(d.extent)
	} else {
		found, err = in.f.file(d)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return found, nil
}

// ReadDir emits the entries from pos on. Positions count entries.
func (in *inode) ReadDir(pos int64, emit func(fs.Dirent) bool) error {
	entries, _, err := in.load()
	if err != nil {
		return err
	}
	if pos < 0 {
		return syscall.EINVAL
	}
	for i := pos; i < int64(len(entries)); i++ {
		d := &entries[i]
		if !emit(fs.Dirent{Name: d.name, Ino: d.number(), Type: d.typ, Next: i + 1}) {
			break
		}
	}
	return nil
}

// Readlink returns a symbolic link's target.
func (in *inode) Readlink() (string, error) {
	if fileType(in.attr.Mode) != syscall.S_IFLNK {
		return "", syscall.EINVAL
	}
	if in.broken != nil {
		return "", in.f.report(in.broken)
	}
	if in.target == "" {
		return "", in.f.report(damaged("an empty symbolic link"))
	}
	return in.target, nil
}

// ReadAt reads content.
func (in *inode) ReadAt(p []byte, off int64) (int, error) {
	switch fileType(in.attr.Mode) {
	case syscall.S_IFDIR:
		return 0, syscall.EISDIR
	case syscall.S_IFREG:
	default:
		return 0, syscall.EINVAL
	}
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if in.broken != nil {
		return 0, in.broken
	}
	done := 0
	for done < len(p) {
		addr, n, err := contentOffset(in.sections, off+int64(done), len(p)-done)
		if err == io.EOF {
			return done, io.EOF
		}
		if err := in.f.read(p[done:done+n], addr); err != nil {
			return done, in.f.report(err)
		}
		done += n
	}
	return done, nil
}

// SeekData finds data everywhere up to the end.
func (in *inode) SeekData(off int64) (int64, error) {
	if off < 0 || uint64(off) >= in.attr.Size {
		return 0, syscall.ENXIO
	}
	return off, nil
}

// SeekHole finds the end.
func (in *inode) SeekHole(off int64) (int64, error) {
	if off < 0 || uint64(off) >= in.attr.Size {
		return 0, syscall.ENXIO
	}
	return int64(in.attr.Size), nil
}
