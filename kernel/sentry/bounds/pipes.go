package bounds

import (
	"math/bits"

	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/pipefs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/sentry/linux"
)

// Pages of pipes: pipe(7), fs/pipe.c of Linux. A user without rights has pipes of
// two pages when all of them together have the soft bound, and no more pipes
// beyond the hard one.
const (
	defaultPages = 16 // PIPE_DEF_BUFFERS
	fewPages     = 2  // PIPE_MIN_DEF_BUFFERS
	maxPipe      = 1 << 31
)

// pipe is one end of a pipe.
type pipe interface {
	PipeSize() int64
	SetPipeSize(int64) (int64, error)
}

func (b *Bounds) pipeCalls() map[uintptr]linux.Wrapper {
	return map[uintptr]linux.Wrapper{
		unix.SYS_PIPE: func(kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				return 0, nil, b.pipe2(t, args[0].Pointer(), 0)
			}
		},
		unix.SYS_PIPE2: func(kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				return 0, nil, b.pipe2(t, args[0].Pointer(), args[1].Int())
			}
		},
		unix.SYS_FCNTL: b.resize,
	}
}

// bound returns a bound of pages for a task: none for who has rights, or if the
// setting is 0.
func boundFor(t *kernel.Task, s *setting) int64 {
	if n := s.get(); n > 0 && !t.HasRootCapability(abi.CAP_SYS_RESOURCE) && !t.HasRootCapability(abi.CAP_SYS_ADMIN) {
		return n
	}
	return 1 << 62
}

// pipe2 is pipe2(2).
func (b *Bounds) pipe2(t *kernel.Task, addr hostarch.Addr, flags int32) error {
	if flags&^(abi.O_NONBLOCK|abi.O_CLOEXEC) != 0 {
		return linuxerr.EINVAL
	}
	pages, err := b.pipePages(t)
	if err != nil {
		return err
	}
	r, w, err := pipefs.NewConnectedPipeFDs(t, t.Kernel().PipeMount(), uint32(flags&abi.O_NONBLOCK))
	if err != nil {
		return err
	}
	defer r.DecRef(t)
	defer w.DecRef(t)
	if pages != defaultPages {
		if _, err := r.Impl().(pipe).SetPipeSize(pages * pageSize); err != nil {
			return err
		}
	}
	fds, err := t.NewFDs(0, []*vfs.FileDescription{r, w}, kernel.FDFlags{CloseOnExec: flags&abi.O_CLOEXEC != 0})
	if err != nil {
		return err
	}
	if _, err = primitive.CopyInt32SliceOut(t, addr, fds); err != nil {
		for _, fd := range fds {
			if file := t.FDTable().Remove(t, fd); file != nil {
				file.DecRef(t)
			}
		}
	}
	return err
}

// pipePages returns how many pages a new pipe of t has (alloc_pipe_info).
func (b *Bounds) pipePages(t *kernel.Task) (int64, error) {
	pages := int64(defaultPages)
	if most := b.pipeMaxSize.get() / pageSize; pages > most && !t.HasRootCapability(abi.CAP_SYS_RESOURCE) {
		pages = most
	}
	hard := boundFor(t, &b.pipePagesHard)
	if b.take(t, t, pipePages, pages, min(hard, boundFor(t, &b.pipePagesSoft))) {
		return pages, nil
	}
	if pages = min(pages, fewPages); b.take(t, t, pipePages, pages, hard) {
		return pages, nil
	}
	return 0, linuxerr.ENFILE
}

// resize bounds F_SETPIPE_SZ (pipe_set_size).
func (b *Bounds) resize(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if args[1].Int() != abi.F_SETPIPE_SZ {
			return next(t, nr, args)
		}
		file := t.GetFile(args[0].Int())
		if file == nil {
			return 0, nil, linuxerr.EBADF
		}
		defer file.DecRef(t)
		p, ok := file.Impl().(pipe)
		if !ok {
			return next(t, nr, args)
		}
		size := roundPipe(int64(args[2].Uint()))
		if size < 0 {
			return 0, nil, linuxerr.EINVAL
		}
		if grow := size - p.PipeSize(); grow > 0 {
			if size > b.pipeMaxSize.get() && !t.HasRootCapability(abi.CAP_SYS_RESOURCE) {
				return 0, nil, linuxerr.EPERM
			}
			bound := min(boundFor(t, &b.pipePagesSoft), boundFor(t, &b.pipePagesHard))
			if !b.take(t, t, pipePages, grow/pageSize, bound) {
				return 0, nil, linuxerr.EPERM
			}
		}
		n, err := p.SetPipeSize(size)
		return uintptr(n), nil, err
	}
}

// roundPipe returns the size that a pipe gets when n bytes are asked for: a power
// of two, at least a page. It is negative if n is too large (round_pipe_size).
func roundPipe(n int64) int64 {
	switch {
	case n > maxPipe:
		return -1
	case n <= pageSize:
		return pageSize
	}
	return 1 << bits.Len64(uint64(n-1))
}
