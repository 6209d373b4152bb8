package ninep

import (
	"errors"
	"syscall"

	"kiln/kernel/fs"
)

// Lookup returns the entry called name, with a reference.
func (in *inode) Lookup(name string) (fs.Inode, error) {
	if err := in.entry(name); err != nil {
		return nil, err
	}
	found, err := in.lookup(name)
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (in *inode) lookup(name string) (*inode, error) {
	p, err := in.path()
	if err != nil {
		return nil, err
	}
	defer in.f.release(p)
	to, q, err := p.walk(name)
	if err != nil {
		return nil, err
	}
	return in.f.inode(to, q), nil
}

// readdirSize is how much of a directory is asked for at a time, bytes.
const readdirSize = 32 << 10

// ReadDir emits the entries from pos on. Positions are the server's.
func (in *inode) ReadDir(pos int64, emit func(fs.Dirent) bool) error {
	if err := in.directory(); err != nil {
		return err
	}
	x, err := in.open(false)
	if err != nil {
		return err
	}
	defer in.f.release(x)
	buf := make([]byte, min(readdirSize, in.f.s.max))
	for {
		b := newBody().u32(x.num).u64(uint64(pos)).u32(uint32(len(buf) - readHeader))
		r, err := in.f.s.callData(treaddir, b, buf, nil, nil)
		if err != nil {
			return err
		}
		size := r.u32()
		if int64(size) != int64(len(r.b)) {
			return protocolError("a reply with %d bytes of directory entries says %d", len(r.b), size)
		}
		if size == 0 {
			return nil
		}
		before := pos
		more, err := emitAll(&r, &pos, emit)
		if err != nil || !more {
			return err
		}
		if pos == before {
			return protocolError("a directory does not go on behind position %d", pos)
		}
	}
}

// emitAll emits the entries in a reply, and moves pos behind them. more is
// false if emit wants no more.
func emitAll(r *reply, pos *int64, emit func(fs.Dirent) bool) (more bool, err error) {
	for len(r.b) > 0 {
		q, next, typ, name := r.qid(), int64(r.u64()), r.u8(), r.str()
		if err := r.check(treaddir); err != nil {
			return false, err
		}
		if next == 0 {
			return false, protocolError("entry %q of a directory ends at its start", name)
		}
		*pos = next
		if name == "." || name == ".." {
			continue
		}
		if !validName(name) {
			return false, protocolError("a directory has an entry %q", name)
		}
		if !emit(fs.Dirent{Name: name, Ino: q.path, Type: typ, Next: next}) {
			return false, nil
		}
	}
	return true, nil
}

func validName(name string) bool {
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// openCreate are the flags that make a new file: O_RDWR, O_CREAT and O_EXCL
// of Linux, as 9P2000.L has them on every machine.
const openCreate = 0o2 | 0o100 | 0o200

// Create makes a file of any type but a symbolic link.
func (in *inode) Create(name string, n fs.New) (fs.Inode, error) {
	if err := in.change(name); err != nil {
		return nil, err
	}
	gid := toServer(n.GID, in.f.o.GID)
	perm := n.Mode &^ syscall.S_IFMT
	var err error
	switch typ := n.Mode & syscall.S_IFMT; typ {
	case syscall.S_IFREG:
		return in.createFile(name, n, perm, gid)
	case syscall.S_IFDIR:
		_, err = in.call(tmkdir, func(b body) body { return b.str(name).u32(perm).u32(gid) })
	default:
		_, err = in.call(tmknod, func(b body) body {
			return b.str(name).u32(n.Mode).u32(major(n.Rdev)).u32(minor(n.Rdev)).u32(gid)
		})
	}
	if err != nil {
		return nil, err
	}
	return in.created(name, n)
}

// major and minor take apart what fs.Dev made.
func major(dev uint64) uint32 { return uint32(dev>>8) & 0xfff }
func minor(dev uint64) uint32 { return uint32(dev)&0xff | uint32(dev>>12)&^0xff }

// createFile makes a regular file, which the server opens in passing.
func (in *inode) createFile(name string, n fs.New, perm, gid uint32) (fs.Inode, error) {
	p, err := in.path()
	if err != nil {
		return nil, err
	}
	defer in.f.release(p)
	x, _, err := p.walk()
	if err != nil {
		return nil, err
	}
	b := newBody().u32(x.num).str(name).u32(openCreate).u32(perm).u32(gid)
	r, err := in.f.s.call(tlcreate, b)
	q := r.qid()
	if err == nil {
		err = r.check(tlcreate)
	}
	if err != nil {
		in.f.release(x)
		return nil, err
	}
	file, err := in.created(name, n)
	if err != nil {
		in.f.release(x)
		return nil, err
	}
	file.mu.Lock()
	keep := file.writer == nil && file.number == q.path
	if keep {
		file.writer = x
	}
	file.mu.Unlock()
	if !keep {
		in.f.release(x) // somebody on the host was quicker
	}
	return file, nil
}

// created returns the inode that was just made. Its owner is whom the server
// runs as; if another is wanted, the server may not be able to: the same
// happens to a program without privileges on its side, and is no failure.
func (in *inode) created(name string, n fs.New) (*inode, error) {
	made, err := in.lookup(name)
	if err != nil {
		return nil, err
	}
	if n.UID != 0 {
		err := made.SetAttr(fs.SetAttr{UID: &n.UID})
		if err != nil && !errors.Is(err, syscall.EPERM) {
			made.DecRef()
			return nil, err
		}
	}
	return made, nil
}

// Symlink makes a symbolic link.
func (in *inode) Symlink(name, target string, n fs.New) (fs.Inode, error) {
	if err := in.change(name); err != nil {
		return nil, err
	}
	if len(target) >= minMessage {
		return nil, syscall.ENAMETOOLONG
	}
	gid := toServer(n.GID, in.f.o.GID)
	if _, err := in.call(tsymlink, func(b body) body { return b.str(name).str(target).u32(gid) }); err != nil {
		return nil, err
	}
	made, err := in.created(name, n)
	if err != nil {
		return nil, err
	}
	return made, nil
}

// Link adds a name for target.
func (in *inode) Link(name string, target fs.Inode) error {
	t, ok := target.(*inode)
	if !ok || t.f != in.f {
		return syscall.EXDEV
	}
	if err := in.change(name); err != nil {
		return err
	}
	p, err := t.path()
	if err != nil {
		return err
	}
	defer in.f.release(p)
	_, err = in.call(tlink, func(b body) body { return b.u32(p.num).str(name) })
	return err
}

// removeDirectory is AT_REMOVEDIR.
const removeDirectory = 0x200

// Unlink removes an entry that is no directory.
func (in *inode) Unlink(name string) error {
	if err := in.change(name); err != nil {
		return err
	}
	forget := in.keepOpen(name)
	_, err := in.call(tunlinkat, func(b body) body { return b.str(name).u32(0) })
	forget(err == nil)
	return err
}

// Rmdir removes an empty directory.
func (in *inode) Rmdir(name string) error {
	if err := in.change(name); err != nil {
		return err
	}
	_, err := in.call(tunlinkat, func(b body) body { return b.str(name).u32(removeDirectory) })
	return err
}

// Rename moves an entry. The protocol knows no flags.
func (in *inode) Rename(oldName string, newDir fs.Inode, newName string, flags uint32) error {
	to, ok := newDir.(*inode)
	if !ok || to.f != in.f {
		return syscall.EXDEV
	}
	if err := in.change(oldName); err != nil {
		return err
	}
	if err := to.change(newName); err != nil {
		return err
	}
	if flags != 0 {
		return syscall.EINVAL
	}
	p, err := to.path()
	if err != nil {
		return err
	}
	defer in.f.release(p)
	forget := to.keepOpen(newName)
	_, err = in.call(trenameat, func(b body) body { return b.str(oldName).u32(p.num).str(newName) })
	forget(err == nil)
	return err
}

// keepOpen prepares for the entry called name to lose that name: if somebody
// has the file, it is opened now, because it may not be found by a path later,
// and its attributes are kept. What it returns is called when it is known
// whether the name is gone.
func (in *inode) keepOpen(name string) func(gone bool) {
	file := in.referenced(name)
	if file == nil {
		return func(bool) {}
	}
	a, err := file.Attr()
	if err == nil && a.Mode&syscall.S_IFMT == syscall.S_IFREG {
		for _, write := range []bool{false, true} {
			// Whoever may not open it now, could not have later.
			if x, err := file.open(write); err == nil {
				in.f.release(x)
			}
		}
	}
	return func(gone bool) {
		if gone && err == nil {
			// It may be known by another name, which is still there.
			if _, err := file.Attr(); err != nil {
				a.Nlink = max(a.Nlink, 1) - 1
				file.lost.Store(&a)
			}
		}
		file.DecRef()
	}
}

// referenced returns the inode called name if it is in use, and neither a
// directory nor a symbolic link, with a further reference, or nil.
func (in *inode) referenced(name string) *inode {
	p, err := in.path()
	if err != nil {
		return nil
	}
	defer in.f.release(p)
	x, q, err := p.walk(name)
	if err != nil {
		return nil
	}
	defer in.f.release(x)
	if q.kind&(qidDirectory|qidSymlink) != 0 {
		return nil
	}
	in.f.mu.Lock()
	defer in.f.mu.Unlock()
	file := in.f.inodes[q.path]
	if file == nil || file.kind != q.kind {
		return nil
	}
	file.refs++
	return file
}
