package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// ftruncateCorrection: calls on descriptors of what has no content to cut, to read
// ahead or to write back.
//
// ftruncate(2) of what is no regular file is EINVAL, of an O_PATH descriptor EBADF
// (do_sys_ftruncate in fs/open.c); gVisor accepts sockets. readahead(2) of a
// regular file that is open for reading is nothing but a hint (mm/readahead.c);
// gVisor refuses it. sync_file_range(2) of a pipe or socket is ESPIPE (fs/sync.c);
// gVisor accepts it. mknod(2) of a directory is EPERM (may_mknod in fs/namei.c);
// gVisor's tmpfs says EINVAL. test/linux/src/paths.c.
var ftruncateCorrection = correction{
	name: "ftruncate",
	calls: map[uintptr]Wrapper{
		unix.SYS_FTRUNCATE: withType(func(kind uint16, opath bool, args arch.SyscallArguments) (done bool, err error) {
			switch {
			case args[1].Int64() < 0:
				return true, linuxerr.EINVAL
			case opath:
				return true, linuxerr.EBADF
			case kind != linux.S_IFREG:
				return true, linuxerr.EINVAL
			}
			return false, nil
		}),
		unix.SYS_READAHEAD: withType(func(kind uint16, opath bool, args arch.SyscallArguments) (done bool, err error) {
			return !opath && (kind == linux.S_IFREG || kind == linux.S_IFBLK) && args[1].Int64() >= 0, nil
		}),
		unix.SYS_SYNC_FILE_RANGE: withType(func(kind uint16, opath bool, args arch.SyscallArguments) (done bool, err error) {
			switch kind {
			case linux.S_IFREG, linux.S_IFBLK, linux.S_IFDIR, linux.S_IFLNK:
				return false, nil
			}
			if off, n := args[1].Int64(), args[2].Int64(); opath || off < 0 || off+n < 0 || args[3].Uint()&^7 != 0 {
				return false, nil // another error comes first
			}
			return true, linuxerr.ESPIPE
		}),
		unix.SYS_MKNOD:   noDirectoryNode(1),
		unix.SYS_MKNODAT: noDirectoryNode(2),
	},
}

// withType wraps a call on a descriptor: answer may do it, given the type of the
// file. A descriptor that is not open for reading is none for readahead(2).
func withType(answer func(kind uint16, opath bool, args arch.SyscallArguments) (done bool, err error)) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			file := t.GetFile(args[0].Int())
			if file == nil {
				return next(t, sysno, args)
			}
			defer file.DecRef(t)
			if sysno == unix.SYS_READAHEAD && !file.IsReadable() {
				return next(t, sysno, args)
			}
			stat, err := file.Stat(t, vfs.StatOptions{Mask: linux.STATX_TYPE})
			if err != nil {
				return next(t, sysno, args)
			}
			done, err := answer(stat.Mode&linux.S_IFMT, file.StatusFlags()&linux.O_PATH != 0, args)
			if done {
				return 0, nil, err
			}
			return next(t, sysno, args)
		}
	}
}

// noDirectoryNode wraps mknod(2), whose argument n is the mode.
func noDirectoryNode(n int) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if args[n].ModeT()&linux.S_IFMT == linux.S_IFDIR {
				return 0, nil, linuxerr.EPERM
			}
			return next(t, sysno, args)
		}
	}
}
