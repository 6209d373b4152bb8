package sentry

import (
	"fmt"
	"io"
	"path"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/sentry/devices/memdev"
	"gvisor.dev/gvisor/pkg/sentry/devices/ttydev"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/cgroup2fs"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/dev"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/devpts"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/devtmpfs"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/erofs"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/mqfs"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/overlay"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/proc"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/sys"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/image"
	"kiln/kernel/sentry/procfs"
)

// mounts are the file systems beside the root, parents first.
var mounts = []struct {
	path, fs, data string
	emptyOnly      bool // not if the image has files there
}{
	{path: "/proc", fs: proc.Name},
	{path: "/sys", fs: sys.Name},
	{path: "/dev", fs: dev.Name},
	{path: "/dev/pts", fs: devpts.Name},
	{path: "/dev/shm", fs: tmpfs.Name, data: "mode=1777"},
	{path: "/tmp", fs: tmpfs.Name, data: "mode=1777", emptyOnly: true},
	{path: "/run", fs: tmpfs.Name, data: "mode=0755", emptyOnly: true},
}

// registerFilesystems tells the VFS which file systems and devices exist.
func registerFilesystems(v *vfs.VirtualFilesystem, files []procfs.File) error {
	user := &vfs.RegisterFilesystemTypeOptions{AllowUserMount: true, AllowUserList: true}
	v.MustRegisterFilesystemType(cgroup2fs.Name, &cgroup2fs.FilesystemType{}, user)
	v.MustRegisterFilesystemType(devpts.Name, &devpts.FilesystemType{}, user)
	v.MustRegisterFilesystemType(devtmpfs.Name, &devtmpfs.FilesystemType{}, user)
	v.MustRegisterFilesystemType(mqfs.Name, &mqfs.FilesystemType{}, user)
	v.MustRegisterFilesystemType(overlay.Name, &overlay.FilesystemType{}, user)
	v.MustRegisterFilesystemType(proc.Name, &procfs.FilesystemType{Files: files}, user)
	v.MustRegisterFilesystemType(sys.Name, &sys.FilesystemType{}, user)
	v.MustRegisterFilesystemType(tmpfs.Name, &tmpfs.FilesystemType{}, user)
	v.MustRegisterFilesystemType(dev.Name, &dev.FilesystemType{}, &vfs.RegisterFilesystemTypeOptions{})
	// An EROFS mount names a descriptor of the Sentry's host.
	v.MustRegisterFilesystemType(erofs.Name, &erofs.FilesystemType{}, &vfs.RegisterFilesystemTypeOptions{AllowUserList: true})
	if err := memdev.Register(v); err != nil {
		return fmt.Errorf("memory devices: %w", err)
	}
	if err := ttydev.Register(v); err != nil {
		return fmt.Errorf("terminal devices: %w", err)
	}
	return nil
}

// mounter mounts file systems as root. ctx is a context of the kernel.
type mounter struct {
	ctx   context.Context
	vfs   *vfs.VirtualFilesystem
	creds *auth.Credentials
	root  vfs.VirtualDentry // of the namespace, once there is one
	image vfs.VirtualDentry // the image's root, which root holds
}

// mountRoot makes the mount namespace: the image, read in place, under a
// tmpfs that takes what is written. imageFD passes to the file system. Before
// the two are one, prepare may write to the tmpfs: that takes less time.
func (m *mounter) mountRoot(imageFD int, nsfs vfs.NamespaceInodeGetter, prepare func(image, writes *mounter) error) (*vfs.MountNamespace, error) {
	lower, err := m.vfs.MountDisconnected(m.ctx, m.creds, "image", erofs.Name, &vfs.MountOptions{
		ReadOnly: true,
		GetFilesystemOptions: vfs.GetFilesystemOptions{
			InternalMount: true,
			Data:          fmt.Sprintf("ifd=%d", imageFD),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("mount the image: %w", err)
	}
	defer lower.DecRef(m.ctx)
	upper, err := m.vfs.MountDisconnected(m.ctx, m.creds, "writes", tmpfs.Name, &vfs.MountOptions{
		GetFilesystemOptions: vfs.GetFilesystemOptions{InternalMount: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mount the writable layer: %w", err)
	}
	defer upper.DecRef(m.ctx)
	lowerRoot := vfs.MakeVirtualDentry(lower, lower.Root())
	upperRoot := vfs.MakeVirtualDentry(upper, upper.Root())
	m.image = lowerRoot
	if err := prepare(m.in(lowerRoot), m.in(upperRoot)); err != nil {
		return nil, err
	}
	mns, err := m.vfs.NewMountNamespace(m.ctx, m.creds, "root", overlay.Name, &vfs.MountOptions{
		GetFilesystemOptions: vfs.GetFilesystemOptions{
			InternalMount: true,
			InternalData: overlay.FilesystemOptions{
				UpperRoot:  upperRoot,
				LowerRoots: []vfs.VirtualDentry{lowerRoot},
			},
		},
	}, nsfs)
	if err != nil {
		return nil, fmt.Errorf("mount the root: %w", err)
	}
	m.root = mns.Root(m.ctx)
	m.ctx = &namespaceContext{Context: m.ctx, mns: mns}
	return mns, nil
}

// namespaceContext is a context whose paths are resolved in mns, which some
// file systems look up there. Like the kernel's own contexts, it gives a
// reference with the value.
type namespaceContext struct {
	context.Context
	mns *vfs.MountNamespace
}

// Value implements context.Context.
func (c *namespaceContext) Value(key any) any {
	switch key {
	case vfs.CtxMountNamespace:
		c.mns.IncRef()
		return c.mns
	case vfs.CtxRoot:
		return c.mns.Root(c.Context)
	default:
		return c.Context.Value(key)
	}
}

// in returns a mounter whose paths begin at root.
func (m *mounter) in(root vfs.VirtualDentry) *mounter {
	in := *m
	in.root = root
	return &in
}

// copyDirectory makes directory p, unless it is the root, and gives it the
// owner and mode that it has in from. It reports whether it is one there.
func (m *mounter) copyDirectory(p string, from *mounter) (bool, error) {
	const mask = linux.STATX_UID | linux.STATX_GID | linux.STATX_MODE
	op := from.at(p)
	op.FollowFinalSymlink = false
	stat, err := m.vfs.StatAt(m.ctx, m.creds, op, &vfs.StatOptions{Mask: mask})
	if isNotExist(err) || err == nil && stat.Mode&linux.S_IFMT != linux.S_IFDIR {
		return false, nil
	}
	if err == nil {
		err = m.mkdirAll(p)
	}
	if err == nil {
		stat.Mask &= mask
		err = m.vfs.SetStatAt(m.ctx, m.creds, m.at(p), &vfs.SetStatOptions{Stat: stat})
	}
	if err != nil {
		return false, fmt.Errorf("directory %s: %w", p, err)
	}
	return true, nil
}

// mountAll mounts what is in mounts.
func (m *mounter) mountAll() error {
	for _, mt := range mounts {
		if mt.emptyOnly && !m.in(m.image).empty(mt.path) {
			continue
		}
		if err := m.mkdirAll(mt.path); err != nil {
			return fmt.Errorf("mount point %s: %w", mt.path, err)
		}
		_, err := m.vfs.MountAt(m.ctx, m.creds, mt.fs, m.at(mt.path), mt.fs, &vfs.MountOptions{
			GetFilesystemOptions: vfs.GetFilesystemOptions{InternalMount: true, Data: mt.data},
		})
		if err != nil {
			return fmt.Errorf("mount %s: %w", mt.path, err)
		}
	}
	return nil
}

// at returns the operation on an absolute path.
func (m *mounter) at(p string) *vfs.PathOperation {
	return &vfs.PathOperation{Root: m.root, Start: m.root, Path: fspath.Parse(p), FollowFinalSymlink: true}
}

// mkdirAll makes directory p and its parents.
func (m *mounter) mkdirAll(p string) error {
	return m.vfs.MkdirAllAt(m.ctx, p, m.root, m.creds, &vfs.MkdirOptions{Mode: 0755, ForSyntheticMountpoint: true}, true)
}

// empty reports whether directory p has no entries, or does not exist.
func (m *mounter) empty(p string) bool {
	fd, err := m.vfs.OpenAt(m.ctx, m.creds, m.at(p), &vfs.OpenOptions{Flags: linux.O_RDONLY | linux.O_DIRECTORY})
	if err != nil {
		return isNotExist(err)
	}
	defer fd.DecRef(m.ctx)
	entries := 0
	err = fd.IterDirents(m.ctx, vfs.IterDirentsCallbackFunc(func(d vfs.Dirent) error {
		if d.Name != "." && d.Name != ".." {
			entries++
		}
		return nil
	}))
	return err == nil && entries == 0
}

// writeFile replaces file p, whatever it was.
func (m *mounter) writeFile(p, content string) error {
	if err := m.mkdirAll(path.Dir(p)); err != nil {
		return fmt.Errorf("write %s: %w", p, err)
	}
	// Not through a symlink: resolv.conf often is one, to a daemon's
	// directory that does not exist here.
	op := m.at(p)
	op.FollowFinalSymlink = false
	if err := m.vfs.UnlinkAt(m.ctx, m.creds, op); err != nil && !isNotExist(err) {
		return fmt.Errorf("write %s: %w", p, err)
	}
	fd, err := m.vfs.OpenAt(m.ctx, m.creds, m.at(p), &vfs.OpenOptions{
		Flags: linux.O_WRONLY | linux.O_CREAT | linux.O_TRUNC, Mode: 0644,
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", p, err)
	}
	defer fd.DecRef(m.ctx)
	if _, err := fd.Write(m.ctx, bytesIO([]byte(content)), vfs.WriteOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", p, err)
	}
	return nil
}

// makePipe makes a named pipe, unless there is something of its name.
func (m *mounter) makePipe(p image.Pipe) error {
	op := m.at(p.Path)
	op.FollowFinalSymlink = false
	err := m.vfs.MknodAt(m.ctx, m.creds, op, &vfs.MknodOptions{Mode: linux.S_IFIFO | linux.FileMode(p.Mode&0o7777)})
	if linuxerr.Equals(linuxerr.EEXIST, err) {
		return nil
	}
	if err == nil && p.UID|p.GID != 0 {
		err = m.vfs.SetStatAt(m.ctx, m.creds, op, &vfs.SetStatOptions{
			Stat: linux.Statx{Mask: linux.STATX_UID | linux.STATX_GID, UID: p.UID, GID: p.GID},
		})
	}
	if err != nil {
		return fmt.Errorf("named pipe %s: %w", p.Path, err)
	}
	return nil
}

// maxRead bounds what readFile reads, in bytes.
const maxRead = 1 << 20

// readFile returns what is in file p, or in its first maxRead bytes; nothing if
// there is none.
func (m *mounter) readFile(p string) ([]byte, error) {
	fd, err := m.vfs.OpenAt(m.ctx, m.creds, m.at(p), &vfs.OpenOptions{Flags: linux.O_RDONLY})
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	defer fd.DecRef(m.ctx)
	var all []byte
	b := make([]byte, 4096)
	for len(all) < maxRead {
		n, err := fd.Read(m.ctx, bytesIO(b), vfs.ReadOptions{})
		all = append(all, b[:n]...)
		if n == 0 || err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", p, err)
		}
	}
	return all, nil
}

// exists reports whether there is a file p.
func (m *mounter) exists(p string) bool {
	_, err := m.vfs.StatAt(m.ctx, m.creds, m.at(p), &vfs.StatOptions{})
	return err == nil
}
