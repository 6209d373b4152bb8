package bounds

import (
	"fmt"

	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/sentry/fast"
	"kiln/kernel/sentry/linux"
)

// All open files are at most fs.file-max, but for who has CAP_SYS_ADMIN:
// alloc_empty_file in fs/file_table.c of Linux.

// openers are the calls that open files, with how many.
var openers = map[uintptr]int64{
	unix.SYS_OPEN: 1, unix.SYS_OPENAT: 1, unix.SYS_OPENAT2: 1, unix.SYS_CREAT: 1, unix.SYS_MEMFD_CREATE: 1,
	unix.SYS_SOCKET: 1, unix.SYS_SOCKETPAIR: 2, unix.SYS_ACCEPT: 1, unix.SYS_ACCEPT4: 1,
	unix.SYS_PIPE: 2, unix.SYS_PIPE2: 2, unix.SYS_EVENTFD: 1, unix.SYS_EVENTFD2: 1,
	unix.SYS_EPOLL_CREATE: 1, unix.SYS_EPOLL_CREATE1: 1, unix.SYS_TIMERFD_CREATE: 1,
	unix.SYS_SIGNALFD: 1, unix.SYS_SIGNALFD4: 1, unix.SYS_INOTIFY_INIT: 1, unix.SYS_INOTIFY_INIT1: 1,
	unix.SYS_MQ_OPEN: 1, unix.SYS_PIDFD_OPEN: 1,
}

// fileCalls are those calls. Each costs an addition more. The table that gets the
// descriptor may be a copy which was made since: execve(2), unshare(2).
func (b *Bounds) fileCalls() map[uintptr]linux.Wrapper {
	calls := map[uintptr]linux.Wrapper{}
	for nr, n := range openers {
		calls[nr] = func(next kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				if b.opened.Add(n) > b.fileMax.get() {
					if err := b.countOpen(t, n); err != nil {
						return 0, nil, err
					}
				}
				fast.Trim(t.FDTable())
				return next(t, nr, args)
			}
		}
	}
	return calls
}

// countOpen counts the files that are open, for a task that is about to open n,
// and returns an error if these are too many.
func (b *Bounds) countOpen(t *kernel.Task, n int64) error {
	if t.HasRootCapability(abi.CAP_SYS_ADMIN) {
		return nil
	}
	open := openFiles(t)
	b.opened.Store(open)
	if open+n > b.fileMax.get() {
		return linuxerr.ENFILE
	}
	b.opened.Add(n)
	return nil
}

// openFiles returns how many files tasks have open.
func openFiles(t *kernel.Task) int64 {
	files := newFiles(t)
	for _, task := range t.Kernel().RootPIDNamespace().Tasks() {
		task.WithMuLocked(func(task *kernel.Task) { files.add(task.FDTable()) })
	}
	defer files.release()
	return int64(len(files.open))
}

// fileNr is the content of /proc/sys/fs/file-nr.
func (b *Bounds) fileNr(ctx context.Context) (string, error) {
	open := int64(0)
	if t := kernel.TaskFromContext(ctx); t != nil {
		open = openFiles(t)
	}
	return fmt.Sprintf("%d\t0\t%d\n", open, b.fileMax.get()), nil
}
