package main

import (
	"kiln/image/ending"
	"kiln/kernel/metal/hostfile"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// hostClone starts a thread of the kernel program: a copy of t's registers on
// another stack. Processes there are none.
func hostClone(t *thread, flags, stack, tls uintptr) int64 {
	if flags&(linux.CLONE_VM|linux.CLONE_THREAD) != linux.CLONE_VM|linux.CLONE_THREAD || stack == 0 {
		return -linux.EINVAL
	}
	n := newThread()
	if n == nil {
		return -linux.EAGAIN
	}
	n.regs = t.regs
	n.regs.RSP = uint64(stack)
	n.kind = kindCall
	n.fsbase = t.fsbase
	if flags&linux.CLONE_SETTLS != 0 {
		n.fsbase = uint64(tls)
	}
	n.signals.mask = t.signals.mask
	ready(n, 0)
	return int64(n.tid)
}

// hostArchPrctl sets the FS base, which Go uses for its thread-local storage.
func hostArchPrctl(t *thread, code, addr uintptr) int64 {
	switch code {
	case linux.ARCH_SET_FS:
		t.fsbase = uint64(addr)
		return 0
	case linux.ARCH_GET_FS:
		*raw.At[uint64](addr) = t.fsbase
		return 0
	}
	return -linux.EINVAL
}

// leastSleep is the shortest relative sleep in ns. Only the Go runtime's own
// threads sleep this way (goroutines wait in epoll_pwait or futex), above all
// sysmon, which looks every 20 µs whether another processor has work for it.
// With one processor that only takes time from the work: each look costs a
// timer interrupt and two thread switches.
const leastSleep = 1_000_000

// hostSleep blocks for, or until, a timespec.
func hostSleep(t *thread, ts uintptr, absolute bool) int64 {
	ns := timespec(ts)
	if !absolute {
		ns = now() + max(ns, leastSleep)
	}
	if ns <= now() {
		yield(t)
		return 0
	}
	block(t, waitSleep, ns)
	return blocked
}

// timespec reads struct timespec as ns, saturated where it would overflow the
// clock.
func timespec(p uintptr) uint64 {
	ts := *raw.At[[2]int64](p)
	if ts[0] < 0 {
		return 0
	}
	if ts[0] > 1<<32 {
		return 1 << 62
	}
	return uint64(ts[0])*1_000_000_000 + uint64(ts[1])
}

// hostClockGettime answers the clocks that the vDSO does not.
func hostClockGettime(id int, ts uintptr) int64 {
	ns := now()
	switch id {
	case linux.CLOCK_REALTIME, linux.CLOCK_REALTIME_COARSE:
		ns += clock.wallOffset
	case linux.CLOCK_MONOTONIC, linux.CLOCK_MONOTONIC_RAW, linux.CLOCK_MONOTONIC_COARSE, linux.CLOCK_BOOTTIME:
	case linux.CLOCK_PROCESS_CPUTIME_ID, linux.CLOCK_THREAD_CPUTIME_ID: // all the time there is
	default:
		return -linux.EINVAL
	}
	*raw.At[[2]uint64](ts) = [2]uint64{ns / 1_000_000_000, ns % 1_000_000_000}
	return 0
}

// hostGettimeofday writes struct timeval: the wall clock in µs.
func hostGettimeofday(tv uintptr) int64 {
	us := (now() + clock.wallOffset) / 1000
	*raw.At[[2]uint64](tv) = [2]uint64{us / 1_000_000, us % 1_000_000}
	return 0
}

// hostAffinity writes the mask of CPUs, from which Go takes their number.
func hostAffinity(size, mask uintptr) int64 {
	if size < 8 {
		return -linux.EINVAL
	}
	*raw.At[uint64](mask) = 1<<maxCPUs - 1
	return 8
}

// hostUname writes struct new_utsname: six fields of 65 bytes.
func hostUname(buf uintptr) int64 {
	fields := [...]string{"Linux", "kiln", "6.1.0", "#1 Kiln", "x86_64", ""}
	for i := range fields {
		p := buf + 65*uintptr(i)
		for j := range uintptr(65) {
			*raw.At[byte](p + j) = 0
			if int(j) < len(fields[i]) {
				*raw.At[byte](p + j) = fields[i][j]
			}
		}
	}
	return 0
}

// hostGetrlimit: no limit but the size of the descriptor table would matter.
func hostGetrlimit(buf uintptr) int64 {
	*raw.At[[2]uint64](buf) = [2]uint64{hostfile.MaxFiles, hostfile.MaxFiles}
	return 0
}

// hostPrlimit tells the limits, if old is not nil, and sets none.
func hostPrlimit(old uintptr) int64 {
	if old != 0 {
		return hostGetrlimit(old)
	}
	return 0
}

// hostGetrusage: time since boot as user time, nothing else.
func hostGetrusage(buf uintptr) int64 {
	for i := range uintptr(144 / 8) {
		*raw.At[uint64](buf + 8*i) = 0
	}
	us := now() / 1000
	*raw.At[[2]uint64](buf) = [2]uint64{us / 1_000_000, us % 1_000_000}
	return 0
}

// hostGetcwd writes the one folder that there is.
func hostGetcwd(buf, size uintptr) int64 {
	if size < 2 {
		return -linux.ERANGE
	}
	*raw.At[[2]byte](buf) = [2]byte{'/', 0}
	return 2
}

// hostMembarrier: with one CPU there is nothing to do.
func hostMembarrier(cmd int) int64 {
	const supported = linux.MEMBARRIER_CMD_GLOBAL | linux.MEMBARRIER_CMD_GLOBAL_EXPEDITED |
		linux.MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | linux.MEMBARRIER_CMD_PRIVATE_EXPEDITED |
		linux.MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
	switch {
	case cmd == linux.MEMBARRIER_CMD_QUERY:
		return supported
	case cmd&^supported == 0:
		return 0
	}
	return -linux.EINVAL
}

// crashStatus is the exit status of a Go program whose runtime gave up.
const crashStatus = 2

// hostExit ends the virtual machine because the kernel program did.
func hostExit(code int) {
	if code == crashStatus {
		reportLast(thisCPU().cur)
		printMemory()
		exitMachine(ending.Panic)
	}
	powerOff(code)
}

// powerOff ends the virtual machine with an exit status, of which the debug
// exit device has room for the small ones: the kernel program has told the host
// the others.
func powerOff(code int) { exitMachine(uint8(min(code&0xff, ending.Large))) }
