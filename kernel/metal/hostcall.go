package main

import "kiln/kernel/metal/abi"

// Errors, as Linux numbers them.
const (
	ePERM      = 1
	eNOENT     = 2
	eSRCH      = 3
	eINTR      = 4
	eBADF      = 9
	eAGAIN     = 11
	eNOMEM     = 12
	eFAULT     = 14
	eEXIST     = 17
	eNODEV     = 19
	eNOTDIR    = 20
	eINVAL     = 22
	eMFILE     = 24
	eNOTTY     = 25
	eNOSPC     = 28
	eSPIPE     = 29
	ePIPE      = 32
	eNOSYS     = 38
	eTIMEDOUT  = 110
	eOPNOTSUPP = 95
)

// blocked is what a hostcall's handler returns when the thread waits, ended,
// or had its registers replaced: the result is not to be stored.
const blocked = -1 << 62

// hostcall answers the system call that thread t made and returns the thread
// to resume.
func hostcall(t *thread) *thread {
	metalLock.lock()
	r := &t.regs
	if res := dispatch(t, r.RAX, uintptr(r.RDI), uintptr(r.RSI), uintptr(r.RDX),
		uintptr(r.R10), uintptr(r.R8), uintptr(r.R9)); res != blocked {
		r.RAX = uint64(res)
	}
	next := schedule(t)
	metalLock.unlock()
	return next
}

// dispatch makes one hostcall: the Linux calls (by number, arch/x86/entry/
// syscalls/syscall_64.tbl) that the Go runtime and the Sentry make of their
// host, and the private ones of package abi. docs/hostcalls.md lists them.
func dispatch(t *thread, nr uint64, a1, a2, a3, a4, a5, a6 uintptr) int64 {
	switch nr {
	// Memory.
	case 9:
		return hostMmap(a1, a2, int(a3), int(a4), int(int32(a5)), a6)
	case 10:
		return hostMprotect(a1, a2, int(a3))
	case 11:
		return hostMunmap(a1, a2)
	case 12: // brk: the runtime only asks where it is
		return 0
	case 27:
		return hostMincore(a1, a2, a3)
	case 28:
		return hostMadvise(a1, a2, int(a3))
	case 149, 325: // mlock, mlock2
		return populate(a1, a2, userReserve)
	case 150: // munlock
		return 0

	// Files.
	case 0:
		return hostRead(t, int(a1), a2, a3)
	case 1:
		return hostWrite(t, int(a1), a2, a3)
	case 2:
		return hostOpen(a1, int(a2))
	case 257:
		return hostOpen(a2, int(a3))
	case 3:
		return hostClose(int(a1))
	case 5:
		return hostFstat(int(a1), a2)
	case 262: // newfstatat: only on an open file, with an empty path
		if *at[byte](a2) == 0 {
			return hostFstat(int(a1), a3)
		}
		return -eNOENT
	case 8:
		return hostLseek(int(a1), int64(a2), int(a3))
	case 16:
		return hostIoctl(int(a1), a2, a3)
	case 17:
		return hostPread(int(a1), a2, a3, a4)
	case 18:
		return hostPwrite(int(a1), a2, a3, a4)
	case 19, 20, 295, 296, 327, 328: // readv, writev, p…v, p…v2
		return hostVector(t, nr, int(a1), a2, a3, int64(a4))
	case 72:
		return hostFcntl(int(a1), int(a2), a3)
	case 138: // fstatfs: no type to tell
		return hostFstatfs(int(a1), a2)
	case 77:
		return hostFtruncate(int(a1), a2)
	case 285:
		return hostFallocate(int(a1), int(a2), a3, a4)
	case 319:
		return hostMemfd()
	case 290:
		return hostEventfd(uint64(a1), int(a2))
	case 293:
		return hostPipe(a1, int(a2))
	case 291:
		return hostEpollCreate()
	case 233:
		return hostEpollCtl(int(a1), int(a2), int(a3), a4)
	case 232, 281:
		return hostEpollWait(t, int(a1), a2, int(a3), milliseconds(int32(a4)))
	case 441:
		return hostEpollWait(t, int(a1), a2, int(a3), timespecTimeout(a4))

	// Threads and signals.
	case 56:
		return hostClone(t, a1, a2, a5)
	case 60:
		exitThread(t)
		return blocked
	case 231:
		hostExit(int(a1))
		return 0
	case 202:
		return hostFutex(t, a1, int(a2), uint32(a3), a4)
	case 24:
		yield(t)
		return 0
	case 35:
		return hostSleep(t, a1, false)
	case 230:
		return hostSleep(t, a3, a2&1 != 0)
	case 39, 110: // getpid, getppid
		return 1
	case 186:
		return int64(t.tid)
	case 13:
		return hostSigaction(int(a1), a2, a3)
	case 14:
		return hostSigprocmask(t, int(a1), a2, a3)
	case 15:
		return hostSigreturn(t)
	case 131:
		return hostSigaltstack(t, a1, a2)
	case 62: // kill
		return sendSignal(t, int(a2), 1)
	case 200:
		return hostTgkill(int(a1), int(a2))
	case 234:
		return hostTgkill(int(a2), int(a3))
	case 158:
		return hostArchPrctl(t, a1, a2)
	case 204:
		return hostAffinity(a2, a3)
	case 203, 157, 218, 273, 274, 334, 160, 141, 140: // see hostcalls.md
		return benign(nr)

	// Time and the rest.
	case 228:
		return hostClockGettime(int(a1), a2)
	case 229: // clock_getres
		*at[[2]uint64](a2) = [2]uint64{0, 1}
		return 0
	case 96:
		return hostGettimeofday(a1)
	case 201:
		return int64((now() + clock.wallOffset) / 1_000_000_000)
	case 318:
		return hostGetrandom(a1, a2)
	case 63:
		return hostUname(a1)
	case 97:
		return hostGetrlimit(a2)
	case 302:
		return hostPrlimit(a4)
	case 98:
		return hostGetrusage(a2)
	case 102, 104, 107, 108: // getuid, getgid, geteuid, getegid
		return 0
	case 79:
		return hostGetcwd(a1, a2)
	case 89, 267, 4, 6, 21, 269, 439: // paths: readlink(at), stat, lstat, access…
		return -eNOENT
	case 324: // membarrier: one CPU, and hostcalls are serializing
		return hostMembarrier(int(a1))

	case abi.SysPTNew, abi.SysPTFree, abi.SysPTMap, abi.SysPTUnmap, abi.SysPTLookup,
		abi.SysDMAAlloc, abi.SysDMAFree, abi.SysPhysPages, abi.SysMMIOMap,
		abi.SysIRQOpen, abi.SysIRQRoute, abi.SysIRQMSI, abi.SysIRQAck,
		abi.SysFPSave, abi.SysFPDrop, abi.SysInterrupt, abi.SysMemInfo, abi.SysPowerOff,
		abi.SysClockInfo, abi.SysPopulate, abi.SysFreeCounter, abi.SysPTCount, abi.SysPromised:
		return privateCall(nr, a1, a2, a3, a4, a5)
	}
	return -eNOSYS
}

// benign answers calls that have no effect here.
func benign(nr uint64) int64 {
	switch nr {
	case 157: // prctl: PR_SET_VMA and other names; EINVAL stops the runtime asking
		return -eINVAL
	case 334: // rseq
		return -eNOSYS
	}
	return 0
}
