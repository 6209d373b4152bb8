package main

import (
	"unsafe"

	"kiln/image/bootinfo"
	"kiln/kernel/metal/abi"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/hostfile"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/random"
	"kiln/kernel/metal/raw"
)

// The files that metal serves. Guarded by metalLock.
var (
	files    hostfile.Table
	entropy  random.Source
	rsdpText [18]byte
)

// pipeOrder is the size of a pipe's buffer in frames, as a power of two.
const pipeOrder = 4

var _ [hostfile.PipeCapacity - frame.Size<<pipeOrder]byte // they are equal
var _ [frame.Size<<pipeOrder - hostfile.PipeCapacity]byte

// Contents of files that the Go runtime and the Sentry read of Linux's.
const (
	mmapMinAddr = "65536\n"
	overcommit  = "1\n"
)

// initFiles makes the table of files, and of descriptors 0, 1 and 2 the
// console.
func initFiles() {
	storage := allocTable(unsafe.Sizeof(hostfile.Storage{}))
	files.Init(raw.At[hostfile.Storage](storage), memfdBase, &entropy)
	files.Console(&console)
	serveString("/proc/sys/vm/mmap_min_addr", mmapMinAddr)
	serveString("/proc/sys/vm/overcommit_memory", overcommit)
	serveRange(abi.PathManifest, header.Manifest)
	serveRange(abi.PathRootFS, header.RootFS)
	serveRange(abi.PathRunConfig, runConfig)
	serve(abi.PathCmdline, raw.Addr(&cmdline), uintptr(cmdlineLen))
	if rsdp != 0 {
		formatHex(&rsdpText, rsdp)
		serve(abi.PathACPI, raw.Addr(&rsdpText), unsafe.Sizeof(rsdpText))
	}
	listenConsole()
}

// allocTable returns zeroed memory of at least size bytes, for good.
func allocTable(size uintptr) uintptr {
	va := allocPages(order((size + frame.Size - 1) / frame.Size))
	if va == 0 {
		fatalBoot("not enough memory for metal's tables")
	}
	return va
}

// serve has a path lead to bytes in memory.
func serve(path string, data, size uintptr) {
	if !files.Serve(path, data, size) {
		fatalBoot("metal serves more files than it has room for")
	}
}

// serveString has a path lead to a constant.
func serveString(path, s string) {
	serve(path, raw.Addr(unsafe.StringData(s)), uintptr(len(s)))
}

// serveRange serves physical memory, if there is any.
func serveRange(path string, r bootinfo.Range) {
	if r.Size != 0 {
		serve(path, directMap+uintptr(r.Addr), uintptr(r.Size))
	}
}

// formatHex writes v as 0x and sixteen digits.
func formatHex(buf *[18]byte, v uint64) {
	buf[0], buf[1] = '0', 'x'
	for i := range 16 {
		buf[2+i] = "0123456789abcdef"[v>>(60-4*uint(i))&15]
	}
}

// fileCall ends a call on files that may have woken threads and may have
// left t waiting: res is its result.
func fileCall(t *thread, res int64) int64 {
	wake()
	if res == blocked {
		block(t, waitFile, 0)
	}
	return res
}

// wake readies the threads that were woken in files, and reports whether there
// were any.
func wake() bool {
	woke := false
	for w := files.Woken(); w != nil; w = files.Woken() {
		t := raw.At[thread](raw.Addr(w) - unsafe.Offsetof(thread{}.waiter))
		if w.Result == hostfile.Again {
			restart(t)
		} else {
			readyFirst(t, w.Result)
		}
		woke = true
	}
	return woke
}

// syscallLength is the length of the SYSCALL instruction.
const syscallLength = 2

// restart makes a blocked thread repeat its hostcall.
func restart(t *thread) {
	t.regs.RIP -= syscallLength
	ready(t, int64(t.regs.OrigRAX))
}

// hostClose closes a file and frees what it had.
func hostClose(fd int) int64 {
	f := files.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	switch f.Kind {
	case hostfile.Memory:
		dropKernelPages(f.Data, f.Data+(f.Size+frame.Size-1)&^(frame.Size-1))
	case hostfile.Interrupt:
		closeIRQ(f)
	}
	if buffer := files.Close(f); buffer != 0 {
		frames.Free(frame.Addr(buffer-directMap), pipeOrder)
	}
	wake()
	return 0
}

// hostPipe makes a pipe with a buffer of its own.
func hostPipe(fds uintptr, flags int) int64 {
	buffer := allocPages(pipeOrder)
	if buffer == 0 {
		return -linux.ENOMEM
	}
	res := files.Pipe(buffer, fds, flags)
	if res != 0 {
		frames.Free(frame.Addr(buffer-directMap), pipeOrder)
	}
	return res
}

// forever is a timeout that never comes.
const forever = 1<<63 - 1

// hostEpollWait waits up to timeout ns.
func hostEpollWait(t *thread, epfd int, events uintptr, limit int, timeout int64) int64 {
	thisCPU().irqPending = 0 // whatever is due is reported here
	res := files.EpollWait(&t.waiter, epfd, events, limit, timeout != 0)
	if res != blocked {
		return res
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

// memoryFile returns the memory file of a descriptor, or nil.
func memoryFile(fd int) *hostfile.File {
	if f := files.Find(fd); f != nil && f.Kind == hostfile.Memory {
		return f
	}
	return nil
}

// hostFstat writes struct stat.
func hostFstat(fd int, buf uintptr) int64 {
	pages := uintptr(0)
	if f := memoryFile(fd); f != nil {
		pages = countPages(f.Data, f.Data+f.Size)
	}
	return files.Fstat(fd, buf, pages)
}

// countPages counts the pages of a range that have a frame.
func countPages(start, end uintptr) uintptr {
	n := uintptr(0)
	for va := start; va < end; {
		e, size := tables.Lookup(kernelRoot, va)
		if e != nil && *e != 0 {
			n++
		}
		va = pagetable.Next(va, size, end)
	}
	return n
}

// hostFtruncate sets the size of a memory file.
func hostFtruncate(fd int, size uintptr) int64 {
	f := memoryFile(fd)
	if f == nil || size > memfdWindow {
		return -linux.EINVAL
	}
	if size < f.Size {
		dropKernelPages(f.Data+(size+frame.Size-1)&^(frame.Size-1), f.Data+f.Size)
	}
	f.Size = size
	return 0
}

// hostFallocate gives a range of a memory file page frames, or takes them.
func hostFallocate(fd, mode int, off, length uintptr) int64 {
	f := memoryFile(fd)
	if f == nil || off+length > memfdWindow || off+length < off {
		return -linux.EINVAL
	}
	switch {
	case mode&linux.FALLOC_FL_PUNCH_HOLE != 0:
		start := (off + frame.Size - 1) &^ (frame.Size - 1)
		end := (off + length) &^ (frame.Size - 1)
		if start < end {
			dropKernelPages(f.Data+start, f.Data+end)
		}
		return 0
	case mode&^linux.FALLOC_FL_KEEP_SIZE != 0:
		return -linux.EOPNOTSUPP
	}
	if mode&linux.FALLOC_FL_KEEP_SIZE == 0 {
		f.Size = max(f.Size, off+length)
	}
	if populate(f.Data+off, length, userReserve) != 0 {
		return -linux.ENOSPC
	}
	return 0
}

// hostGetrandom fills a buffer.
func hostGetrandom(buf, n uintptr) int64 {
	entropy.Fill(raw.Bytes(buf, n))
	return int64(n)
}
