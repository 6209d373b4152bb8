package linux

import (
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// slashesCorrection: errors for names that end in a slash or are empty.
//
// unlink(2) of a directory with a slash behind its name is EISDIR, and ENOENT if
// there is nothing (do_unlinkat in fs/namei.c): gVisor's overlay says ENOTDIR of
// both. readlink(2) of an empty name is ENOENT (do_readlinkat in fs/stat.c): gVisor
// says EINVAL. test/linux/src/slashes.c.
var slashesCorrection = correction{
	name: "slashes",
	calls: map[uintptr]Wrapper{
		unix.SYS_UNLINK: unlinkErrors(func(a arch.SyscallArguments) (int32, hostarch.Addr, uint32) {
			return linux.AT_FDCWD, a[0].Pointer(), 0
		}),
		unix.SYS_UNLINKAT: unlinkErrors(func(a arch.SyscallArguments) (int32, hostarch.Addr, uint32) {
			return a[0].Int(), a[1].Pointer(), a[2].Uint()
		}),
		unix.SYS_READLINK: func(next kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				n, ctrl, err := next(t, sysno, args)
				if linuxerr.Equals(linuxerr.EINVAL, err) && args[2].Int() > 0 {
					if name, nameErr := t.CopyInString(args[0].Pointer(), linux.PATH_MAX); nameErr == nil && name == "" {
						err = linuxerr.ENOENT
					}
				}
				return n, ctrl, err
			}
		},
	},
}

// unlinkErrors wraps a call whose arguments are a directory, a name and flags.
func unlinkErrors(arguments func(arch.SyscallArguments) (int32, hostarch.Addr, uint32)) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			n, ctrl, err := next(t, sysno, args)
			dirfd, addr, flags := arguments(args)
			if !linuxerr.Equals(linuxerr.ENOTDIR, err) || flags&linux.AT_REMOVEDIR != 0 {
				return n, ctrl, err
			}
			name, nameErr := t.CopyInString(addr, linux.PATH_MAX)
			if nameErr != nil || !strings.HasSuffix(name, "/") {
				return n, ctrl, err
			}
			at, lookErr := lookUp(t, dirfd, strings.TrimRight(name, "/"), 0, false)
			if lookErr != nil {
				return n, ctrl, lookErr
			}
			defer at.DecRef(t)
			pop := &vfs.PathOperation{Root: at, Start: at}
			stat, statErr := t.Kernel().VFS().StatAt(t, t.Credentials(), pop, &vfs.StatOptions{Mask: linux.STATX_TYPE})
			if statErr == nil && stat.Mode&linux.S_IFMT == linux.S_IFDIR {
				err = linuxerr.EISDIR
			}
			return n, ctrl, err
		}
	}
}
