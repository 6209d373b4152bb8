package disk

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix/transport"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// OpenAt implements vfs.FilesystemImpl.
func (d *Filesystem) OpenAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.OpenOptions) (*vfs.FileDescription, error) {
	if opts.Flags&linux.O_TMPFILE != 0 {
		return d.openTemporary(ctx, rp, &opts)
	}
	if opts.Flags&linux.O_CREAT == 0 {
		e, err := d.hold(ctx, rp)
		if err != nil {
			return nil, err
		}
		defer e.decRef()
		return e.open(ctx, rp, &opts, false)
	}
	e, created, err := d.findOrCreate(ctx, rp, &opts)
	if err != nil {
		return nil, err
	}
	defer e.decRef()
	fd, err := e.open(ctx, rp, &opts, created)
	if err == nil && created {
		fd.SetCreated()
	}
	return fd, err
}

// openTemporary is open(2) with O_TMPFILE.
func (d *Filesystem) openTemporary(ctx context.Context, rp *vfs.ResolvingPath, opts *vfs.OpenOptions) (*vfs.FileDescription, error) {
	dir, err := d.hold(ctx, rp)
	if err != nil {
		return nil, err
	}
	defer dir.decRef()
	if !dir.node.isDir() {
		return nil, linuxerr.ENOTDIR
	}
	e, err := d.makeTemporary(rp, dir, opts)
	if err != nil {
		return nil, err
	}
	defer e.decRef()
	return e.open(ctx, rp, opts, true)
}

// findOrCreate resolves rp for open(2) with O_CREAT. The dentry has a reference
// for the caller.
func (d *Filesystem) findOrCreate(ctx context.Context, rp *vfs.ResolvingPath, opts *vfs.OpenOptions) (e *dentry, created bool, err error) {
	exclusive := opts.Flags&linux.O_EXCL != 0
	d.treeMu.Lock()
	start := rp.Start().Impl().(*dentry)
	if rp.Done() {
		defer d.treeMu.Unlock()
		switch {
		case rp.MustBeDir():
			return nil, false, linuxerr.EISDIR
		case exclusive:
			return nil, false, linuxerr.EEXIST
		}
		start.IncRef()
		return start, false, nil
	}
	var parent *dentry
	name := ""
	for {
		if parent, err = d.walkParent(ctx, rp, start); err == nil {
			err = parent.node.checkPermissions(rp.Credentials(), vfs.MayExec)
		}
		if err == nil && rp.MustBeDir() {
			err = linuxerr.EISDIR
		}
		if err != nil {
			d.treeMu.Unlock()
			return nil, false, err
		}
		name = rp.Component()
		var followed bool
		e, followed, err = d.step(ctx, rp, parent)
		if followed && exclusive {
			err = linuxerr.EEXIST
		}
		if !followed || err != nil {
			break
		}
		start = parent
	}
	switch {
	case err == nil && exclusive:
		err = linuxerr.EEXIST
	case err == nil:
		e.IncRef()
	case linuxerr.Equals(linuxerr.ENOENT, err):
		parent.IncRef()
		e, err = d.createIn(rp, parent, name, false, func(parent *dentry, name string) (*dentry, error) {
			return d.makeFile(parent, name, rp.Credentials(), linux.S_IFREG|opts.Mode&^linux.S_IFMT, 0, nil)
		})
		d.treeMu.Unlock()
		if err == nil {
			parent.node.watches.Notify(ctx, name, linux.IN_CREATE, 0, vfs.PathEvent, false)
		}
		parent.decRef()
		return e, err == nil, err
	}
	d.treeMu.Unlock()
	return e, false, err
}

// open opens a file of any type. The caller holds no lock: FIFOs block.
func (e *dentry) open(ctx context.Context, rp *vfs.ResolvingPath, opts *vfs.OpenOptions, created bool) (*vfs.FileDescription, error) {
	ats := vfs.AccessTypesForOpenFlags(opts)
	if !created {
		if err := e.node.checkPermissions(rp.Credentials(), ats); err != nil {
			return nil, err
		}
	}
	switch e.node.kind {
	case linux.S_IFREG:
		return e.openRegular(rp, opts, created)
	case linux.S_IFDIR:
		switch {
		case opts.Flags&linux.O_CREAT != 0, ats.MayWrite():
			return nil, linuxerr.EISDIR
		case opts.Flags&linux.O_DIRECT != 0:
			return nil, linuxerr.EINVAL
		}
		fd := &directoryFD{}
		fd.LockFD.Init(&e.node.locks)
		if err := fd.vfsfd.Init(fd, opts.Flags, rp.Credentials(), rp.Mount(), &e.vfsd, &vfs.FileDescriptionOptions{}); err != nil {
			return nil, err
		}
		return &fd.vfsfd, nil
	case linux.S_IFLNK:
		return nil, linuxerr.ELOOP // O_PATH is the VFS's
	case linux.S_IFIFO:
		return e.node.pipe.Open(ctx, rp.Mount(), &e.vfsd, opts.Flags, &e.node.locks)
	case linux.S_IFCHR, linux.S_IFBLK:
		kind := vfs.CharDevice
		if e.node.kind == linux.S_IFBLK {
			kind = vfs.BlockDevice
		}
		major, minor := deviceNumber(e.node.rdev)
		return rp.VirtualFilesystem().OpenDeviceSpecialFile(ctx, rp.Mount(), &e.vfsd, kind, major, minor, opts)
	default:
		return nil, linuxerr.ENXIO
	}
}

// openRegular opens a regular file.
func (e *dentry) openRegular(rp *vfs.ResolvingPath, opts *vfs.OpenOptions, created bool) (*vfs.FileDescription, error) {
	n := e.node
	fd := &regularFD{node: n}
	fd.LockFD.Init(&n.locks)
	mnt := rp.Mount()
	if err := fd.vfsfd.Init(fd, opts.Flags, rp.Credentials(), mnt, &e.vfsd, &vfs.FileDescriptionOptions{AllowDirectIO: true}); err != nil {
		return nil, err
	}
	err := error(nil)
	if n.d.remote {
		err = n.content.refresh()
	}
	if err == nil && !created && opts.Flags&linux.O_TRUNC != 0 {
		err = n.empty(mnt)
	}
	if err != nil {
		fd.vfsfd.DecRef(context.Background())
		return nil, err
	}
	return &fd.vfsfd, nil
}

// empty is O_TRUNC.
func (n *node) empty(mnt *vfs.Mount) error {
	if err := mnt.CheckBeginWrite(); err != nil {
		return err
	}
	defer mnt.EndWrite()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.resize(0); err != nil {
		return err
	}
	n.touch()
	return nil
}

// BoundEndpointAt implements vfs.FilesystemImpl.
func (d *Filesystem) BoundEndpointAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.BoundEndpointOptions) (transport.BoundEndpoint, error) {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return nil, err
	}
	defer e.decRef()
	if err := e.node.checkPermissions(rp.Credentials(), vfs.MayWrite); err != nil {
		return nil, err
	}
	if e.node.endpoint == nil {
		return nil, linuxerr.ECONNREFUSED
	}
	return e.node.endpoint, nil
}
