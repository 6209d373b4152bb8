package memory

import (
	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/sentry/linux"
)

// makers are the calls that make the kernel keep something for a program, with
// the error that Linux gives when it has no memory for that (their manual
// pages). They fail while the kernel's objects have their share of memory, for
// processes that hold much of it (hogs.go).
var makers = map[uintptr]error{
	unix.SYS_PIPE: linuxerr.ENFILE, unix.SYS_PIPE2: linuxerr.ENFILE,
	unix.SYS_SOCKET: linuxerr.ENOBUFS, unix.SYS_SOCKETPAIR: linuxerr.ENOBUFS,
	unix.SYS_ACCEPT: linuxerr.ENOBUFS, unix.SYS_ACCEPT4: linuxerr.ENOBUFS,
	unix.SYS_EVENTFD: linuxerr.ENOMEM, unix.SYS_EVENTFD2: linuxerr.ENOMEM,
	unix.SYS_EPOLL_CREATE: linuxerr.ENOMEM, unix.SYS_EPOLL_CREATE1: linuxerr.ENOMEM,
	unix.SYS_TIMERFD_CREATE: linuxerr.ENOMEM, unix.SYS_TIMER_CREATE: linuxerr.EAGAIN,
	unix.SYS_INOTIFY_INIT: linuxerr.ENOMEM, unix.SYS_INOTIFY_INIT1: linuxerr.ENOMEM,
	unix.SYS_INOTIFY_ADD_WATCH: linuxerr.ENOMEM, unix.SYS_MEMFD_CREATE: linuxerr.ENOMEM,
	unix.SYS_CLONE: linuxerr.EAGAIN, unix.SYS_CLONE3: linuxerr.EAGAIN,
	unix.SYS_FORK: linuxerr.EAGAIN, unix.SYS_VFORK: linuxerr.EAGAIN,
	unix.SYS_MMAP: linuxerr.ENOMEM, unix.SYS_MREMAP: linuxerr.ENOMEM, unix.SYS_MPROTECT: linuxerr.ENOMEM,
	unix.SYS_MSGSND: linuxerr.ENOMEM, unix.SYS_ADD_KEY: linuxerr.EDQUOT,
	unix.SYS_RT_SIGQUEUEINFO: linuxerr.EAGAIN, unix.SYS_RT_TGSIGQUEUEINFO: linuxerr.EAGAIN,
	unix.SYS_FLOCK: linuxerr.ENOLCK, unix.SYS_MKDIR: linuxerr.ENOSPC, unix.SYS_MKDIRAT: linuxerr.ENOSPC,
	unix.SYS_MKNOD: linuxerr.ENOSPC, unix.SYS_MKNODAT: linuxerr.ENOSPC, unix.SYS_CREAT: linuxerr.ENOSPC,
	unix.SYS_SYMLINK: linuxerr.ENOSPC, unix.SYS_SYMLINKAT: linuxerr.ENOSPC,
	unix.SYS_LINK: linuxerr.ENOSPC, unix.SYS_LINKAT: linuxerr.ENOSPC,
	unix.SYS_SETXATTR: linuxerr.ENOSPC, unix.SYS_LSETXATTR: linuxerr.ENOSPC, unix.SYS_FSETXATTR: linuxerr.ENOSPC,
	unix.SYS_MOUNT: linuxerr.ENOMEM, unix.SYS_UNSHARE: linuxerr.ENOMEM, unix.SYS_SECCOMP: linuxerr.ENOMEM,
	unix.SYS_IO_SETUP: linuxerr.ENOMEM,
}

// conditional are those that make something with some arguments only.
var conditional = map[uintptr]struct {
	makes func(arch.SyscallArguments) bool
	err   error
}{
	unix.SYS_OPEN:   {func(a arch.SyscallArguments) bool { return a[1].Uint()&abi.O_CREAT != 0 }, linuxerr.ENOSPC},
	unix.SYS_OPENAT: {func(a arch.SyscallArguments) bool { return a[2].Uint()&abi.O_CREAT != 0 }, linuxerr.ENOSPC},
	unix.SYS_FCNTL: {func(a arch.SyscallArguments) bool {
		return a[1].Int() == abi.F_SETLK || a[1].Int() == abi.F_SETLKW || a[1].Int() == abi.F_OFD_SETLK || a[1].Int() == abi.F_OFD_SETLKW
	}, linuxerr.ENOLCK},
	unix.SYS_SHMGET:    {func(a arch.SyscallArguments) bool { return makesIPC(a[0], a[2]) }, linuxerr.ENOMEM},
	unix.SYS_MSGGET:    {func(a arch.SyscallArguments) bool { return makesIPC(a[0], a[1]) }, linuxerr.ENOMEM},
	unix.SYS_SEMGET:    {func(a arch.SyscallArguments) bool { return makesIPC(a[0], a[2]) }, linuxerr.ENOMEM},
	unix.SYS_MQ_OPEN:   {func(a arch.SyscallArguments) bool { return a[1].Uint()&abi.O_CREAT != 0 }, linuxerr.ENOMEM},
	unix.SYS_EPOLL_CTL: {func(a arch.SyscallArguments) bool { return a[1].Int() == abi.EPOLL_CTL_ADD }, linuxerr.ENOMEM},
	unix.SYS_SIGNALFD:  {func(a arch.SyscallArguments) bool { return a[0].Int() == -1 }, linuxerr.ENOMEM},
	unix.SYS_SIGNALFD4: {func(a arch.SyscallArguments) bool { return a[0].Int() == -1 }, linuxerr.ENOMEM},
	unix.SYS_PRCTL:     {func(a arch.SyscallArguments) bool { return a[0].Int() == abi.PR_SET_SECCOMP }, linuxerr.ENOMEM},
}

// makesIPC reports whether a System V call with a key and flags makes an object.
func makesIPC(key, flags arch.SyscallArgument) bool {
	return key.Int() == abi.IPC_PRIVATE || flags.Int()&abi.IPC_CREAT != 0
}

// senders are the calls that queue messages in a socket, beside sendto.
var senders = []uintptr{unix.SYS_SENDMSG, unix.SYS_SENDMMSG}

// threadBytes and minThreads give the bound on tasks as Linux computes
// kernel.threads-max (kernel/fork.c, set_max_threads): an eighth of memory for
// stacks of 16 KB.
const (
	threadBytes = 8 * 16 << 10
	minThreads  = 20
)

// MaxThreads returns how many tasks there may be.
func (k *Keeper) MaxThreads() int { return max(k.total*4096/threadBytes, minThreads) }

// refused are the calls that fail while the kernel's objects have their share.
func (k *Keeper) refused() map[uintptr]linux.Wrapper {
	calls := map[uintptr]linux.Wrapper{}
	for nr, err := range makers {
		calls[nr] = failing(func(t *kernel.Task, _ arch.SyscallArguments) error {
			return k.make(t, err)
		})
	}
	for nr, c := range conditional {
		makes, refusal := c.makes, c.err
		calls[nr] = func(next kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				if makes(args) {
					if err := k.make(t, refusal); err != nil {
						return 0, nil, err
					}
				}
				return next(t, nr, args)
			}
		}
	}
	for _, nr := range senders {
		calls[nr] = failing(k.refuseSend)
	}
	calls[unix.SYS_SENDTO] = failing(func(t *kernel.Task, args arch.SyscallArguments) error {
		k.grow(int(min(args[2].SizeT(), uint(abi.MAX_RW_COUNT))))
		return k.refuseSend(t, args)
	})
	return calls
}

// make counts an object that t is about to make, or returns err.
func (k *Keeper) make(t *kernel.Task, err error) error {
	k.grow(objectBytes)
	if k.Full(t) {
		return err
	}
	k.ledger.note(t)
	return nil
}

// bounded are the calls that fail where there are as many objects as there may
// be of a kind.
func (k *Keeper) bounded() map[uintptr]linux.Wrapper {
	return ofClones(failing(func(t *kernel.Task, _ arch.SyscallArguments) error {
		if t.Kernel().RootPIDNamespace().NumTasks() >= k.MaxThreads() || k.loses(t, crowdPatience) {
			return linuxerr.EAGAIN
		}
		return nil
	}))
}

// failing wraps a call that fails where refuse returns an error.
func failing(refuse func(*kernel.Task, arch.SyscallArguments) error) linux.Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if err := refuse(t, args); err != nil {
				return 0, nil, err
			}
			return next(t, nr, args)
		}
	}
}

// refuseData returns the error for a write to a pipe or a unix socket while the
// kernel's objects have their share: the data would be queued in the kernel. What
// the Internet's protocols queue has bounds of its own.
func (k *Keeper) refuseData(t *kernel.Task, file *vfs.FileDescription, tr transfer) error {
	if !tr.write || !k.full.Load() {
		return nil
	}
	switch impl := file.Impl().(type) {
	case socket.Socket:
		if family, _, _ := impl.Type(); family == abi.AF_UNIX && k.Full(t) {
			return linuxerr.ENOBUFS
		}
	case interface{ PipeSize() int64 }:
		if k.Full(t) {
			return linuxerr.ENOMEM
		}
	}
	return nil
}

// refuseSend is refuseData for a call with a descriptor.
func (k *Keeper) refuseSend(t *kernel.Task, args arch.SyscallArguments) error {
	if !k.full.Load() {
		return nil
	}
	file := t.GetFile(args[0].Int())
	if file == nil {
		return nil // the call says so
	}
	defer file.DecRef(t)
	return k.refuseData(t, file, transfer{write: true})
}
