package disk

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/refs"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/fs"
)

// later collects references that are given back once no lock is held.
type later struct {
	dentries []*dentry
	others   []refs.RefCounter
}

func (l *later) decRef(ctx context.Context) {
	for _, e := range l.dentries {
		e.decRef()
	}
	for _, r := range l.others {
		r.DecRef(ctx)
	}
}

// existing returns the entry called name, with a reference that l gives back.
//
// Called with treeMu held.
func (d *Filesystem) existing(dir *dentry, name string, l *later) (*dentry, error) {
	e, err := d.child(dir, name)
	if err == nil {
		l.dentries = append(l.dentries, e)
	}
	return e, err
}

// UnlinkAt implements vfs.FilesystemImpl.
func (d *Filesystem) UnlinkAt(ctx context.Context, rp *vfs.ResolvingPath) error {
	return d.remove(ctx, rp, false)
}

// RmdirAt implements vfs.FilesystemImpl.
func (d *Filesystem) RmdirAt(ctx context.Context, rp *vfs.ResolvingPath) error {
	return d.remove(ctx, rp, true)
}

// remove is unlink(2), or with dir rmdir(2).
func (d *Filesystem) remove(ctx context.Context, rp *vfs.ResolvingPath, dir bool) error {
	var l later
	defer func() { l.decRef(ctx) }()
	d.treeMu.Lock()
	defer d.treeMu.Unlock()
	parent, err := d.walkParent(ctx, rp, rp.Start().Impl().(*dentry))
	if err != nil {
		return err
	}
	name := rp.Component()
	switch {
	case !dir && (name == "." || name == ".."):
		return linuxerr.EISDIR
	case name == ".":
		return linuxerr.EINVAL
	case name == "..":
		return linuxerr.ENOTEMPTY
	}
	if err := rp.Mount().CheckBeginWrite(); err != nil {
		return err
	}
	defer rp.Mount().EndWrite()
	if err := parent.node.checkPermissions(rp.Credentials(), vfs.MayWrite|vfs.MayExec); err != nil {
		return err
	}
	e, err := d.existing(parent, name, &l)
	if err != nil {
		return err
	}
	if err := parent.node.mayDelete(rp.Credentials(), e.node); err != nil {
		return err
	}
	switch {
	case dir && !e.node.isDir():
		return linuxerr.ENOTDIR
	case !dir && e.node.isDir():
		return linuxerr.EISDIR
	case !dir && rp.MustBeDir():
		return linuxerr.ENOTDIR
	}
	return d.removeEntry(ctx, rp.VirtualFilesystem(), parent, e, dir, &l)
}

// removeEntry removes e from directory parent.
//
// Called with treeMu held for writing.
func (d *Filesystem) removeEntry(ctx context.Context, v *vfs.VirtualFilesystem, parent, e *dentry, dir bool, l *later) error {
	mntns := vfs.MountNamespaceFromContext(ctx)
	defer mntns.DecRef(ctx)
	if err := v.PrepareDeleteDentry(mntns, &e.vfsd); err != nil {
		return err
	}
	name, err := e.name, error(nil)
	if dir {
		err = parent.node.inode.Rmdir(name)
	} else {
		err = parent.node.inode.Unlink(name)
	}
	if err != nil {
		v.AbortDeleteDentry(&e.vfsd)
		return d.errno(err)
	}
	parent.removeChild(e)
	l.others = append(l.others, v.CommitDeleteDentry(ctx, &e.vfsd)...)
	if dir {
		parent.node.watches.Notify(ctx, name, linux.IN_DELETE|linux.IN_ISDIR, 0, vfs.InodeEvent, true)
	} else {
		vfs.InotifyRemoveChild(ctx, &e.node.watches, &parent.node.watches, name)
	}
	return nil
}

// renaming is one rename(2): the checked arguments.
type renaming struct {
	oldDir, newDir   *dentry
	oldName, newName string
	renamed          *dentry
	replaced         *dentry // nil if there is nothing at the new name
	exchange         bool
}

// RenameAt implements vfs.FilesystemImpl.
func (d *Filesystem) RenameAt(ctx context.Context, rp *vfs.ResolvingPath, oldParentVD vfs.VirtualDentry, oldName string, opts vfs.RenameOptions) error {
	var l later
	defer func() { l.decRef(ctx) }()
	d.treeMu.Lock()
	defer d.treeMu.Unlock()
	newDir, err := d.walkParent(ctx, rp, rp.Start().Impl().(*dentry))
	if err != nil {
		return err
	}
	const known = linux.RENAME_NOREPLACE | linux.RENAME_EXCHANGE
	if opts.Flags&^known != 0 || opts.Flags&known == known {
		return linuxerr.EINVAL
	}
	newName := rp.Component()
	if newName == "." || newName == ".." {
		if opts.Flags&linux.RENAME_NOREPLACE != 0 {
			return linuxerr.EEXIST
		}
		return linuxerr.EBUSY
	}
	if len(newName) > maxName {
		return linuxerr.ENAMETOOLONG
	}
	mnt := rp.Mount()
	if mnt != oldParentVD.Mount() {
		return linuxerr.EXDEV
	}
	if err := mnt.CheckBeginWrite(); err != nil {
		return err
	}
	defer mnt.EndWrite()
	r := renaming{oldDir: oldParentVD.Dentry().Impl().(*dentry), newDir: newDir, oldName: oldName, newName: newName,
		exchange: opts.Flags&linux.RENAME_EXCHANGE != 0}
	if err := d.checkRename(rp, &r, opts, &l); err != nil {
		return err
	}
	if r.oldDir == r.newDir && oldName == newName || r.replaced != nil && r.renamed.node == r.replaced.node {
		return nil // also of two names of one file, says POSIX
	}
	return d.rename(ctx, rp.VirtualFilesystem(), &r, opts.Flags, &l)
}

// checkRename finds what is renamed and replaced and checks that it may be.
//
// Called with treeMu held for writing.
func (d *Filesystem) checkRename(rp *vfs.ResolvingPath, r *renaming, opts vfs.RenameOptions, l *later) (err error) {
	creds := rp.Credentials()
	if err := r.oldDir.node.checkPermissions(creds, vfs.MayWrite|vfs.MayExec); err != nil {
		return err
	}
	if r.renamed, err = d.existing(r.oldDir, r.oldName, l); err != nil {
		return err
	}
	if err := r.oldDir.node.mayDelete(creds, r.renamed.node); err != nil {
		return err
	}
	if r.renamed.node.isDir() {
		if isDescendant(r.newDir, &r.renamed.vfsd) {
			return linuxerr.EINVAL
		}
		// Its ".." changes.
		if r.oldDir != r.newDir {
			if err := r.renamed.node.checkPermissions(creds, vfs.MayWrite); err != nil {
				return err
			}
		}
	} else if !r.exchange && (opts.MustBeDir || rp.MustBeDir()) || r.exchange && opts.MustBeDir {
		return linuxerr.ENOTDIR
	}
	if err := r.newDir.node.checkPermissions(creds, vfs.MayWrite|vfs.MayExec); err != nil {
		return err
	}
	if r.newDir.deleted.Load() {
		return linuxerr.ENOENT
	}
	r.replaced, err = d.existing(r.newDir, r.newName, l)
	if linuxerr.Equals(linuxerr.ENOENT, err) && !r.exchange {
		r.replaced = nil
		return nil
	}
	if err != nil {
		return err
	}
	return d.checkReplaced(rp, r, opts)
}

// checkReplaced checks that what is at the new name may go from there.
//
// Called with treeMu held for writing.
func (d *Filesystem) checkReplaced(rp *vfs.ResolvingPath, r *renaming, opts vfs.RenameOptions) error {
	creds := rp.Credentials()
	if opts.Flags&linux.RENAME_NOREPLACE != 0 {
		return linuxerr.EEXIST
	}
	if err := r.newDir.node.mayDelete(creds, r.replaced.node); err != nil {
		return err
	}
	switch {
	case r.exchange:
		if isDescendant(r.oldDir, &r.replaced.vfsd) {
			return linuxerr.EINVAL
		}
		if rp.MustBeDir() && !r.replaced.node.isDir() {
			return linuxerr.ENOTDIR
		}
		if r.oldDir != r.newDir && r.replaced.node.isDir() {
			return r.replaced.node.checkPermissions(creds, vfs.MayWrite)
		}
	case r.replaced.node.isDir():
		if !r.renamed.node.isDir() {
			return linuxerr.EISDIR
		}
		if isDescendant(r.oldDir, &r.replaced.vfsd) {
			return linuxerr.ENOTEMPTY
		}
	case rp.MustBeDir() || r.renamed.node.isDir():
		return linuxerr.ENOTDIR
	}
	return nil
}

// rename does it, on disk and in the tree.
//
// Called with treeMu held for writing.
func (d *Filesystem) rename(ctx context.Context, v *vfs.VirtualFilesystem, r *renaming, flags uint32, l *later) error {
	mntns := vfs.MountNamespaceFromContext(ctx)
	defer mntns.DecRef(ctx)
	var replaced *vfs.Dentry
	if r.replaced != nil {
		replaced = &r.replaced.vfsd
	}
	handle, err := v.PrepareRenameDentry(mntns, &r.renamed.vfsd, replaced)
	if err != nil {
		return err
	}
	if err := r.oldDir.node.inode.Rename(r.oldName, r.newDir.node.inode, r.newName, flags&(fs.RenameNoReplace|fs.RenameExchange)); err != nil {
		v.AbortRenameDentry(&handle, &r.renamed.vfsd, replaced)
		return d.errno(err)
	}
	v.RenameBegin(&handle)
	if r.exchange {
		r.oldDir.take(r.replaced, r.oldName, l)
		r.newDir.take(r.renamed, r.newName, l)
		v.CommitRenameExchangeDentry(&handle, &r.renamed.vfsd, replaced)
		vfs.InotifyRename(ctx, &r.replaced.node.watches, &r.newDir.node.watches, &r.oldDir.node.watches, r.newName, r.oldName, r.replaced.node.isDir())
	} else {
		if r.replaced != nil {
			r.newDir.removeChild(r.replaced)
		}
		r.oldDir.childMu.Lock()
		delete(r.oldDir.children, r.oldName)
		r.oldDir.childMu.Unlock()
		r.newDir.take(r.renamed, r.newName, l)
		l.others = append(l.others, v.CommitRenameReplaceDentry(ctx, &handle, &r.renamed.vfsd, replaced)...)
	}
	vfs.InotifyRename(ctx, &r.renamed.node.watches, &r.oldDir.node.watches, &r.newDir.node.watches, r.oldName, r.newName, r.renamed.node.isDir())
	return nil
}

// take makes e the child called name of dir.
//
// Called with treeMu held for writing.
func (dir *dentry) take(e *dentry, name string, l *later) {
	if old := e.parent; old != dir {
		dir.IncRef()
		e.parent = dir
		l.dentries = append(l.dentries, old)
	}
	e.name = name
	dir.childMu.Lock()
	dir.insert(e)
	dir.childMu.Unlock()
}
