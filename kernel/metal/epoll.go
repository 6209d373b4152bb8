package main

import (
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// epollWait is what a thread asked of epoll_pwait.
type epollWait struct {
	file   *file
	events uintptr
	max    int
}

func hostEpollCreate() int64 {
	f, fd := newFile(fileEpoll)
	if f == nil {
		return -linux.EMFILE
	}
	return int64(fd)
}

// hostEpollCtl reads struct epoll_event, which is packed: events at 0, data
// at 4.
func hostEpollCtl(epfd, op, fd int, event uintptr) int64 {
	ep, f := findFile(epfd), findFile(fd)
	if ep == nil || f == nil {
		return -linux.EBADF
	}
	if ep.kind != fileEpoll {
		return -linux.EINVAL
	}
	switch f.kind {
	case fileStatic, fileMemfd, fileNull, fileRandom, fileEpoll:
		return -linux.EPERM
	case fileSerial:
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
		if w = newWatch(); w == nil {
			return -linux.ENOMEM
		}
		*w = watch{epoll: ep, file: f, fd: fd, next: f.watches}
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
	wakeEpoll(ep)
	return 0
}

// watchTop is above the index of every watch in use.
var watchTop int

func newWatch() *watch {
	for i := range watches {
		if watches[i].epoll == nil {
			watchTop = max(watchTop, i+1)
			return &watches[i]
		}
	}
	return nil
}

func findWatch(ep, f *file) *watch {
	for w := f.watches; w != nil; w = w.next {
		if w.epoll == ep {
			return w
		}
	}
	return nil
}

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
func readiness(f *file) uint32 {
	switch f.kind {
	case fileSerial:
		if f.serial.head != f.serial.tail {
			return linux.EPOLLIN | linux.EPOLLOUT
		}
		return linux.EPOLLOUT
	case fileEvent:
		if f.count > 0 {
			return linux.EPOLLIN | linux.EPOLLOUT
		}
		return linux.EPOLLOUT
	case fileIRQ:
		if f.count > 0 {
			return linux.EPOLLIN
		}
	case filePipeRead:
		ev := uint32(0)
		if f.count > 0 {
			ev |= linux.EPOLLIN
		}
		if f.peer == nil {
			ev |= linux.EPOLLHUP | linux.EPOLLRDHUP
		}
		return ev
	case filePipeWrite:
		if f.peer == nil {
			return linux.EPOLLOUT | linux.EPOLLERR
		}
		if f.peer.count < pipeCapacity {
			return linux.EPOLLOUT
		}
	}
	return 0
}

// fileReady tells those who wait for f that something happened to it, and
// reports whether a thread woke up.
func fileReady(f *file) bool {
	woke := false
	for w := f.watches; w != nil; w = w.next {
		w.fresh = true
		woke = wakeEpoll(w.epoll) || woke
	}
	for i := range threadTop {
		t := threads[i]
		if t != nil && t.state == threadBlocked && t.waitFile == f &&
			(t.wait == waitRead || t.wait == waitWrite) {
			restart(t)
			woke = true
		}
	}
	return woke
}

// wakeEpoll readies a thread that waits in ep, if there is something to tell.
func wakeEpoll(ep *file) bool {
	for i := range threadTop {
		t := threads[i]
		if t == nil || t.state != threadBlocked || t.wait != waitEpoll || t.epoll.file != ep {
			continue
		}
		if n := collect(&t.epoll); n > 0 {
			readyFirst(t, int64(n))
			return true
		}
	}
	return false
}

// collect writes the events that are due and returns how many.
func collect(q *epollWait) int {
	n := 0
	for i := range watchTop {
		w := &watches[i]
		if w.epoll != q.file || w.events&linux.EPOLLET != 0 && !w.fresh {
			continue
		}
		ev := readiness(w.file) & (w.events | linux.EPOLLERR | linux.EPOLLHUP)
		if ev == 0 {
			continue
		}
		if n == q.max {
			break
		}
		p := q.events + 12*uintptr(n)
		*raw.At[uint32](p) = ev
		*raw.At[uint32](p + 4) = uint32(w.data)
		*raw.At[uint32](p + 8) = uint32(w.data >> 32)
		w.fresh = false
		n++
	}
	return n
}

// forever is a timeout that never comes.
const forever = 1<<63 - 1

// hostEpollWait waits up to timeout ns.
func hostEpollWait(t *thread, epfd int, events uintptr, max int, timeout int64) int64 {
	ep := findFile(epfd)
	if ep == nil || ep.kind != fileEpoll || max <= 0 {
		return -linux.EBADF
	}
	thisCPU().irqPending = 0 // whatever is due is reported here
	t.epoll = epollWait{file: ep, events: events, max: max}
	if n := collect(&t.epoll); n > 0 || timeout == 0 {
		return int64(n)
	}
	deadline := uint64(0)
	if timeout != forever {
		deadline = now() + uint64(timeout)
	}
	block(t, waitEpoll, deadline)
	return blocked
}

// milliseconds converts epoll_wait's timeout to ns.
func milliseconds(ms int32) int64 {
	if ms < 0 {
		return forever
	}
	return int64(ms) * 1_000_000
}

// timespecTimeout converts a pointer to a timespec to ns; nil is forever.
func timespecTimeout(ts uintptr) int64 {
	if ts == 0 {
		return forever
	}
	return int64(timespec(ts))
}
