package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// holesCorrection: lseek(2) with SEEK_DATA and SEEK_HOLE.
//
// On Linux a file in memory says where it has pages (shmem_file_llseek in
// mm/shmem.c), and a file of a file system that knows nothing of holes, as EROFS,
// is all data (generic_file_llseek_size in fs/read_write.c). gVisor's tmpfs and
// overlay return EINVAL. test/linux/src/holes.c.
var holesCorrection = correction{
	name:  "holes",
	calls: map[uintptr]Wrapper{unix.SYS_LSEEK: seekHoles},
}

func seekHoles(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		whence := args[2].Int()
		if whence != linux.SEEK_DATA && whence != linux.SEEK_HOLE {
			return next(t, sysno, args)
		}
		n, ctrl, err := next(t, sysno, args)
		if !linuxerr.Equals(linuxerr.EINVAL, err) {
			return n, ctrl, err
		}
		file := t.GetFile(args[0].Int())
		if file == nil {
			return 0, nil, linuxerr.EBADF
		}
		defer file.DecRef(t)
		if !isType(file.Impl(), overlayPackage, "regularFileFD") && !isType(file.Impl(), tmpfsPackage, "regularFileFD") {
			return n, ctrl, err
		}
		off, err := findHole(t, file, args[1].Int64(), whence == linux.SEEK_DATA)
		if err == nil {
			off, err = file.Seek(t, off, linux.SEEK_SET)
		}
		return uintptr(off), nil, err
	}
}

// findHole returns the first offset from off on with data, or with a hole.
func findHole(t *kernel.Task, file *vfs.FileDescription, off int64, data bool) (int64, error) {
	m, release, err := memoryFileOf(t, file)
	defer release()
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, linuxerr.ENXIO
	}
	if m == nil { // of the image
		stat, err := file.Stat(t, vfs.StatOptions{Mask: linux.STATX_SIZE})
		switch {
		case err != nil:
			return 0, err
		case uint64(off) >= stat.Size:
			return 0, linuxerr.ENXIO
		case data:
			return off, nil
		}
		return int64(stat.Size), nil
	}
	at, ok := m.find(uint64(off), data)
	if !ok {
		return 0, linuxerr.ENXIO
	}
	return int64(at), nil
}
