package disk

import (
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// checkXattr checks whether creds may use an attribute. ACLs are kept on disk,
// but nobody here would obey them: they cannot be set.
func (n *node) checkXattr(creds *auth.Credentials, ats vfs.AccessTypes, name string) error {
	if strings.HasPrefix(name, linux.XATTR_SYSTEM_PREFIX) {
		return linuxerr.EOPNOTSUPP
	}
	a, err := n.attr()
	if err != nil {
		return err
	}
	uid, gid := auth.KUID(a.UID), auth.KGID(a.GID)
	if strings.HasPrefix(name, linux.XATTR_SECURITY_PREFIX) {
		if ats.MayWrite() && name != linux.XATTR_SECURITY_CAPABILITY && !creds.HasRootCapability(linux.CAP_SYS_ADMIN) {
			return linuxerr.EPERM
		}
		return nil
	}
	if err := vfs.CheckXattrPermissions(creds, ats, linux.FileMode(a.Mode), uid, name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, linux.XATTR_USER_PREFIX) {
		return nil
	}
	return vfs.GenericCheckPermissions(creds, ats, linux.FileMode(a.Mode), nil, uid, gid)
}

func (n *node) listXattr(creds *auth.Credentials, size uint64) ([]string, error) {
	if n.isClosed() {
		return nil, linuxerr.EIO
	}
	names, err := n.inode.Listxattr()
	if err != nil {
		return nil, n.d.errno(err)
	}
	var list []string
	length := uint64(0)
	for _, name := range names {
		// As on Linux, trusted ones are hidden from whoever may not have them.
		if strings.HasPrefix(name, linux.XATTR_TRUSTED_PREFIX) && !creds.HasRootCapability(linux.CAP_SYS_ADMIN) {
			continue
		}
		list = append(list, name)
		length += uint64(len(name)) + 1
	}
	if size != 0 && length > size {
		return nil, linuxerr.ERANGE
	}
	return list, nil
}

func (n *node) getXattr(creds *auth.Credentials, opts *vfs.GetXattrOptions) (string, error) {
	if err := n.checkXattr(creds, vfs.MayRead, opts.Name); err != nil {
		return "", err
	}
	value, err := n.inode.Getxattr(opts.Name)
	if err != nil {
		return "", n.d.errno(err)
	}
	if opts.Size != 0 && uint64(len(value)) > opts.Size {
		return "", linuxerr.ERANGE
	}
	return string(value), nil
}

// changeXattr checks and makes a change, and tells who watches.
func (e *dentry) changeXattr(ctx context.Context, creds *auth.Credentials, mnt *vfs.Mount, name string, change func() error) error {
	if err := e.node.checkXattr(creds, vfs.MayWrite, name); err != nil {
		return err
	}
	if err := mnt.CheckBeginWrite(); err != nil {
		return err
	}
	defer mnt.EndWrite()
	if err := change(); err != nil {
		return e.d.errno(err)
	}
	e.InotifyWithParent(ctx, linux.IN_ATTRIB, 0, vfs.InodeEvent)
	return nil
}

func (e *dentry) setXattr(ctx context.Context, creds *auth.Credentials, mnt *vfs.Mount, opts *vfs.SetXattrOptions) error {
	return e.changeXattr(ctx, creds, mnt, opts.Name, func() error {
		value := opts.Value
		if opts.Name == linux.XATTR_SECURITY_CAPABILITY {
			a, err := e.node.attr()
			if err != nil {
				return err
			}
			if value, err = auth.FixupVfsCapDataOnSet(creds, value, auth.KUID(a.UID), auth.KGID(a.GID)); err != nil {
				return err
			}
		}
		return e.node.inode.Setxattr(opts.Name, []byte(value), opts.Flags)
	})
}

func (e *dentry) removeXattr(ctx context.Context, creds *auth.Credentials, mnt *vfs.Mount, name string) error {
	return e.changeXattr(ctx, creds, mnt, name, func() error { return e.node.inode.Removexattr(name) })
}

// ListXattrAt implements vfs.FilesystemImpl.
func (d *Filesystem) ListXattrAt(ctx context.Context, rp *vfs.ResolvingPath, size uint64) ([]string, error) {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return nil, err
	}
	defer e.decRef()
	return e.node.listXattr(rp.Credentials(), size)
}

// GetXattrAt implements vfs.FilesystemImpl.
func (d *Filesystem) GetXattrAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.GetXattrOptions) (string, error) {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return "", err
	}
	defer e.decRef()
	return e.node.getXattr(rp.Credentials(), &opts)
}

// SetXattrAt implements vfs.FilesystemImpl.
func (d *Filesystem) SetXattrAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.SetXattrOptions) error {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return err
	}
	defer e.decRef()
	return e.setXattr(ctx, rp.Credentials(), rp.Mount(), &opts)
}

// RemoveXattrAt implements vfs.FilesystemImpl.
func (d *Filesystem) RemoveXattrAt(ctx context.Context, rp *vfs.ResolvingPath, name string) error {
	e, err := d.hold(ctx, rp)
	if err != nil {
		return err
	}
	defer e.decRef()
	return e.removeXattr(ctx, rp.Credentials(), rp.Mount(), name)
}

// GetPosixACLAt implements vfs.FilesystemImpl.
func (d *Filesystem) GetPosixACLAt(ctx context.Context, rp *vfs.ResolvingPath, t vfs.ACLType) (*vfs.PosixACL, error) {
	return nil, linuxerr.EOPNOTSUPP
}

// SetPosixACLAt implements vfs.FilesystemImpl.
func (d *Filesystem) SetPosixACLAt(ctx context.Context, rp *vfs.ResolvingPath, t vfs.ACLType, acl *vfs.PosixACL, clearSGID bool) (*vfs.PosixACL, linux.FileMode, error) {
	return nil, 0, linuxerr.EOPNOTSUPP
}
