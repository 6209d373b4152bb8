package main

import (
	"sync/atomic"

	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// futexCommandMask leaves FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME away.
const futexCommandMask = 0x7f

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
		futexes.Wait(&t.node, addr)
		block(t, waitFutex, deadline)
		return blocked
	case linux.FUTEX_WAKE, linux.FUTEX_WAKE_BITSET:
		woken := int64(0)
		for woken < int64(val) {
			n := futexes.Wake(addr)
			if n == nil {
				break
			}
			ready(threadOf(n), 0)
			woken++
		}
		return woken
	}
	return -linux.ENOSYS
}
