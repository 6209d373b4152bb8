package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/limits"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// fallocateCorrection: the modes of fallocate(2).
//
// Linux has modes that allocate behind the end, make holes, zero, and remove or
// insert ranges (vfs_fallocate in fs/open.c, ext4_fallocate in fs/ext4/extents.c).
// gVisor refuses all modes before a file system is asked. Its limit for a file's
// size is a byte too low.
//
// Files in memory have all the modes of ext4, though Linux' tmpfs has not all: the
// root is one of them here. test/linux/src/fallocate.c.
var fallocateCorrection = correction{
	name:  "fallocate",
	calls: map[uintptr]Wrapper{unix.SYS_FALLOCATE: instead(fallocate)},
}

// Modes of fallocate(2).
const (
	fallocKeepSize      = unix.FALLOC_FL_KEEP_SIZE
	fallocPunchHole     = unix.FALLOC_FL_PUNCH_HOLE
	fallocCollapseRange = unix.FALLOC_FL_COLLAPSE_RANGE
	fallocZeroRange     = unix.FALLOC_FL_ZERO_RANGE
	fallocInsertRange   = unix.FALLOC_FL_INSERT_RANGE
	fallocUnshareRange  = unix.FALLOC_FL_UNSHARE_RANGE
	fallocAll           = fallocKeepSize | fallocPunchHole | fallocCollapseRange | fallocZeroRange | fallocInsertRange | fallocUnshareRange
)

var errInterrupted = linuxerr.EINTR

func fallocate(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	mode, off, length := args[1].Uint(), args[2].Int64(), args[3].Int64()
	file := t.GetFile(args[0].Int())
	if file == nil {
		return 0, nil, linuxerr.EBADF
	}
	defer file.DecRef(t)
	if file.StatusFlags()&linux.O_PATH != 0 {
		return 0, nil, linuxerr.EBADF
	}
	if off < 0 || length <= 0 {
		return 0, nil, linuxerr.EINVAL
	}
	if err := checkFallocateMode(mode); err != nil {
		return 0, nil, err
	}
	if !file.IsWritable() {
		return 0, nil, linuxerr.EBADF
	}
	if err := canAllocate(t, file); err != nil {
		return 0, nil, err
	}
	if off+length < 0 {
		return 0, nil, linuxerr.EFBIG
	}
	m, release, err := memoryFileOf(t, file)
	defer release()
	if err != nil {
		return 0, nil, err
	}
	if m == nil {
		if grows := mode&(fallocKeepSize|fallocCollapseRange) == 0; grows {
			err = withinSizeLimit(t, uint64(off+length))
		}
		if err == nil {
			err = file.Allocate(t, uint64(mode), uint64(off), uint64(length))
		}
		return 0, nil, err
	}
	if err := m.fallocate(t, mode, uint64(off), uint64(length)); err != nil {
		return 0, nil, err
	}
	return 0, nil, changed(t, file)
}

// checkFallocateMode follows vfs_fallocate.
func checkFallocateMode(mode uint32) error {
	if mode&^fallocAll != 0 || mode&fallocPunchHole != 0 && mode != fallocPunchHole|fallocKeepSize {
		return linuxerr.EOPNOTSUPP
	}
	if mode&fallocCollapseRange != 0 && mode != fallocCollapseRange ||
		mode&fallocInsertRange != 0 && mode != fallocInsertRange ||
		mode&fallocUnshareRange != 0 && mode&^(fallocUnshareRange|fallocKeepSize) != 0 {
		return linuxerr.EINVAL
	}
	return nil
}

// canAllocate checks that a file is of a kind that has blocks.
func canAllocate(t *kernel.Task, file *vfs.FileDescription) error {
	stat, err := file.Stat(t, vfs.StatOptions{Mask: linux.STATX_TYPE})
	if err != nil {
		return err
	}
	switch stat.Mode & linux.S_IFMT {
	case linux.S_IFREG, linux.S_IFBLK:
		return nil
	case linux.S_IFIFO:
		return linuxerr.ESPIPE
	case linux.S_IFDIR:
		return linuxerr.EISDIR
	}
	return linuxerr.ENODEV
}

// withinSizeLimit checks the program's limit for a file that would have so many
// bytes, and sends the signal (inode_newsize_ok in fs/attr.c).
func withinSizeLimit(t *kernel.Task, size uint64) error {
	if size <= limits.FromContext(t).Get(limits.FileSize).Cur {
		return nil
	}
	t.SendSignal(&linux.SignalInfo{Signo: int32(linux.SIGXFSZ), Code: linux.SI_USER})
	return linuxerr.EFBIG
}

// fallocate changes a file in memory.
func (m *memoryFile) fallocate(t *kernel.Task, mode uint32, off, length uint64) error {
	m.inode.mu.Lock()
	defer m.inode.mu.Unlock()
	size, end := m.size.Load(), off+length
	newSize := size
	switch {
	case mode == fallocCollapseRange:
		if end >= size || (off|length)%hostarch.PageSize != 0 {
			return linuxerr.EINVAL
		}
		newSize -= length
	case mode == fallocInsertRange:
		if off >= size || (off|length)%hostarch.PageSize != 0 {
			return linuxerr.EINVAL
		}
		if newSize += length; int64(newSize) < 0 {
			return linuxerr.EFBIG
		}
	case mode&fallocUnshareRange != 0:
		return linuxerr.EOPNOTSUPP
	case mode&fallocKeepSize == 0:
		newSize = max(size, end)
	}
	if err := m.mayResize(t, size, newSize, mode); err != nil {
		return err
	}
	switch {
	case mode&fallocPunchHole != 0:
		return m.zero(off, end)
	case mode == fallocCollapseRange:
		m.shift(end, off)
		m.resize(newSize)
		return nil
	case mode == fallocInsertRange:
		m.resize(newSize)
		m.shift(off, end)
		return nil
	case mode&fallocZeroRange != 0:
		if err := m.zero(off, end); err != nil {
			return err
		}
	}
	return m.allocate(t, off, end, newSize)
}

// mayResize checks the program's limits and the file's seals.
func (m *memoryFile) mayResize(t *kernel.Task, size, newSize uint64, mode uint32) error {
	if newSize > size {
		if err := withinSizeLimit(t, newSize); err != nil {
			return err
		}
	}
	m.dataMu.RLock()
	seals := *m.seals
	m.dataMu.RUnlock()
	writes := mode&^uint32(fallocKeepSize) != 0
	switch {
	case writes && seals&linux.F_SEAL_WRITE != 0,
		newSize > size && seals&linux.F_SEAL_GROW != 0,
		newSize < size && seals&linux.F_SEAL_SHRINK != 0:
		return linuxerr.EPERM
	}
	return nil
}

// changed sets the times of a file whose content was changed, and takes the
// set-id bits from it as file_modified does (fs/inode.c).
func changed(t *kernel.Task, file *vfs.FileDescription) error {
	stat, err := file.Stat(t, vfs.StatOptions{Mask: linux.STATX_MODE})
	if err != nil {
		return err
	}
	set := linux.Statx{Mask: linux.STATX_MTIME, Mtime: linux.StatxTimestamp{Nsec: linux.UTIME_NOW}}
	if mode := uint16(vfs.ClearSUIDAndSGID(uint32(stat.Mode))); mode != stat.Mode && !t.Credentials().HasRootCapability(linux.CAP_FSETID) {
		set.Mask |= linux.STATX_MODE
		set.Mode = mode &^ linux.S_IFMT
	}
	root := auth.NewRootCredentials(t.Kernel().RootUserNamespace())
	return file.SetStat(auth.ContextWithCredentials(context.Context(t), root), vfs.SetStatOptions{Stat: set})
}
