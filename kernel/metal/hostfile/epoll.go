package hostfile

import (
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// watch is one file in one epoll instance.
type watch struct {
	epoll  *File // nil: the watch is unused
	file   *File
	events uint32
	data   uint64
	fresh  bool   // something happened since the last report (edge-triggered)
	next   *watch // of the same file
}

// EpollCreate is epoll_create1(2).
func (t *Table) EpollCreate() int64 {
	f, fd := t.New(Epoll)
	if f == nil {
		return -linux.EMFILE
	}
	return int64(fd)
}

// EpollCtl is epoll_ctl(2). event is the address of struct epoll_event, which
// is packed: events at 0, data at 4.
func (t *Table) EpollCtl(epfd, op, fd int, event uintptr) int64 {
	ep, f := t.Find(epfd), t.Find(fd)
	if ep == nil || f == nil {
		return -linux.EBADF
	}
	if ep.Kind != Epoll {
		return -linux.EINVAL
	}
	switch f.Kind {
	case Static, Memory, Null, Random, Epoll:
		return -linux.EPERM
	case Serial:
		if f.flags&linux.O_NONBLOCK == 0 {
			return -linux.EPERM // the console blocks, as a file does
		}
	}
	w := findWatch(ep, f)
	switch op {
	case linux.EPOLL_CTL_ADD:
		if w != nil {
			return -linux.EEXIST
		}
		if w = t.newWatch(); w == nil {
			return -linux.ENOMEM
		}
		*w = watch{epoll: ep, file: f, next: f.watches}
		f.watches = w
	case linux.EPOLL_CTL_DEL:
		if w == nil {
			return -linux.ENOENT
		}
		removeWatch(w)
		return 0
	case linux.EPOLL_CTL_MOD:
		if w == nil {
			return -linux.ENOENT
		}
	default:
		return -linux.EINVAL
	}
	w.events = *raw.At[uint32](event)
	w.data = uint64(*raw.At[uint32](event + 4)) | uint64(*raw.At[uint32](event + 8))<<32
	w.fresh = true
	t.wakeEpoll(ep)
	return 0
}

// newWatch returns an unused watch, or nil.
func (t *Table) newWatch() *watch {
	for i := range t.watches {
		if t.watches[i].epoll == nil {
			t.watchTop = max(t.watchTop, i+1)
			return &t.watches[i]
		}
	}
	return nil
}

// findWatch returns the watch of f in ep, or nil.
func findWatch(ep, f *File) *watch {
	for w := f.watches; w != nil; w = w.next {
		if w.epoll == ep {
			return w
		}
	}
	return nil
}

// removeWatch takes w from its file's list; it is unused then.
func removeWatch(w *watch) {
	for p := &w.file.watches; *p != nil; p = &(*p).next {
		if *p == w {
			*p = w.next
			break
		}
	}
	*w = watch{}
}

// readiness returns the events that f would report now.
func (f *File) readiness() uint32 {
	switch f.Kind {
	case Serial:
		if f.port.Readable() {
			return linux.EPOLLIN | linux.EPOLLOUT
		}
		return linux.EPOLLOUT
	case Event:
		if f.count > 0 {
			return linux.EPOLLIN | linux.EPOLLOUT
		}
		return linux.EPOLLOUT
	case Interrupt:
		if f.count > 0 {
			return linux.EPOLLIN
		}
	case PipeRead:
		ev := uint32(0)
		if f.count > 0 {
			ev |= linux.EPOLLIN
		}
		if f.peer == nil {
			ev |= linux.EPOLLHUP | linux.EPOLLRDHUP
		}
		return ev
	case PipeWrite:
		if f.peer == nil {
			return linux.EPOLLOUT | linux.EPOLLERR
		}
		if f.peer.count < PipeCapacity {
			return linux.EPOLLOUT
		}
	}
	return 0
}

// wakeEpoll wakes the first call that waits in ep, if there is something to
// tell it.
func (t *Table) wakeEpoll(ep *File) {
	w := ep.waiters.head
	if w == nil {
		return
	}
	if n := t.collect(ep, w.events, w.max); n > 0 {
		t.wake(w, int64(n))
	}
}

// eventSize is the size of struct epoll_event in bytes.
const eventSize = 12

// collect writes the events that are due in ep to events, limit at most, and
// returns how many.
func (t *Table) collect(ep *File, events uintptr, limit int) int {
	n := 0
	for i := range t.watchTop {
		w := &t.watches[i]
		if w.epoll != ep || w.events&linux.EPOLLET != 0 && !w.fresh {
			continue
		}
		ev := w.file.readiness() & (w.events | linux.EPOLLERR | linux.EPOLLHUP)
		if ev == 0 {
			continue
		}
		if n == limit {
			break
		}
		p := events + eventSize*uintptr(n)
		*raw.At[uint32](p) = ev
		*raw.At[uint32](p + 4) = uint32(w.data)
		*raw.At[uint32](p + 8) = uint32(w.data >> 32)
		w.fresh = false
		n++
	}
	return n
}

// EpollWait is epoll_wait(2) with room for limit events. If none is due and
// mayWait is set, w waits.
func (t *Table) EpollWait(w *Waiter, epfd int, events uintptr, limit int, mayWait bool) int64 {
	ep := t.Find(epfd)
	if ep == nil || ep.Kind != Epoll || limit <= 0 {
		return -linux.EBADF
	}
	if n := t.collect(ep, events, limit); n > 0 || !mayWait {
		return int64(n)
	}
	return ep.wait(w, events, limit)
}
