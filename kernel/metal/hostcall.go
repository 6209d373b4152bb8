package main

import (
	"kiln/kernel/metal/abi"
	"kiln/kernel/metal/hostfile"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// Errors, as Linux numbers them.
const (
	eNOTDIR = 20
)

// blocked is what a hostcall's handler returns when the thread waits, ended,
// or had its registers replaced: the result is not to be stored.
const blocked = hostfile.Blocked

// hostcall answers the system call that thread t made and returns the thread
// to resume.
func hostcall(t *thread) *thread {
	metalLock.Lock()
	r := &t.regs
	if res := dispatch(t, r.RAX, uintptr(r.RDI), uintptr(r.RSI), uintptr(r.RDX),
		uintptr(r.R10), uintptr(r.R8), uintptr(r.R9)); res != blocked {
		r.RAX = uint64(res)
	}
	next := schedule(t)
	metalLock.Unlock()
	return next
}

// dispatch makes one hostcall: the Linux calls that the Go runtime and the Sentry make of their
// host, and the private ones of package abi. docs/hostcalls.md lists them.
func dispatch(t *thread, nr uint64, a1, a2, a3, a4, a5, a6 uintptr) int64 {
	switch nr {
	// Memory.
	case linux.SYS_MMAP:
		return hostMmap(a1, a2, int(a3), int(a4), int(int32(a5)), a6)
	case linux.SYS_MPROTECT:
		return hostMprotect(a1, a2, int(a3))
	case linux.SYS_MUNMAP:
		return hostMunmap(a1, a2)
	case linux.SYS_BRK: // the runtime only asks where it is
		return 0
	case linux.SYS_MINCORE:
		return hostMincore(a1, a2, a3)
	case linux.SYS_MADVISE:
		return hostMadvise(a1, a2, int(a3))
	case linux.SYS_MLOCK, linux.SYS_MLOCK2:
		return populate(a1, a2, userReserve)
	case linux.SYS_MUNLOCK:
		return 0

	// Files.
	case linux.SYS_READ:
		return fileCall(t, files.Read(&t.waiter, int(a1), a2, a3))
	case linux.SYS_WRITE:
		return fileCall(t, files.Write(&t.waiter, int(a1), a2, a3))
	case linux.SYS_OPEN:
		return files.Open(a1, int(a2))
	case linux.SYS_OPENAT:
		return files.Open(a2, int(a3))
	case linux.SYS_CLOSE:
		return hostClose(int(a1))
	case linux.SYS_FSTAT:
		return hostFstat(int(a1), a2)
	case linux.SYS_NEWFSTATAT: // only on an open file, with an empty path
		if *raw.At[byte](a2) == 0 {
			return hostFstat(int(a1), a3)
		}
		return -linux.ENOENT
	case linux.SYS_LSEEK:
		return files.Lseek(int(a1), int64(a2), int(a3))
	case linux.SYS_IOCTL:
		return files.Ioctl(int(a1))
	case linux.SYS_PREAD64:
		return files.Pread(int(a1), a2, a3, a4)
	case linux.SYS_PWRITE64:
		return files.Pwrite(int(a1), a2, a3, a4)
	case linux.SYS_READV, linux.SYS_WRITEV, linux.SYS_PREADV, linux.SYS_PWRITEV,
		linux.SYS_PREADV2, linux.SYS_PWRITEV2:
		return fileCall(t, files.Vector(&t.waiter, nr, int(a1), a2, a3, int64(a4)))
	case linux.SYS_FCNTL:
		return files.Fcntl(int(a1), int(a2), a3)
	case linux.SYS_FSTATFS:
		return files.Fstatfs(int(a1), a2)
	case linux.SYS_FTRUNCATE:
		return hostFtruncate(int(a1), a2)
	case linux.SYS_FALLOCATE:
		return hostFallocate(int(a1), int(a2), a3, a4)
	case linux.SYS_MEMFD_CREATE:
		return files.Memfd()
	case linux.SYS_EVENTFD2:
		return files.Eventfd(uint64(a1), int(a2))
	case linux.SYS_PIPE2:
		return hostPipe(a1, int(a2))
	case linux.SYS_EPOLL_CREATE1:
		return files.EpollCreate()
	case linux.SYS_EPOLL_CTL:
		return fileCall(t, files.EpollCtl(int(a1), int(a2), int(a3), a4))
	case linux.SYS_EPOLL_WAIT, linux.SYS_EPOLL_PWAIT:
		return hostEpollWait(t, int(a1), a2, int(a3), milliseconds(int32(a4)))
	case linux.SYS_EPOLL_PWAIT2:
		return hostEpollWait(t, int(a1), a2, int(a3), timespecTimeout(a4))

	// Threads and signals.
	case linux.SYS_CLONE:
		return hostClone(t, a1, a2, a5)
	case linux.SYS_EXIT:
		exitThread(t)
		return blocked
	case linux.SYS_EXIT_GROUP:
		hostExit(int(a1))
		return 0
	case linux.SYS_FUTEX:
		return hostFutex(t, a1, int(a2), uint32(a3), a4)
	case linux.SYS_SCHED_YIELD:
		yield(t)
		return 0
	case linux.SYS_NANOSLEEP:
		return hostSleep(t, a1, false)
	case linux.SYS_CLOCK_NANOSLEEP:
		return hostSleep(t, a3, a2&linux.TIMER_ABSTIME != 0)
	case linux.SYS_GETPID, linux.SYS_GETPPID:
		return 1
	case linux.SYS_GETTID:
		return int64(t.tid)
	case linux.SYS_RT_SIGACTION:
		return hostSigaction(int(a1), a2, a3)
	case linux.SYS_RT_SIGPROCMASK:
		return hostSigprocmask(t, int(a1), a2, a3)
	case linux.SYS_RT_SIGRETURN:
		return hostSigreturn(t)
	case linux.SYS_SIGALTSTACK:
		return hostSigaltstack(t, a1, a2)
	case linux.SYS_KILL:
		return sendSignal(t, int(a2), 1)
	case linux.SYS_TKILL:
		return hostTgkill(int(a1), int(a2))
	case linux.SYS_TGKILL:
		return hostTgkill(int(a2), int(a3))
	case linux.SYS_ARCH_PRCTL:
		return hostArchPrctl(t, a1, a2)
	case linux.SYS_SCHED_GETAFFINITY:
		return hostAffinity(a2, a3)
	case linux.SYS_SCHED_SETAFFINITY, linux.SYS_PRCTL, linux.SYS_SET_TID_ADDRESS,
		linux.SYS_SET_ROBUST_LIST, linux.SYS_GET_ROBUST_LIST, linux.SYS_RSEQ, linux.SYS_SETRLIMIT,
		linux.SYS_SETPRIORITY, linux.SYS_GETPRIORITY: // see hostcalls.md
		return benign(nr)

	// Time and the rest.
	case linux.SYS_CLOCK_GETTIME:
		return hostClockGettime(int(a1), a2)
	case linux.SYS_CLOCK_GETRES:
		*raw.At[[2]uint64](a2) = [2]uint64{0, 1}
		return 0
	case linux.SYS_GETTIMEOFDAY:
		return hostGettimeofday(a1)
	case linux.SYS_TIME:
		return int64((now() + clock.wallOffset) / 1_000_000_000)
	case linux.SYS_GETRANDOM:
		return hostGetrandom(a1, a2)
	case linux.SYS_UNAME:
		return hostUname(a1)
	case linux.SYS_GETRLIMIT:
		return hostGetrlimit(a2)
	case linux.SYS_PRLIMIT64:
		return hostPrlimit(a4)
	case linux.SYS_GETRUSAGE:
		return hostGetrusage(a2)
	case linux.SYS_GETUID, linux.SYS_GETGID, linux.SYS_GETEUID, linux.SYS_GETEGID:
		return 0
	case linux.SYS_GETCWD:
		return hostGetcwd(a1, a2)
	case linux.SYS_READLINK, linux.SYS_READLINKAT, linux.SYS_STAT, linux.SYS_LSTAT,
		linux.SYS_ACCESS, linux.SYS_FACCESSAT, linux.SYS_FACCESSAT2: // there are no paths
		return -linux.ENOENT
	case linux.SYS_MEMBARRIER: // one CPU, and hostcalls are serializing
		return hostMembarrier(int(a1))

	case abi.SysPTNew, abi.SysPTFree, abi.SysPTMap, abi.SysPTUnmap, abi.SysPTLookup,
		abi.SysDMAAlloc, abi.SysDMAFree, abi.SysPhysPages, abi.SysMMIOMap,
		abi.SysIRQOpen, abi.SysIRQRoute, abi.SysIRQMSI, abi.SysIRQAck,
		abi.SysFPSave, abi.SysFPDrop, abi.SysInterrupt, abi.SysMemInfo, abi.SysPowerOff,
		abi.SysClockInfo, abi.SysPopulate, abi.SysFreeCounter, abi.SysPTCount, abi.SysPromised:
		return privateCall(nr, a1, a2, a3, a4, a5)
	}
	return -linux.ENOSYS
}

// benign answers calls that have no effect here.
func benign(nr uint64) int64 {
	switch nr {
	case linux.SYS_PRCTL: // PR_SET_VMA and other names; EINVAL stops the runtime asking
		return -linux.EINVAL
	case linux.SYS_RSEQ:
		return -linux.ENOSYS
	}
	return 0
}
