package linux

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// nofollowCorrection: open(2) of a link with O_NOFOLLOW and O_DIRECTORY.
//
// Linux does not follow the link, and since it is no directory, the error is
// ENOTDIR (do_open in fs/namei.c). gVisor takes O_DIRECTORY for a slash behind
// the name and follows the link, which defeats what relies on the two flags: safe
// recursive removal, Go's os.Root. test/linux/src/nofollow.c, openflags.c.
//
// Other opens pay for a look at their flags.
var nofollowCorrection = correction{
	name: "nofollow",
	calls: map[uintptr]Wrapper{
		unix.SYS_OPEN:    openWrapper(openArguments),
		unix.SYS_OPENAT:  openWrapper(openatArguments),
		unix.SYS_OPENAT2: openWrapper(openat2Arguments),
	},
}

// openRequest is what the calls have in common.
type openRequest struct {
	dirfd   int32
	path    hostarch.Addr
	flags   uint32
	resolve uint64
}

func openArguments(_ *kernel.Task, args arch.SyscallArguments) openRequest {
	return openRequest{dirfd: linux.AT_FDCWD, path: args[0].Pointer(), flags: args[1].Uint()}
}

func openatArguments(_ *kernel.Task, args arch.SyscallArguments) openRequest {
	return openRequest{dirfd: args[0].Int(), path: args[1].Pointer(), flags: args[2].Uint()}
}

// openat2Arguments returns no flags for arguments that gVisor will refuse.
func openat2Arguments(t *kernel.Task, args arch.SyscallArguments) openRequest {
	var how linux.OpenHow
	if args[3].SizeT() < linux.OPEN_HOW_SIZE_VER0 {
		return openRequest{}
	}
	if _, err := how.CopyInN(t, args[2].Pointer(), linux.OPEN_HOW_SIZE_VER0); err != nil {
		return openRequest{}
	}
	return openRequest{args[0].Int(), args[1].Pointer(), uint32(how.Flags), how.Resolve}
}

func openWrapper(request func(*kernel.Task, arch.SyscallArguments) openRequest) Wrapper {
	const both = linux.O_NOFOLLOW | linux.O_DIRECTORY
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			r := request(t, args)
			fd, ctrl, err := next(t, sysno, args)
			if r.flags&both == both {
				fd, err = r.unfollow(t, fd, err)
			}
			return fd, ctrl, err
		}
	}
}

// ofTarget are the errors that may be those of what a link points to.
var ofTarget = []*errors.Error{linuxerr.EACCES, linuxerr.EISDIR, linuxerr.ELOOP, linuxerr.ENOENT, linuxerr.EXDEV}

// unfollow corrects what gVisor did with r: it opened fd, or err is not nil. What
// is at the path is looked up without following; if that is what was opened, all is
// well, whoever changes names meanwhile.
func (r openRequest) unfollow(t *kernel.Task, fd uintptr, err error) (uintptr, error) {
	if err != nil && !slices.ContainsFunc(ofTarget, func(e *errors.Error) bool { return linuxerr.Equals(e, err) }) {
		return fd, err
	}
	name, nameErr := t.CopyInString(r.path, linux.PATH_MAX)
	if nameErr != nil || strings.HasSuffix(name, "/") {
		return fd, err
	}
	at, lookErr := lookUp(t, r.dirfd, name, r.resolve, false)
	if lookErr != nil {
		if err == nil {
			closeFD(t, int32(fd))
		}
		return 0, lookErr
	}
	defer at.DecRef(t)
	if err == nil {
		if file := t.GetFile(int32(fd)); file != nil {
			defer file.DecRef(t)
			if file.VirtualDentry() == at {
				return fd, nil
			}
		}
		closeFD(t, int32(fd))
	}
	return r.openDirectory(t, at, err)
}

// openDirectory opens what is at a dentry, or returns ENOTDIR; or err, which is
// gVisor's for a directory.
func (r openRequest) openDirectory(t *kernel.Task, at vfs.VirtualDentry, err error) (uintptr, error) {
	v, creds := t.Kernel().VFS(), t.Credentials()
	pop := &vfs.PathOperation{Root: at, Start: at}
	stat, statErr := v.StatAt(t, creds, pop, &vfs.StatOptions{Mask: linux.STATX_TYPE})
	switch {
	case statErr != nil:
		return 0, statErr
	case stat.Mode&linux.S_IFMT != linux.S_IFDIR:
		return 0, linuxerr.ENOTDIR
	case err != nil:
		return 0, err
	}
	file, err := v.OpenAt(t, creds, pop, &vfs.OpenOptions{Flags: r.flags | linux.O_LARGEFILE})
	if err != nil {
		return 0, err
	}
	defer file.DecRef(t)
	fd, err := t.NewFDFrom(0, file, kernel.FDFlags{CloseOnExec: r.flags&linux.O_CLOEXEC != 0})
	return uintptr(fd), err
}

// closeFD closes a descriptor that the program has not been told of.
func closeFD(t *kernel.Task, fd int32) {
	if file := t.FDTable().Remove(t, fd); file != nil {
		file.DecRef(t)
	}
}

// lookUp finds what is at a path that begins at dirfd. If the last name is a link,
// follow says whether it is followed. The caller has the reference.
func lookUp(t *kernel.Task, dirfd int32, name string, resolve uint64, follow bool) (vfs.VirtualDentry, error) {
	path := fspath.Parse(name)
	root := t.FSContext().RootDirectory()
	defer root.DecRef(t)
	start := root
	if !path.Absolute || resolve&linux.RESOLVE_IN_ROOT != 0 {
		if dirfd == linux.AT_FDCWD {
			start = t.FSContext().WorkingDirectory()
			defer start.DecRef(t)
		} else {
			dir := t.GetFile(dirfd)
			if dir == nil {
				return vfs.VirtualDentry{}, linuxerr.EBADF
			}
			defer dir.DecRef(t)
			start = dir.VirtualDentry()
		}
	}
	return t.Kernel().VFS().GetDentryAt(t, t.Credentials(), &vfs.PathOperation{
		Root: root, Start: start, Path: path, FollowFinalSymlink: follow, ResolveFlags: resolve,
	}, &vfs.GetDentryOptions{})
}
