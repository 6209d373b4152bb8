package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// textbusyCorrection: open(2) and truncate(2) of a program that runs.
//
// On Linux a file that is being executed cannot be opened for writing, by none of
// its names: ETXTBSY (deny_write_access in linux/fs.h, get_write_access in
// fs/namei.c). So a program that is replaced is replaced by rename, or the one that
// runs would change under itself. gVisor lets everybody write.
// test/linux/src/textbusy.c.
//
// To open for writing costs a look at the file's mode; only one that may be
// executed is compared with what runs.
var textbusyCorrection = correction{
	name: "textbusy",
	calls: map[uintptr]Wrapper{
		unix.SYS_OPEN:     textbusyWrapper(openArguments),
		unix.SYS_OPENAT:   textbusyWrapper(openatArguments),
		unix.SYS_OPENAT2:  textbusyWrapper(openat2Arguments),
		unix.SYS_CREAT:    textbusyWrapper(creatArguments),
		unix.SYS_TRUNCATE: truncateText,
	},
}

func creatArguments(_ *kernel.Task, args arch.SyscallArguments) openRequest {
	return openRequest{dirfd: linux.AT_FDCWD, path: args[0].Pointer(), flags: linux.O_WRONLY | linux.O_CREAT | linux.O_TRUNC}
}

func textbusyWrapper(request func(*kernel.Task, arch.SyscallArguments) openRequest) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			r := request(t, args)
			if r.flags&linux.O_PATH != 0 || r.flags&(linux.O_ACCMODE|linux.O_TRUNC) == 0 {
				return next(t, sysno, args)
			}
			if r.flags&linux.O_TRUNC != 0 { // afterwards it is too late
				if f, ok := r.existing(t); ok {
					busy := isRunning(t, f.at.Dentry(), &f.stat)
					f.at.DecRef(t)
					if busy {
						return 0, nil, linuxerr.ETXTBSY
					}
				}
			}
			fd, ctrl, err := next(t, sysno, args)
			if err == nil && isBusy(t, int32(fd)) {
				closeFD(t, int32(fd))
				return 0, nil, linuxerr.ETXTBSY
			}
			return fd, ctrl, err
		}
	}
}

// isBusy reports whether what was opened for writing is a program that runs.
func isBusy(t *kernel.Task, fd int32) bool {
	file := t.GetFile(fd)
	if file == nil {
		return false
	}
	defer file.DecRef(t)
	stat, err := file.Stat(t, vfs.StatOptions{Mask: linux.STATX_BASIC_STATS})
	return err == nil && isRunning(t, file.Dentry(), &stat)
}

// isRunning reports whether a file is a program that runs.
func isRunning(t *kernel.Task, d *vfs.Dentry, stat *linux.Statx) bool {
	if stat.Mode&linux.S_IFMT != linux.S_IFREG || stat.Mode&0111 == 0 {
		return false
	}
	for _, tg := range t.Kernel().RootPIDNamespace().ThreadGroups() {
		if leader := tg.Leader(); leader != nil && runs(t, leader, d, stat) {
			return true
		}
	}
	return false
}

// runs reports whether a process is one of the program in a file.
func runs(t, process *kernel.Task, d *vfs.Dentry, stat *linux.Statx) bool {
	var exe *vfs.FileDescription
	process.WithMuLocked(func(process *kernel.Task) {
		if m := process.MemoryManager(); m != nil {
			exe = m.Executable()
		}
	})
	if exe == nil {
		return false
	}
	defer exe.DecRef(t)
	if exe.Dentry() == d {
		return true
	}
	// Another name of it.
	s, err := exe.Stat(t, vfs.StatOptions{Mask: linux.STATX_INO})
	return err == nil && s.Ino == stat.Ino && s.DevMajor == stat.DevMajor && s.DevMinor == stat.DevMinor
}

// truncateText wraps truncate(2).
func truncateText(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		r := openRequest{dirfd: linux.AT_FDCWD, path: args[0].Pointer(), flags: linux.O_WRONLY}
		if f, ok := r.existing(t); ok && args[1].Int64() >= 0 {
			defer f.at.DecRef(t)
			if isRunning(t, f.at.Dentry(), &f.stat) {
				return 0, nil, linuxerr.ETXTBSY
			}
		}
		return next(t, sysno, args)
	}
}
