package disk

import (
	"fmt"
	"math/rand/v2"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix/transport"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/fs"
)

// create resolves the directory in which rp wants a new file, checks that it may
// be there, and calls make to make it.
func (d *Filesystem) create(ctx context.Context, rp *vfs.ResolvingPath, dir bool, make func(parent *dentry, name string) (*dentry, error)) error {
	d.treeMu.Lock()
	parent, err := d.walkParent(ctx, rp, rp.Start().Impl().(*dentry))
	if err != nil {
		d.treeMu.Unlock()
		return err
	}
	parent.IncRef()
	name := rp.Component()
	e, err := d.createIn(rp, parent, name, dir, make)
	d.treeMu.Unlock()
	defer parent.decRef()
	if err != nil {
		return err
	}
	e.decRef()
	event := uint32(linux.IN_CREATE)
	if dir {
		event |= linux.IN_ISDIR
	}
	parent.node.watches.Notify(ctx, name, event, 0, vfs.InodeEvent, false)
	return nil
}

// createIn is create in directory parent.
//
// Called with treeMu held for writing.
func (d *Filesystem) createIn(rp *vfs.ResolvingPath, parent *dentry, name string, dir bool, make func(parent *dentry, name string) (*dentry, error)) (*dentry, error) {
	if err := parent.node.checkPermissions(rp.Credentials(), vfs.MayExec); err != nil {
		return nil, err
	}
	if name == "." || name == ".." {
		return nil, linuxerr.EEXIST
	}
	if len(name) > maxName {
		return nil, linuxerr.ENAMETOOLONG
	}
	if err := d.absent(parent, name); err != nil {
		return nil, err
	}
	if !dir && rp.MustBeDir() || parent.deleted.Load() {
		return nil, linuxerr.ENOENT
	}
	if err := rp.Mount().CheckBeginWrite(); err != nil {
		return nil, err
	}
	defer rp.Mount().EndWrite()
	if err := parent.node.checkPermissions(rp.Credentials(), vfs.MayWrite); err != nil {
		return nil, err
	}
	return make(parent, name)
}

// absent checks that a directory has no entry called name.
//
// Called with treeMu held for writing.
func (d *Filesystem) absent(parent *dentry, name string) error {
	e, err := d.child(parent, name)
	if err == nil {
		d.dropHeld(e)
		return linuxerr.EEXIST
	}
	if !linuxerr.Equals(linuxerr.ENOENT, err) {
		return err
	}
	return nil
}

// newFile says what a new file in parent is like.
func newFile(parent *dentry, creds *auth.Credentials, mode linux.FileMode) (fs.New, error) {
	a, err := parent.node.attr()
	if err != nil {
		return fs.New{}, err
	}
	n := fs.New{Mode: uint32(mode), UID: uint32(creds.EffectiveKUID), GID: uint32(creds.EffectiveKGID)}
	// A set-group-ID directory gives its group to what is made in it.
	if a.Mode&linux.S_ISGID != 0 {
		n.GID = a.GID
		if mode.FileType() == linux.S_IFDIR {
			n.Mode |= linux.S_ISGID
		}
	}
	return n, nil
}

// makeFile makes a file of any type but symbolic links, with a reference.
//
// Called with treeMu held for writing.
func (d *Filesystem) makeFile(parent *dentry, name string, creds *auth.Credentials, mode linux.FileMode, rdev uint64, ep transport.BoundEndpoint) (*dentry, error) {
	what, err := newFile(parent, creds, mode)
	if err != nil {
		return nil, err
	}
	what.Rdev = rdev
	i, err := parent.node.inode.Create(name, what)
	if err != nil {
		return nil, d.errno(err)
	}
	return d.newChild(parent, name, i, func(n *node) { n.endpoint = ep })
}

// MkdirAt implements vfs.FilesystemImpl.
func (d *Filesystem) MkdirAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.MkdirOptions) error {
	return d.create(ctx, rp, true, func(parent *dentry, name string) (*dentry, error) {
		return d.makeFile(parent, name, rp.Credentials(), linux.S_IFDIR|opts.Mode&^linux.S_IFMT, 0, nil)
	})
}

// MknodAt implements vfs.FilesystemImpl.
func (d *Filesystem) MknodAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.MknodOptions) error {
	switch opts.Mode.FileType() {
	case linux.S_IFREG, linux.S_IFCHR, linux.S_IFBLK, linux.S_IFIFO, linux.S_IFSOCK:
	case linux.S_IFDIR:
		return linuxerr.EPERM
	default:
		return linuxerr.EINVAL
	}
	return d.create(ctx, rp, false, func(parent *dentry, name string) (*dentry, error) {
		return d.makeFile(parent, name, rp.Credentials(), opts.Mode, fs.Dev(opts.DevMajor, opts.DevMinor), opts.Endpoint)
	})
}

// SymlinkAt implements vfs.FilesystemImpl.
func (d *Filesystem) SymlinkAt(ctx context.Context, rp *vfs.ResolvingPath, target string) error {
	return d.create(ctx, rp, false, func(parent *dentry, name string) (*dentry, error) {
		what, err := newFile(parent, rp.Credentials(), linux.S_IFLNK|0777)
		if err != nil {
			return nil, err
		}
		i, err := parent.node.inode.Symlink(name, target, what)
		if err != nil {
			return nil, d.errno(err)
		}
		return d.newChild(parent, name, i, nil)
	})
}

// LinkAt implements vfs.FilesystemImpl.
func (d *Filesystem) LinkAt(ctx context.Context, rp *vfs.ResolvingPath, vd vfs.VirtualDentry) error {
	return d.create(ctx, rp, false, func(parent *dentry, name string) (*dentry, error) {
		if rp.Mount() != vd.Mount() {
			return nil, linuxerr.EXDEV
		}
		n := vd.Dentry().Impl().(*dentry).node
		if n.isDir() {
			return nil, linuxerr.EPERM
		}
		a, err := n.attr()
		if err != nil {
			return nil, err
		}
		if err := vfs.MayLink(rp.Credentials(), linux.FileMode(a.Mode), nil, auth.KUID(a.UID), auth.KGID(a.GID)); err != nil {
			return nil, err
		}
		if a.Nlink == 0 && !n.linkable {
			return nil, linuxerr.ENOENT
		}
		if err := parent.node.inode.Link(name, n.inode); err != nil {
			return nil, d.errno(err)
		}
		n.linkable = false
		n.watches.Notify(ctx, "", linux.IN_ATTRIB, 0, vfs.InodeEvent, false)
		n.inode.IncRef()
		return d.newChild(parent, name, n.inode, nil)
	})
}

// makeTemporary makes a file without a name in directory parent (O_TMPFILE), with
// a reference.
func (d *Filesystem) makeTemporary(rp *vfs.ResolvingPath, parent *dentry, opts *vfs.OpenOptions) (*dentry, error) {
	d.treeMu.Lock()
	defer d.treeMu.Unlock()
	if parent.deleted.Load() {
		return nil, linuxerr.EPERM
	}
	if err := rp.Mount().CheckBeginWrite(); err != nil {
		return nil, err
	}
	defer rp.Mount().EndWrite()
	if err := parent.node.checkPermissions(rp.Credentials(), vfs.MayWrite|vfs.MayExec); err != nil {
		return nil, err
	}
	mode := linux.S_IFREG | opts.Mode&^linux.S_IFMT
	maker, ok := parent.node.inode.(fs.NamelessMaker)
	if !ok {
		return d.makeAndRemove(rp, parent, mode)
	}
	what, err := newFile(parent, rp.Credentials(), mode)
	if err != nil {
		return nil, err
	}
	i, err := maker.CreateNameless(what)
	if err != nil {
		return nil, d.errno(err)
	}
	e, err := d.newChild(parent, fmt.Sprintf("#%d", i.Ino()), i, func(n *node) {
		n.linkable = opts.Flags&linux.O_EXCL == 0
	})
	if err == nil {
		parent.removeChild(e)
	}
	return e, err
}

// makeAndRemove is makeTemporary on a file system that gives every file a name: it
// has one for as long as it takes to remove it again.
//
// Called with treeMu held for writing.
func (d *Filesystem) makeAndRemove(rp *vfs.ResolvingPath, parent *dentry, mode linux.FileMode) (*dentry, error) {
	name := fmt.Sprintf(".kiln-tmpfile-%016x", rand.Uint64())
	e, err := d.makeFile(parent, name, rp.Credentials(), mode, 0, nil)
	if err != nil {
		return nil, err
	}
	err = d.errno(parent.node.inode.Unlink(name))
	if err != nil {
		d.dropHeld(e)
		return nil, err
	}
	parent.removeChild(e)
	return e, nil
}

// removeChild takes a child, which was removed on disk, out of the tree.
//
// Called with treeMu held for writing.
func (dir *dentry) removeChild(e *dentry) {
	dir.childMu.Lock()
	if dir.children[e.name] == e {
		delete(dir.children, e.name)
	}
	dir.childMu.Unlock()
	e.deleted.Store(true)
	e.d.unlist(e)
}
