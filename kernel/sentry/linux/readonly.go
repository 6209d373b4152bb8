package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// readonlyCorrection: changes of attributes on a mount that is read-only.
//
// On Linux every such call first asks the mount (mnt_want_write in fs/open.c,
// fs/utimes.c and fs/xattr.c) and fails with EROFS. gVisor leaves that to the file
// systems; its tmpfs does not ask, nor do its overlay's calls by name for some.
// access(2) for writing is no matter of the mount for FIFOs, sockets and devices
// (do_faccessat); gVisor says EROFS. test/linux/src/readonly.c.
var readonlyCorrection = correction{name: "readonly", calls: map[uintptr]Wrapper{
	unix.SYS_CHMOD:        onWritable(byName),
	unix.SYS_FCHMODAT:     onWritable(byNameAt),
	unix.SYS_FCHMOD:       onWritable(byDescriptor),
	unix.SYS_CHOWN:        onWritable(byName),
	unix.SYS_LCHOWN:       onWritable(byNameOfLink),
	unix.SYS_FCHOWN:       onWritable(byDescriptor),
	unix.SYS_FCHOWNAT:     onWritable(byNameWithFlags(4)),
	unix.SYS_UTIME:        onWritable(byName),
	unix.SYS_UTIMES:       onWritable(byName),
	unix.SYS_FUTIMESAT:    onWritable(byNameAt),
	unix.SYS_UTIMENSAT:    onWritable(byNameWithFlags(3)),
	unix.SYS_TRUNCATE:     onWritable(byName),
	unix.SYS_SETXATTR:     onWritable(byName),
	unix.SYS_LSETXATTR:    onWritable(byNameOfLink),
	unix.SYS_FSETXATTR:    onWritable(byDescriptor),
	unix.SYS_REMOVEXATTR:  onWritable(byName),
	unix.SYS_LREMOVEXATTR: onWritable(byNameOfLink),
	unix.SYS_FREMOVEXATTR: onWritable(byDescriptor),
	unix.SYS_ACCESS:       accessOfSpecial(byName),
	unix.SYS_FACCESSAT:    accessOfSpecial(byNameAt),
	unix.SYS_FACCESSAT2:   accessOfSpecial(byNameWithFlags(3)),
}}

// operand is the file that a call is about: at a path that begins at dirfd, or if
// that is 0, what dirfd is.
type operand struct {
	dirfd  int32
	path   hostarch.Addr
	follow bool // a link at the path
	empty  bool // an empty path is dirfd itself
}

func byName(a arch.SyscallArguments) operand {
	return operand{dirfd: linux.AT_FDCWD, path: a[0].Pointer(), follow: true}
}

func byNameOfLink(a arch.SyscallArguments) operand {
	return operand{dirfd: linux.AT_FDCWD, path: a[0].Pointer()}
}

func byNameAt(a arch.SyscallArguments) operand {
	return operand{dirfd: a[0].Int(), path: a[1].Pointer(), follow: true}
}

func byDescriptor(a arch.SyscallArguments) operand { return operand{dirfd: a[0].Int()} }

// byNameWithFlags is byNameAt of a call whose argument n has AT_ flags.
func byNameWithFlags(n int) func(arch.SyscallArguments) operand {
	return func(a arch.SyscallArguments) operand {
		o := byNameAt(a)
		o.follow = a[n].Uint()&linux.AT_SYMLINK_NOFOLLOW == 0
		o.empty = a[n].Uint()&linux.AT_EMPTY_PATH != 0
		return o
	}
}

// find returns the file, with a reference, if there is one.
func (o operand) find(t *kernel.Task) (vfs.VirtualDentry, bool) {
	if o.path == 0 {
		file := t.GetFile(o.dirfd)
		if file == nil {
			return vfs.VirtualDentry{}, false
		}
		defer file.DecRef(t)
		at := file.VirtualDentry()
		at.IncRef()
		return at, true
	}
	name, err := t.CopyInString(o.path, linux.PATH_MAX)
	if err != nil || name == "" && !o.empty {
		return vfs.VirtualDentry{}, false
	}
	at, err := lookUp(t, o.dirfd, name, 0, o.follow)
	return at, err == nil
}

// onWritable wraps a call that changes attributes of an operand: it fails if the
// mount is read-only, which does not become so before the call has ended.
func onWritable(of func(arch.SyscallArguments) operand) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			at, ok := of(args).find(t)
			if !ok {
				return next(t, sysno, args) // which says why
			}
			defer at.DecRef(t)
			if sysno == unix.SYS_TRUNCATE {
				switch typeAt(t, at) {
				case linux.S_IFREG:
				case linux.S_IFDIR:
					return 0, nil, linuxerr.EISDIR
				default:
					return next(t, sysno, args)
				}
			}
			if err := at.Mount().CheckBeginWrite(); err != nil {
				return 0, nil, err
			}
			defer at.Mount().EndWrite()
			return next(t, sysno, args)
		}
	}
}

// typeAt returns the type of the file at a dentry, 0 if that cannot be found.
func typeAt(t *kernel.Task, at vfs.VirtualDentry) uint16 {
	pop := &vfs.PathOperation{Root: at, Start: at}
	stat, err := t.Kernel().VFS().StatAt(t, t.Credentials(), pop, &vfs.StatOptions{Mask: linux.STATX_TYPE})
	if err != nil {
		return 0
	}
	return stat.Mode & linux.S_IFMT
}

// accessOfSpecial wraps access(2) and its like.
func accessOfSpecial(of func(arch.SyscallArguments) operand) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			n, ctrl, err := next(t, sysno, args)
			if !linuxerr.Equals(linuxerr.EROFS, err) {
				return n, ctrl, err
			}
			at, ok := of(args).find(t)
			if !ok {
				return n, ctrl, err
			}
			defer at.DecRef(t)
			switch typeAt(t, at) {
			case linux.S_IFIFO, linux.S_IFSOCK, linux.S_IFCHR, linux.S_IFBLK:
				return 0, ctrl, nil // that is asked last
			}
			return n, ctrl, err
		}
	}
}
