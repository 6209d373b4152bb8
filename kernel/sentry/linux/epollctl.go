package linux

import (
	"sync"
	"weak"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// epollctlCorrection: what epoll_ctl(2) refuses.
//
// Linux allows EPOLLEXCLUSIVE in an entry that is added, beside few other events
// and not for another epoll instance, and never changes such an entry; and it looks
// at the event, the descriptors, and whether the file can be polled, in this order
// (do_epoll_ctl in fs/eventpoll.c). gVisor takes every bit, changes all entries, and
// looks at the instance first. test/linux/src/epollctl.c.
//
// It answers the call itself, with no more work than gVisor has.
var epollctlCorrection = correction{
	name:  "epollctl",
	calls: map[uintptr]Wrapper{unix.SYS_EPOLL_CTL: instead(epollCtl)},
}

// beside are the events that an exclusive entry may have (EPOLLEXCLUSIVE_OK_BITS
// in fs/eventpoll.c).
const beside = linux.EPOLLIN | linux.EPOLLOUT | linux.EPOLLERR | linux.EPOLLHUP | linux.EPOLLWAKEUP | linux.EPOLLET | linux.EPOLLEXCLUSIVE

// epollCtl implements Linux syscall epoll_ctl(2).
func epollCtl(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	op, fd := args[1].Int(), args[2].Int()
	var event linux.EpollEvent
	if op != linux.EPOLL_CTL_DEL {
		if _, err := event.CopyIn(t, args[3].Pointer()); err != nil {
			return 0, nil, err
		}
	}
	instance := t.GetFile(args[0].Int())
	if instance == nil {
		return 0, nil, linuxerr.EBADF
	}
	defer instance.DecRef(t)
	file := t.GetFile(fd)
	if file == nil {
		return 0, nil, linuxerr.EBADF
	}
	defer file.DecRef(t)
	if (instance.StatusFlags()|file.StatusFlags())&linux.O_PATH != 0 {
		return 0, nil, linuxerr.EBADF
	}
	if !file.Epollable() {
		return 0, nil, linuxerr.EPERM
	}
	ep, ok := instance.Impl().(*vfs.EpollInstance)
	if !ok || instance == file {
		return 0, nil, linuxerr.EINVAL
	}
	_, nested := file.Impl().(*vfs.EpollInstance)
	exclusive := event.Events&linux.EPOLLEXCLUSIVE != 0
	switch op {
	case linux.EPOLL_CTL_ADD:
		if exclusive && (nested || event.Events&^beside != 0) {
			return 0, nil, linuxerr.EINVAL
		}
		err := ep.AddInterest(file, fd, event)
		if err == nil && exclusive {
			exclusives.add(ep, file, fd)
		}
		return 0, nil, err
	case linux.EPOLL_CTL_DEL:
		err := ep.DeleteInterest(file, fd)
		if err == nil {
			exclusives.remove(ep, file, fd)
		}
		return 0, nil, err
	case linux.EPOLL_CTL_MOD:
		if exclusive || exclusives.has(ep, file, fd) {
			return 0, nil, linuxerr.EINVAL
		}
		return 0, nil, ep.ModifyInterest(file, fd, event)
	}
	return 0, nil, linuxerr.EINVAL
}

// exclusives are the exclusive entries of all epoll instances. gVisor tells nobody
// which they are.
var exclusives exclusiveEntries

// exclusiveEntries are few: of listening sockets, one for each process that waits.
// Those of files that were closed go when the map has doubled.
type exclusiveEntries struct {
	mu      sync.Mutex
	entries map[exclusiveEntry]struct{}
	kept    int // entries after the last look
}

// An exclusiveEntry names neither file nor instance by its address, which another
// may have later.
type exclusiveEntry struct {
	instance weak.Pointer[vfs.EpollInstance]
	file     weak.Pointer[vfs.FileDescription]
	fd       int32
}

func entryOf(ep *vfs.EpollInstance, file *vfs.FileDescription, fd int32) exclusiveEntry {
	return exclusiveEntry{weak.Make(ep), weak.Make(file), fd}
}

func (x *exclusiveEntries) add(ep *vfs.EpollInstance, file *vfs.FileDescription, fd int32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.entries == nil {
		x.entries = make(map[exclusiveEntry]struct{})
	}
	if len(x.entries) >= 2*x.kept+16 {
		for e := range x.entries {
			if e.instance.Value() == nil || e.file.Value() == nil {
				delete(x.entries, e)
			}
		}
		x.kept = len(x.entries)
	}
	x.entries[entryOf(ep, file, fd)] = struct{}{}
}

func (x *exclusiveEntries) remove(ep *vfs.EpollInstance, file *vfs.FileDescription, fd int32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.entries) != 0 {
		delete(x.entries, entryOf(ep, file, fd))
	}
}

func (x *exclusiveEntries) has(ep *vfs.EpollInstance, file *vfs.FileDescription, fd int32) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.entries) == 0 {
		return false
	}
	_, ok := x.entries[entryOf(ep, file, fd)]
	return ok
}
