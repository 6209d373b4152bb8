package linux

import (
	"reflect"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/atomicbitops"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/sync"
)

// xattrCorrection: attributes whose names begin with "security.".
//
// Linux lets root set all of them on any file system that has attributes
// (cap_inode_setxattr in security/commoncap.c, shmem_xattr_handlers in
// mm/shmem.c). gVisor has none but security.capability, and says EACCES
// instead of EPERM to others who may not write to the file. A name that is nothing but
// its prefix is EINVAL (xattr_resolve_name in fs/xattr.c); gVisor takes it.
// test/linux/src/xattrs.c.
var xattrCorrection = correction{name: "xattr", calls: map[uintptr]Wrapper{
	unix.SYS_SETXATTR:     xattrWrapper(byName, setSecurity),
	unix.SYS_LSETXATTR:    xattrWrapper(byNameOfLink, setSecurity),
	unix.SYS_FSETXATTR:    xattrWrapper(byDescriptor, setSecurity),
	unix.SYS_REMOVEXATTR:  xattrWrapper(byName, removeSecurity),
	unix.SYS_LREMOVEXATTR: xattrWrapper(byNameOfLink, removeSecurity),
	unix.SYS_FREMOVEXATTR: xattrWrapper(byDescriptor, removeSecurity),
	unix.SYS_GETXATTR:     xattrWrapper(byName, nil),
	unix.SYS_LGETXATTR:    xattrWrapper(byNameOfLink, nil),
	unix.SYS_FGETXATTR:    xattrWrapper(byDescriptor, nil),
}}

// securityChange changes one of a file's attributes.
type securityChange func(t *kernel.Task, attributes *map[string]string, name string, args arch.SyscallArguments) error

// xattrWrapper wraps a call about an attribute of an operand. Where gVisor knows no
// such attribute, change does it.
func xattrWrapper(of func(arch.SyscallArguments) operand, change securityChange) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			name, err := t.CopyInString(args[1].Pointer(), linux.XATTR_NAME_MAX+1)
			if err != nil {
				return next(t, sysno, args)
			}
			switch name {
			case linux.XATTR_USER_PREFIX, linux.XATTR_TRUSTED_PREFIX, linux.XATTR_SECURITY_PREFIX:
				if isFileOrDirectory(t, of(args)) {
					return 0, nil, linuxerr.EINVAL
				}
			}
			n, ctrl, err := next(t, sysno, args)
			if change != nil && linuxerr.Equals(linuxerr.EACCES, err) && isPrivileged(name) && !t.Credentials().HasRootCapability(linux.CAP_SYS_ADMIN) {
				return n, ctrl, linuxerr.EPERM
			}
			if change == nil || !linuxerr.Equals(linuxerr.EOPNOTSUPP, err) || !strings.HasPrefix(name, linux.XATTR_SECURITY_PREFIX) {
				return n, ctrl, err
			}
			at, ok := of(args).find(t)
			if !ok {
				return n, ctrl, err
			}
			defer at.DecRef(t)
			if inMemory, changeErr := changeSecurity(t, at, name, args, change); inMemory {
				err = changeErr
			}
			return n, ctrl, err
		}
	}
}

// isFileOrDirectory reports whether an operand is what can have attributes of
// programs' own.
func isFileOrDirectory(t *kernel.Task, o operand) bool {
	at, ok := o.find(t)
	if !ok {
		return false
	}
	defer at.DecRef(t)
	kind := typeAt(t, at)
	return kind == linux.S_IFREG || kind == linux.S_IFDIR
}

// isPrivileged reports whether only root sets an attribute: that is asked before
// the file's permissions.
func isPrivileged(name string) bool {
	return strings.HasPrefix(name, linux.XATTR_TRUSTED_PREFIX) || strings.HasPrefix(name, linux.XATTR_SECURITY_PREFIX)
}

// changeSecurity changes an attribute of a file in memory, or reports that it is
// none.
func changeSecurity(t *kernel.Task, at vfs.VirtualDentry, name string, args arch.SyscallArguments, change securityChange) (inMemory bool, err error) {
	d := at.Dentry()
	if isType(d.Impl(), overlayPackage, "dentry") {
		upper, err := upperOf(t, d)
		if err != nil {
			return true, err
		}
		d = upper.Dentry()
	}
	if !isType(d.Impl(), tmpfsPackage, "dentry") {
		return false, nil
	}
	if !t.Credentials().HasRootCapability(linux.CAP_SYS_ADMIN) {
		return true, linuxerr.EPERM
	}
	if err := at.Mount().CheckBeginWrite(); err != nil {
		return true, err
	}
	defer at.Mount().EndWrite()
	inode := reflect.ValueOf(d.Impl()).Elem().FieldByName("inode").Elem()
	attributes := inode.FieldByName("xattrs")
	mu := fieldOf[sync.RWMutex](attributes, "mu")
	mu.Lock()
	defer mu.Unlock()
	if err := change(t, fieldOf[map[string]string](attributes, "xattrs"), name, args); err != nil {
		return true, err
	}
	fieldOf[atomicbitops.Int64](inode, "ctime").Store(t.Kernel().RealtimeClock().Now().Nanoseconds())
	return true, nil
}

func setSecurity(t *kernel.Task, attributes *map[string]string, name string, args arch.SyscallArguments) error {
	value, flags := make([]byte, args[3].SizeT()), args[4].Uint() // gVisor has checked both
	if _, err := t.CopyInBytes(args[2].Pointer(), value); err != nil {
		return err
	}
	switch _, has := (*attributes)[name]; {
	case has && flags&linux.XATTR_CREATE != 0:
		return linuxerr.EEXIST
	case !has && flags&linux.XATTR_REPLACE != 0:
		return linuxerr.ENODATA
	}
	if *attributes == nil {
		*attributes = make(map[string]string)
	}
	(*attributes)[name] = string(value)
	return nil
}

func removeSecurity(_ *kernel.Task, attributes *map[string]string, name string, _ arch.SyscallArguments) error {
	if _, has := (*attributes)[name]; !has {
		return linuxerr.ENODATA
	}
	delete(*attributes, name)
	return nil
}
