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

// renameCorrection: rename(2) of a file to itself, and flags.
//
// If both names are of one file, Linux leaves both as they are (vfs_rename in
// fs/namei.c); gVisor's tmpfs and overlay remove the first. Linux looks at flags
// that exclude each other before names, and for the second file of an exchange
// before it asks whether one directory is in the other (do_renameat2).
// test/linux/src/renames.c.
var renameCorrection = correction{
	name: "rename",
	calls: map[uintptr]Wrapper{
		unix.SYS_RENAME: renameWrapper(func(a arch.SyscallArguments) renameRequest {
			return renameRequest{linux.AT_FDCWD, linux.AT_FDCWD, a[0].Pointer(), a[1].Pointer(), 0}
		}),
		unix.SYS_RENAMEAT: renameWrapper(func(a arch.SyscallArguments) renameRequest {
			return renameRequest{a[0].Int(), a[2].Int(), a[1].Pointer(), a[3].Pointer(), 0}
		}),
		unix.SYS_RENAMEAT2: renameWrapper(func(a arch.SyscallArguments) renameRequest {
			return renameRequest{a[0].Int(), a[2].Int(), a[1].Pointer(), a[3].Pointer(), a[4].Uint()}
		}),
	},
}

// renameRequest is what the calls have in common.
type renameRequest struct {
	oldDir, newDir   int32
	oldPath, newPath hostarch.Addr
	flags            uint32
}

func renameWrapper(request func(arch.SyscallArguments) renameRequest) Wrapper {
	const known = linux.RENAME_NOREPLACE | linux.RENAME_EXCHANGE | linux.RENAME_WHITEOUT
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			r := request(args)
			exchange := r.flags&linux.RENAME_EXCHANGE != 0
			if r.flags&^known != 0 || exchange && r.flags&^linux.RENAME_EXCHANGE != 0 {
				return 0, nil, linuxerr.EINVAL
			}
			if r.flags&linux.RENAME_NOREPLACE == 0 && r.same(t) {
				return 0, nil, nil
			}
			n, ctrl, err := next(t, sysno, args)
			if exchange && linuxerr.Equals(linuxerr.EINVAL, err) && !r.newExists(t) {
				err = linuxerr.ENOENT
			}
			return n, ctrl, err
		}
	}
}

// same reports whether both names are there, and of one file.
func (r renameRequest) same(t *kernel.Task) bool {
	from, ok := renameOperand(t, r.oldDir, r.oldPath)
	if !ok {
		return false
	}
	defer from.DecRef(t)
	to, ok := renameOperand(t, r.newDir, r.newPath)
	if !ok {
		return false
	}
	defer to.DecRef(t)
	if from == to {
		return true
	}
	if from.Mount() != to.Mount() {
		return false
	}
	a, okA := identity(t, from)
	b, okB := identity(t, to)
	return okA && okB && a == b
}

func (r renameRequest) newExists(t *kernel.Task) bool {
	to, ok := renameOperand(t, r.newDir, r.newPath)
	if ok {
		to.DecRef(t)
	}
	return ok
}

// renameOperand finds what is called so, unless that is no name which can be
// renamed, or one with a slash behind it.
func renameOperand(t *kernel.Task, dirfd int32, addr hostarch.Addr) (vfs.VirtualDentry, bool) {
	name, err := t.CopyInString(addr, linux.PATH_MAX)
	if err != nil {
		return vfs.VirtualDentry{}, false
	}
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "", ".", "..":
		return vfs.VirtualDentry{}, false
	}
	at, err := lookUp(t, dirfd, name, 0, false)
	return at, err == nil
}

// fileIdentity tells files apart.
type fileIdentity struct {
	major, minor uint32
	ino          uint64
}

func identity(t *kernel.Task, at vfs.VirtualDentry) (fileIdentity, bool) {
	pop := &vfs.PathOperation{Root: at, Start: at}
	s, err := t.Kernel().VFS().StatAt(t, t.Credentials(), pop, &vfs.StatOptions{Mask: linux.STATX_INO})
	return fileIdentity{s.DevMajor, s.DevMinor, s.Ino}, err == nil
}
