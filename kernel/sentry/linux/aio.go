package linux

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// aioCorrection: what Linux' asynchronous input and output refuses.
//
// Linux makes no context for no events, and refuses a request that it can see to be
// wrong when it is submitted: an unknown operation, a descriptor that is not open
// for it, a flag, what fsync has no use for (io_submit_one, aio_prep_rw, aio_fsync in
// fs/aio.c). gVisor makes the context, has an operation that does nothing, and
// reports the rest as the request's result; it has no io_cancel(2), which for
// requests of files says EINVAL. test/linux/src/aio.c.
var aioCorrection = correction{
	name: "aio",
	calls: map[uintptr]Wrapper{
		unix.SYS_IO_SETUP:  setupEvents,
		unix.SYS_IO_SUBMIT: checkRequests,
		unix.SYS_IO_CANCEL: instead(cancelRequest),
	},
}

func setupEvents(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if args[0].Int() != 0 {
			return next(t, sysno, args)
		}
		if _, err := t.CopyInBytes(args[1].Pointer(), make([]byte, 8)); err != nil {
			return 0, nil, err
		}
		return 0, nil, linuxerr.EINVAL
	}
}

// cancelRequest implements Linux syscall io_cancel(2): no request of a file can be
// called back.
func cancelRequest(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	if _, err := t.CopyInBytes(args[1].Pointer(), make([]byte, requestBytes)); err != nil {
		return 0, nil, err
	}
	return 0, nil, linuxerr.EINVAL
}

// checkRequests has a request that Linux refuses end the submission: those before
// it count.
func checkRequests(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, list := args[1].Int(), args[2].Pointer()
		if _, ok := t.MemoryManager().LookupAIOContext(t, args[0].Uint64()); !ok {
			return 0, nil, linuxerr.EINVAL
		}
		for i := range max(n, 0) {
			err := checkRequest(t, list+hostarch.Addr(i)*8)
			if err == nil {
				continue
			}
			if i == 0 {
				return 0, nil, err
			}
			args[1].Value = uintptr(i)
			break
		}
		return next(t, sysno, args)
	}
}

// requestBytes is the size of struct iocb (include/uapi/linux/aio_abi.h). gVisor's
// form of it lacks aio_rw_flags.
const requestBytes = 64

// knownRWFlags are RWF_HIPRI to RWF_APPEND (include/uapi/linux/fs.h).
const knownRWFlags = 0x1f

// checkRequest returns what Linux refuses the request for whose address is at ptr,
// beyond what gVisor does.
func checkRequest(t *kernel.Task, ptr hostarch.Addr) error {
	var b [requestBytes]byte
	le := binary.LittleEndian
	if _, err := t.CopyInBytes(ptr, b[:8]); err != nil {
		return err
	}
	if _, err := t.CopyInBytes(hostarch.Addr(le.Uint64(b[:])), b[:]); err != nil {
		return err
	}
	rwFlags, op, fd := le.Uint32(b[12:]), le.Uint16(b[16:]), int32(le.Uint32(b[20:]))
	buffer, bytes, offset, reserved := le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:])
	if reserved != 0 || int64(bytes) < 0 {
		return linuxerr.EINVAL
	}
	file := t.GetFile(fd)
	if file == nil {
		return linuxerr.EBADF
	}
	defer file.DecRef(t)
	switch op {
	case linux.IOCB_CMD_PREAD, linux.IOCB_CMD_PREADV, linux.IOCB_CMD_PWRITE, linux.IOCB_CMD_PWRITEV:
		if rwFlags&^knownRWFlags != 0 {
			return linuxerr.EOPNOTSUPP
		}
		if reads := op == linux.IOCB_CMD_PREAD || op == linux.IOCB_CMD_PREADV; reads && !file.IsReadable() || !reads && !file.IsWritable() {
			return linuxerr.EBADF
		}
	case linux.IOCB_CMD_FSYNC, linux.IOCB_CMD_FDSYNC:
		if buffer|bytes|offset|uint64(rwFlags) != 0 || !hasFsync(t, file) {
			return linuxerr.EINVAL
		}
	case linux.IOCB_CMD_NOOP:
		return linuxerr.EINVAL
	}
	return nil
}

// hasFsync reports whether fsync(2) means something for the file: not for pipes and
// sockets.
func hasFsync(t *kernel.Task, file *vfs.FileDescription) bool {
	stat, err := file.Stat(t, vfs.StatOptions{Mask: linux.STATX_TYPE})
	if err != nil {
		return false
	}
	switch stat.Mode & linux.S_IFMT {
	case linux.S_IFREG, linux.S_IFDIR, linux.S_IFBLK:
		return true
	}
	return false
}
