package main

import (
	"unsafe"

	"kiln/image/bootinfo"
	"kiln/kernel/metal/abi"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/raw"
)

// Kinds of host files.
const (
	fileFree = iota
	fileSerial
	fileNull
	fileRandom
	fileStatic    // bytes in memory, read-only
	fileMemfd     // a window of kernel memory
	fileEvent     // eventfd
	fileIRQ       // a device interrupt
	filePipeRead  // buffer in data, shared with peer
	filePipeWrite //
	fileEpoll
)

const (
	maxFiles     = 512
	maxWatches   = 512
	pipeCapacity = 65536
	pipeOrder    = 4
)

// file is an open host file. Descriptors are indices into files.
type file struct {
	kind   uint8
	flags  int     // O_NONBLOCK and the access mode
	data   uintptr // contents, window or buffer
	size   uintptr // of contents; of a memfd
	off    uintptr // file offset; read position of a pipe
	count  uint64  // eventfd counter, interrupts; bytes in a pipe
	serial *serial
	peer   *file // other end of a pipe, nil when closed

	vector uint32 // fileIRQ
	gsi    int    // -1: message-signalled
	level  bool

	watches *watch // epoll instances that watch this file
}

// watch is one file in one epoll instance.
type watch struct {
	epoll  *file
	file   *file
	fd     int
	events uint32
	data   uint64
	fresh  bool   // something happened since the last report (edge-triggered)
	next   *watch // of the same file
}

var (
	files   *[maxFiles]file
	watches *[maxWatches]watch
	irqs    [vectorLastDevice + 1]*file // by vector
	memfds  [maxMemfds]*file
)

// initFiles makes the tables and descriptors 0, 1 and 2: the console.
func initFiles() {
	files = raw.At[[maxFiles]file](allocTable(unsafe.Sizeof(*files)))
	watches = raw.At[[maxWatches]watch](allocTable(unsafe.Sizeof(*watches)))
	files[0] = file{kind: fileSerial, serial: &console, flags: linux.O_RDWR}
	for fd := 1; fd <= 2; fd++ {
		files[fd] = file{kind: fileSerial, serial: &console, flags: linux.O_WRONLY}
	}
	console.listen(&files[0], serialVector)
}

// serialVector is the serial port's vector.
const serialVector = vectorFirstDevice

func allocTable(size uintptr) uintptr {
	va := allocPages(order((size + frame.Size - 1) / frame.Size))
	if va == 0 {
		fatalBoot("not enough memory for metal's tables")
	}
	return va
}

// newFile returns an unused descriptor, or nil and -1.
func newFile(kind uint8) (*file, int) {
	for fd := range files {
		if f := &files[fd]; f.kind == fileFree {
			*f = file{kind: kind, flags: linux.O_RDWR}
			return f, fd
		}
	}
	return nil, -1
}

// findFile returns the open file of a descriptor, or nil.
func findFile(fd int) *file {
	if fd < 0 || fd >= maxFiles || files[fd].kind == fileFree {
		return nil
	}
	return &files[fd]
}

// hostOpen opens one of the files that metal serves.
func hostOpen(path uintptr, flags int) int64 {
	f, fd := newFile(fileStatic)
	if f == nil {
		return -linux.EMFILE
	}
	f.flags = flags
	if !openPath(f, path) {
		f.kind = fileFree
		return -linux.ENOENT
	}
	return int64(fd)
}

// Contents of files that the Go runtime and the Sentry read of Linux's.
const (
	mmapMinAddr = "65536\n"
	overcommit  = "1\n"
)

func openPath(f *file, path uintptr) bool {
	switch {
	case pathIs(path, "/dev/null"):
		f.kind = fileNull
	case pathIs(path, "/dev/urandom"), pathIs(path, "/dev/random"):
		f.kind = fileRandom
	case pathIs(path, "/proc/sys/vm/mmap_min_addr"):
		staticString(f, mmapMinAddr)
	case pathIs(path, "/proc/sys/vm/overcommit_memory"):
		staticString(f, overcommit)
	case pathIs(path, abi.PathManifest):
		return staticRange(f, header.Manifest)
	case pathIs(path, abi.PathRootFS):
		return staticRange(f, header.RootFS)
	case pathIs(path, abi.PathRunConfig):
		return staticRange(f, runConfig)
	case pathIs(path, abi.PathCmdline):
		f.data, f.size = uintptr(unsafe.Pointer(&cmdline)), uintptr(cmdlineLen)
	case pathIs(path, abi.PathACPI):
		if rsdp == 0 {
			return false
		}
		formatHex(&rsdpText, rsdp)
		f.data, f.size = uintptr(unsafe.Pointer(&rsdpText)), unsafe.Sizeof(rsdpText)
	default:
		return false
	}
	return true
}

var rsdpText [18]byte

// formatHex writes v as 0x and sixteen digits.
func formatHex(buf *[18]byte, v uint64) {
	buf[0], buf[1] = '0', 'x'
	for i := range 16 {
		buf[2+i] = "0123456789abcdef"[v>>(60-4*uint(i))&15]
	}
}

// pathIs compares a NUL-terminated path with s.
func pathIs(path uintptr, s string) bool {
	for i := range len(s) {
		if *raw.At[byte](path + uintptr(i)) != s[i] {
			return false
		}
	}
	return *raw.At[byte](path + uintptr(len(s))) == 0
}

func staticString(f *file, s string) {
	f.data, f.size = uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(len(s))
}

func staticRange(f *file, r bootinfo.Range) bool {
	if r.Size == 0 {
		return false
	}
	f.data, f.size = directMap+uintptr(r.Addr), uintptr(r.Size)
	return true
}

func hostClose(fd int) int64 {
	f := findFile(fd)
	if f == nil {
		return -linux.EBADF
	}
	for f.watches != nil {
		removeWatch(f.watches)
	}
	switch f.kind {
	case fileMemfd:
		dropKernelPages(f.data, f.data+(f.size+frame.Size-1)&^(frame.Size-1))
		memfds[(f.data-memfdBase)/memfdWindow] = nil
	case fileIRQ:
		if f.gsi >= 0 {
			maskGSI(f.gsi, true)
		}
		irqs[f.vector] = nil
	case fileEpoll:
		for i := range watches {
			if w := &watches[i]; w.epoll == f {
				removeWatch(w)
			}
		}
	case filePipeRead, filePipeWrite:
		closePipe(f)
	}
	f.kind = fileFree
	return 0
}

// hostFcntl: F_GETFL, F_SETFL; descriptor flags have no meaning without exec.
func hostFcntl(fd, cmd int, arg uintptr) int64 {
	f := findFile(fd)
	if f == nil {
		return -linux.EBADF
	}
	switch cmd {
	case linux.F_DUPFD, linux.F_DUPFD_CLOEXEC:
		return dupFile(f)
	case linux.F_GETFD:
		return linux.FD_CLOEXEC
	case linux.F_SETFD:
		return 0
	case linux.F_GETFL:
		return int64(f.flags)
	case linux.F_SETFL:
		f.flags = f.flags&^linux.O_NONBLOCK | int(arg)&linux.O_NONBLOCK
		return 0
	case linux.F_ADD_SEALS, linux.F_GET_SEALS:
		return 0
	}
	return -linux.EINVAL
}

// dupFile duplicates a device; other files have state that cannot be shared.
func dupFile(f *file) int64 {
	if f.kind != fileSerial && f.kind != fileNull && f.kind != fileRandom {
		return -linux.EINVAL
	}
	n, fd := newFile(f.kind)
	if n == nil {
		return -linux.EMFILE
	}
	n.serial, n.flags = f.serial, f.flags
	return int64(fd)
}

// hostFstatfs writes struct statfs: the block size.
func hostFstatfs(fd int, buf uintptr) int64 {
	if findFile(fd) == nil {
		return -linux.EBADF
	}
	for i := range uintptr(120 / 8) {
		*raw.At[uint64](buf + 8*i) = 0
	}
	*raw.At[uint64](buf + 8) = frame.Size // f_bsize
	return 0
}

// hostFstat writes struct stat (asm/stat.h): type, size and block size are
// all that is asked for.
func hostFstat(fd int, buf uintptr) int64 {
	f := findFile(fd)
	if f == nil {
		return -linux.EBADF
	}
	for i := range uintptr(144 / 8) {
		*raw.At[uint64](buf + 8*i) = 0
	}
	mode := uint32(linux.S_IFREG | 0o600)
	switch f.kind {
	case fileSerial, fileNull, fileRandom:
		mode = linux.S_IFCHR | 0o620
	case filePipeRead, filePipeWrite:
		mode = linux.S_IFIFO | 0o600
	}
	*raw.At[uint64](buf) = 1                   // st_dev
	*raw.At[uint64](buf + 8) = uint64(fd) + 1  // st_ino
	*raw.At[uint64](buf + 16) = 1              // st_nlink
	*raw.At[uint32](buf + 24) = mode           // st_mode
	*raw.At[uint64](buf + 48) = uint64(f.size) // st_size
	*raw.At[uint64](buf + 56) = frame.Size     // st_blksize
	if f.kind == fileMemfd {
		*raw.At[uint64](buf + 64) = uint64(memfdPages(f)) * 8 // st_blocks, 512 bytes each
	}
	return 0
}

func hostLseek(fd int, off int64, whence int) int64 {
	f := findFile(fd)
	if f == nil {
		return -linux.EBADF
	}
	if f.kind != fileStatic && f.kind != fileMemfd {
		return -linux.ESPIPE
	}
	switch whence {
	case linux.SEEK_CUR:
		off += int64(f.off)
	case linux.SEEK_END:
		off += int64(f.size)
	}
	if off < 0 {
		return -linux.EINVAL
	}
	f.off = uintptr(off)
	return off
}

// hostIoctl: TCGETS and TIOCGWINSZ tell a terminal; there is none here.
func hostIoctl(fd int, req, arg uintptr) int64 {
	if findFile(fd) == nil {
		return -linux.EBADF
	}
	return -linux.ENOTTY
}

func hostFtruncate(fd int, size uintptr) int64 {
	f := findFile(fd)
	if f == nil || f.kind != fileMemfd || size > memfdWindow {
		return -linux.EINVAL
	}
	if size < f.size {
		dropKernelPages(f.data+(size+frame.Size-1)&^(frame.Size-1), f.data+f.size)
	}
	f.size = size
	return 0
}

func hostFallocate(fd, mode int, off, length uintptr) int64 {
	f := findFile(fd)
	if f == nil || f.kind != fileMemfd || off+length > memfdWindow || off+length < off {
		return -linux.EINVAL
	}
	switch {
	case mode&linux.FALLOC_FL_PUNCH_HOLE != 0:
		start := (off + frame.Size - 1) &^ (frame.Size - 1)
		end := (off + length) &^ (frame.Size - 1)
		if start < end {
			dropKernelPages(f.data+start, f.data+end)
		}
		return 0
	case mode&^linux.FALLOC_FL_KEEP_SIZE != 0:
		return -linux.EOPNOTSUPP
	}
	if mode&linux.FALLOC_FL_KEEP_SIZE == 0 {
		f.size = max(f.size, off+length)
	}
	if populate(f.data+off, length, userReserve) != 0 {
		return -linux.ENOSPC
	}
	return 0
}

func hostMemfd() int64 {
	for i := range memfds {
		if memfds[i] != nil {
			continue
		}
		f, fd := newFile(fileMemfd)
		if f == nil {
			return -linux.EMFILE
		}
		f.data = memfdBase + uintptr(i)*memfdWindow
		memfds[i] = f
		return int64(fd)
	}
	return -linux.EMFILE
}

// memfdCovers reports whether addr, in the memfd area, is inside a file.
func memfdCovers(addr uintptr) bool {
	f := memfds[(addr-memfdBase)/memfdWindow]
	return f != nil && addr < f.data+f.size
}

// memfdPages counts the pages that have a frame.
func memfdPages(f *file) uintptr {
	n := uintptr(0)
	end := f.data + f.size
	for va := f.data; va < end; {
		e, size := tables.Lookup(kernelRoot, va)
		if e != nil && *e != 0 {
			n++
		}
		va = pagetable.Next(va, size, end)
	}
	return n
}
