package linux

import (
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// removedCorrection: directories that were removed while open.
//
// Linux makes no files in them and lists nothing, not even "." and "..": ENOENT
// (may_create in linux/fs.h's IS_DEADDIR, iterate_dir in fs/readdir.c). gVisor's
// tmpfs lets open(2) make files there, which nobody will find or free, and lists
// them. test/linux/src/paths.c.
var removedCorrection = correction{
	name: "removed",
	calls: map[uintptr]Wrapper{
		unix.SYS_OPEN:       removedWrapper(openArguments),
		unix.SYS_OPENAT:     removedWrapper(openatArguments),
		unix.SYS_OPENAT2:    removedWrapper(openat2Arguments),
		unix.SYS_CREAT:      removedWrapper(creatArguments),
		unix.SYS_GETDENTS:   listRemoved,
		unix.SYS_GETDENTS64: listRemoved,
	},
}

func removedWrapper(request func(*kernel.Task, arch.SyscallArguments) openRequest) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if r := request(t, args); r.flags&linux.O_CREAT != 0 && r.startIsGone(t) && r.stays(t) {
				return 0, nil, linuxerr.ENOENT
			}
			return next(t, sysno, args)
		}
	}
}

// startIsGone reports whether the directory that a path begins in was removed.
func (r openRequest) startIsGone(t *kernel.Task) bool {
	if r.dirfd == linux.AT_FDCWD {
		dir := t.FSContext().WorkingDirectory()
		defer dir.DecRef(t)
		return dir.Dentry().IsDead()
	}
	file := t.GetFile(r.dirfd)
	if file == nil {
		return false
	}
	defer file.DecRef(t)
	return isDirectory(t, file) && file.Dentry().IsDead()
}

// stays reports whether a path is a name in the directory that it begins in.
func (r openRequest) stays(t *kernel.Task) bool {
	name, err := t.CopyInString(r.path, linux.PATH_MAX)
	return err == nil && name != "" && name != "." && name != ".." && !strings.Contains(name, "/")
}

func isDirectory(t *kernel.Task, file *vfs.FileDescription) bool {
	stat, err := file.Stat(t, vfs.StatOptions{Mask: linux.STATX_TYPE})
	return err == nil && stat.Mode&linux.S_IFMT == linux.S_IFDIR
}

// listRemoved wraps getdents(2).
func listRemoved(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if file := t.GetFile(args[0].Int()); file != nil {
			defer file.DecRef(t)
			if file.Dentry().IsDead() && isDirectory(t, file) {
				return 0, nil, linuxerr.ENOENT
			}
		}
		return next(t, sysno, args)
	}
}
