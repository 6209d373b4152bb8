package main

import (
	"sync/atomic"

	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// Futex operations, include/uapi/linux/futex.h.
const (
	futexCommandMask = 0x7f // without PRIVATE and CLOCK_REALTIME
)

// futexBuckets hash the waiting threads by address.
const futexBuckets = 64

var futexQueues [futexBuckets]*thread

func futexQueue(addr uintptr) **thread {
	return &futexQueues[addr>>2%futexBuckets]
}

// hostFutex waits at, or wakes, a 32-bit word of kernel memory. Timeouts of
// FUTEX_WAIT are relative, those of FUTEX_WAIT_BITSET absolute.
func hostFutex(t *thread, addr uintptr, op int, val uint32, timeout uintptr) int64 {
	switch op & futexCommandMask {
	case linux.FUTEX_WAIT, linux.FUTEX_WAIT_BITSET:
		if atomic.LoadUint32(raw.At[uint32](addr)) != val {
			return -linux.EAGAIN
		}
		deadline := uint64(0)
		if timeout != 0 {
			deadline = timespec(timeout)
			if op&futexCommandMask == linux.FUTEX_WAIT {
				deadline += now()
			}
			deadline = max(deadline, 1)
		}
		t.futexAddr = addr
		t.futexNext = nil
		p := futexQueue(addr)
		for *p != nil { // first come, first woken
			p = &(*p).futexNext
		}
		*p = t
		block(t, waitFutex, deadline)
		return blocked
	case linux.FUTEX_WAKE, linux.FUTEX_WAKE_BITSET:
		woken := int64(0)
		for q := *futexQueue(addr); q != nil && woken < int64(val); {
			next := q.futexNext
			if q.futexAddr == addr {
				ready(q, 0)
				woken++
			}
			q = next
		}
		return woken
	}
	return -linux.ENOSYS
}

// futexRemove takes a thread out of its queue.
func futexRemove(t *thread) {
	for p := futexQueue(t.futexAddr); *p != nil; p = &(*p).futexNext {
		if *p == t {
			*p = t.futexNext
			break
		}
	}
	t.futexNext = nil
}
