package main

import (
	"unsafe"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/hostfile"
	"kiln/kernel/metal/queue"
	"kiln/kernel/metal/raw"
)

// maxThreads bounds the threads (Ms) of the kernel program's Go runtime.
const maxThreads = 1024

// Thread states.
const (
	threadFree = iota
	threadRunnable
	threadRunning
	threadBlocked
)

// What a blocked thread waits for.
const (
	waitNothing = iota
	waitSleep   // its deadline
	waitFutex   // a wake-up in futexes
	waitFile    // a file to become readable or writable
	waitEpoll   // a file that an epoll instance watches
)

// thread is one thread of the kernel program. It fills one page frame, the
// upper part of which is its floating point area; it never moves.
type thread struct {
	_    uint64    // so that regs.FSBase is 16-byte aligned for IST1
	regs registers // saved while the thread does not run in ring 0

	kind   uint64
	fsbase uint64 // of the thread in ring 0
	fp     uintptr

	// Ring 3: what runs there, and where EnterUser returns to.
	user    *userContext
	kernRIP uint64
	kernRSP uint64
	kernRBP uint64
	kernR14 uint64

	tid    int32
	state  int32
	wait   int32
	node   queue.Node      // in runnable, deadlines, futexes
	waiter hostfile.Waiter // in files

	signals       signalState
	lastException exception // that became a signal
}

// fpOffset is where a thread's floating point area begins in its frame: an
// XSAVE area is 64-byte aligned and, with AVX-512, up to 2,696 bytes long.
const fpOffset = 1280

var _ [fpOffset - unsafe.Sizeof(thread{})]byte // thread must end before the area

var (
	threads    [maxThreads]*thread // by tid-1
	threadTop  int                 // no thread at or above this index
	threadLive int
)

// threadOf returns the thread that n is the node of.
func threadOf(n *queue.Node) *thread {
	return raw.At[thread](raw.Addr(n) - unsafe.Offsetof(thread{}.node))
}

// newThread returns a zeroed thread with a thread number and a floating point
// area in its initial state, or nil.
func newThread() *thread {
	i := 0
	for i < threadTop && threads[i] != nil && threads[i].state != threadFree {
		i++
	}
	if i == maxThreads {
		return nil
	}
	t := threads[i]
	if t == nil {
		f := frames.Alloc(0)
		if f == 0 {
			return nil
		}
		t = raw.At[thread](directMap + uintptr(f))
		threads[i] = t
	}
	cpu.ClearPage(uintptr(unsafe.Pointer(t)))
	t.tid = int32(i + 1)
	t.fp = uintptr(unsafe.Pointer(t)) + fpOffset
	initFloat(t.fp)
	t.state = threadBlocked
	threadTop = max(threadTop, i+1)
	threadLive++
	return t
}

// exitThread ends the running thread.
func exitThread(t *thread) {
	if t.fp != 0 {
		dropUser(t)
	}
	t.state = threadFree
	threadLive--
}

// findThread returns the live thread with number tid.
func findThread(tid int) *thread {
	if tid < 1 || tid > threadTop {
		return nil
	}
	if t := threads[tid-1]; t != nil && t.state != threadFree {
		return t
	}
	return nil
}

// allocPages returns the kernel address of 2^order zeroed page frames, or 0.
func allocPages(order uint) uintptr {
	f := frames.Alloc(order)
	if f == 0 {
		return 0
	}
	va := directMap + uintptr(f)
	for p := va; p < va+frame.Size<<order; p += frame.Size {
		cpu.ClearPage(p)
	}
	return va
}
