package disk

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// maxName is the longest name, in bytes, on the file systems that there are.
const maxName = 255

// step resolves rp.Component in directory dir. It returns dir if the component
// was a symbolic link.
//
// Called with treeMu held; what is returned stays as long.
func (d *Filesystem) step(ctx context.Context, rp *vfs.ResolvingPath, dir *dentry) (next *dentry, followed bool, err error) {
	if !dir.node.isDir() {
		return nil, false, linuxerr.ENOTDIR
	}
	if err := dir.node.checkPermissions(rp.Credentials(), vfs.MayExec); err != nil {
		return nil, false, err
	}
	name := rp.Component()
	switch name {
	case ".":
		rp.Advance()
		return dir, false, nil
	case "..":
		if isRoot, err := rp.CheckRoot(ctx, &dir.vfsd); err != nil {
			return nil, false, err
		} else if isRoot || dir.parent == nil {
			rp.Advance()
			return dir, false, nil
		}
		if err := rp.CheckMount(ctx, &dir.parent.vfsd); err != nil {
			return nil, false, err
		}
		rp.Advance()
		return dir.parent, false, nil
	}
	if len(name) > maxName {
		return nil, false, linuxerr.ENAMETOOLONG
	}
	e, err := d.child(dir, name)
	if err != nil {
		return nil, false, err
	}
	// An evictor needs treeMu for writing, so e stays without a reference.
	defer d.dropHeld(e)
	if err := rp.CheckMount(ctx, &e.vfsd); err != nil {
		return nil, false, err
	}
	if e.node.isSymlink() && rp.ShouldFollowSymlink() {
		target, err := e.node.inode.Readlink()
		if err != nil {
			return nil, false, d.errno(err)
		}
		followed, err := rp.HandleSymlink(target)
		return dir, followed, err
	}
	rp.Advance()
	return e, false, nil
}

// dropHeld gives back a reference with treeMu held: a dentry that is not deleted
// stays until somebody takes treeMu for writing.
func (d *Filesystem) dropHeld(e *dentry) {
	if e.refs.Add(-1) > 0 {
		return
	}
	if e.deleted.Load() {
		go e.tryDestroy() // a remote file that has just gone
		return
	}
	d.keep(e)
}

// walkParent resolves all but the last component of rp to a directory.
//
// Called with treeMu held.
func (d *Filesystem) walkParent(ctx context.Context, rp *vfs.ResolvingPath, dir *dentry) (*dentry, error) {
	for !rp.Final() {
		next, _, err := d.step(ctx, rp, dir)
		if err != nil {
			return nil, err
		}
		dir = next
	}
	if !dir.node.isDir() {
		return nil, linuxerr.ENOTDIR
	}
	return dir, nil
}

// resolve resolves rp to an existing file.
//
// Called with treeMu held.
func (d *Filesystem) resolve(ctx context.Context, rp *vfs.ResolvingPath) (*dentry, error) {
	e := rp.Start().Impl().(*dentry)
	// A link that is a root is followed, but none that a descriptor is of.
	if rp.Done() && e.parent == nil && e.node.isSymlink() && rp.ShouldFollowSymlink() {
		target, err := e.node.inode.Readlink()
		if err != nil {
			return nil, d.errno(err)
		}
		if _, err := rp.HandleSymlink(target); err != nil {
			return nil, err
		}
	}
	for !rp.Done() {
		next, _, err := d.step(ctx, rp, e)
		if err != nil {
			return nil, err
		}
		e = next
	}
	if rp.MustBeDir() && !e.node.isDir() {
		return nil, linuxerr.ENOTDIR
	}
	return e, nil
}

// hold resolves rp to an existing file, with a reference for the caller.
func (d *Filesystem) hold(ctx context.Context, rp *vfs.ResolvingPath) (*dentry, error) {
	d.treeMu.RLock()
	defer d.treeMu.RUnlock()
	e, err := d.resolve(ctx, rp)
	if err != nil {
		return nil, err
	}
	e.IncRef()
	return e, nil
}

// AccessAt implements vfs.FilesystemImpl.
func (d *Filesystem) AccessAt(ctx context.Context, rp *vfs.ResolvingPath, creds *auth.Credentials, ats vfs.AccessTypes) error {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return err
	}
	defer e.decRef()
	if err := e.node.checkPermissions(creds, ats); err != nil {
		return err
	}
	if ats.MayWrite() && rp.Mount().ReadOnly() {
		return linuxerr.EROFS
	}
	return nil
}

// GetDentryAt implements vfs.FilesystemImpl.
func (d *Filesystem) GetDentryAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.GetDentryOptions) (*vfs.Dentry, error) {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return nil, err
	}
	if opts.CheckSearchable {
		err = linuxerr.ENOTDIR
		if e.node.isDir() {
			err = e.node.checkPermissions(rp.Credentials(), vfs.MayExec)
		}
		if err != nil {
			e.decRef()
			return nil, err
		}
	}
	return &e.vfsd, nil
}

// GetParentDentryAt implements vfs.FilesystemImpl.
func (d *Filesystem) GetParentDentryAt(ctx context.Context, rp *vfs.ResolvingPath) (*vfs.Dentry, error) {
	d.treeMu.RLock()
	defer d.treeMu.RUnlock()
	dir, err := d.walkParent(ctx, rp, rp.Start().Impl().(*dentry))
	if err != nil {
		return nil, err
	}
	dir.IncRef()
	return &dir.vfsd, nil
}

// ReadlinkAt implements vfs.FilesystemImpl.
func (d *Filesystem) ReadlinkAt(ctx context.Context, rp *vfs.ResolvingPath) (string, error) {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return "", err
	}
	defer e.decRef()
	if !e.node.isSymlink() {
		return "", linuxerr.EINVAL
	}
	target, err := e.node.inode.Readlink()
	return target, d.errno(err)
}

// PrependPath implements vfs.FilesystemImpl. vd without a mount asks for the
// path in the file system, up to its root: /proc/PID/mountinfo shows that.
func (d *Filesystem) PrependPath(ctx context.Context, vfsroot, vd vfs.VirtualDentry, b *fspath.Builder) error {
	d.treeMu.RLock()
	defer d.treeMu.RUnlock()
	for e := vd.Dentry().Impl().(*dentry); ; e = e.parent {
		switch {
		case vd.Mount() == vfsroot.Mount() && &e.vfsd == vfsroot.Dentry():
			return vfs.PrependPathAtVFSRootError{}
		case vd.Mount() != nil && &e.vfsd == vd.Mount().Root():
			return nil
		case e.parent == nil:
			return vfs.PrependPathAtNonMountRootError{}
		}
		b.PrependComponent(e.name)
	}
}

// SetStatAt implements vfs.FilesystemImpl.
func (d *Filesystem) SetStatAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.SetStatOptions) error {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return err
	}
	defer e.decRef()
	return e.setStat(ctx, rp.Credentials(), rp.Mount(), &opts)
}

// setStat checks and changes attributes, and tells who watches.
func (e *dentry) setStat(ctx context.Context, creds *auth.Credentials, mnt *vfs.Mount, opts *vfs.SetStatOptions) error {
	if opts.Stat.Mask == 0 && !opts.ClearPrivs {
		return nil
	}
	if err := mnt.CheckBeginWrite(); err != nil {
		return err
	}
	defer mnt.EndWrite()
	a, err := e.node.attr()
	if err != nil {
		return err
	}
	if err := vfs.CheckSetStat(ctx, creds, opts, linux.FileMode(a.Mode), nil, auth.KUID(a.UID), auth.KGID(a.GID)); err != nil {
		return err
	}
	if err := e.node.setStat(&opts.Stat, opts.ClearPrivs); err != nil {
		return err
	}
	if ev := vfs.InotifyEventFromStatMask(opts.Stat.Mask); ev != 0 {
		e.InotifyWithParent(ctx, ev, 0, vfs.InodeEvent)
	}
	return nil
}

// StatAt implements vfs.FilesystemImpl.
func (d *Filesystem) StatAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.StatOptions) (linux.Statx, error) {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return linux.Statx{}, err
	}
	defer e.decRef()
	return e.node.stat()
}
