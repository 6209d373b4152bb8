package bounds

import (
	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/sentry/linux"
)

// watchCalls bounds what a user watches, root like any other: inotify(7) and
// epoll(7), "/proc interfaces".
func (b *Bounds) watchCalls() map[uintptr]linux.Wrapper {
	instance := failing(func(t *kernel.Task, _ arch.SyscallArguments) error {
		if !b.take(t, t, inotifyInstances, 1, b.inotifyInstances.get()) {
			return linuxerr.EMFILE
		}
		return nil
	})
	return map[uintptr]linux.Wrapper{
		unix.SYS_INOTIFY_INIT:  instance,
		unix.SYS_INOTIFY_INIT1: instance,
		unix.SYS_INOTIFY_ADD_WATCH: failing(func(t *kernel.Task, _ arch.SyscallArguments) error {
			if !b.take(t, t, inotifyWatches, 1, b.inotifyWatches.get()) {
				return linuxerr.ENOSPC
			}
			return nil
		}),
		unix.SYS_EPOLL_CTL: failing(func(t *kernel.Task, args arch.SyscallArguments) error {
			if args[1].Int() == abi.EPOLL_CTL_ADD && !b.take(t, t, epollWatches, 1, b.epollWatches.get()) {
				return linuxerr.ENOSPC
			}
			return nil
		}),
	}
}
