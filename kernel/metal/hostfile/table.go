// Package hostfile is the table of files that metal serves to the kernel
// program: devices, bytes in memory, memory files, eventfds, interrupts, pipes
// and epoll instances. It knows no thread: a call that cannot go on leaves a
// Waiter in the file's queue and returns Blocked, and what makes a file ready
// puts its waiters into a list, from which the caller takes them by Woken and
// makes their threads run.
//
// Calls return what Linux's return: a result, or a negative errno.
//
// Context: trap context. Nothing allocates or blocks. Buffers are memory of the
// kernel program, and may raise a page fault that metal settles.
//
// Locking: the caller holds the lock that guards the Table, which today is
// metal's one lock, from a call until it has taken all waiters by Woken. A
// Waiter is guarded by that lock as well.
package hostfile

import (
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/random"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/serial"
)

// Kind is what a file is.
type Kind uint8

const (
	Free Kind = iota
	Serial
	Null
	Random
	Static    // bytes in memory, read-only
	Memory    // a memory file: a window of kernel memory
	Event     // eventfd
	Interrupt // a device interrupt
	PipeRead  // buffer in Data, shared with peer
	PipeWrite
	Epoll
)

const (
	// MaxFiles is how many files may be open.
	MaxFiles = 512
	// MaxWatches is how many entries all epoll instances may have together.
	MaxWatches = 512
	// MaxMemory is how many memory files there may be, and Window the address
	// space that each has, in bytes.
	MaxMemory = 8
	Window    = 1 << 39
	// PipeCapacity is the size of a pipe's buffer in bytes, as on Linux.
	PipeCapacity = 65536

	maxServed = 8
	pageSize  = 4096
)

// File is an open file. Descriptors are indices into Storage.files.
type File struct {
	Kind  Kind
	flags int     // O_NONBLOCK and the access mode
	Data  uintptr // contents, window or buffer
	Size  uintptr // of contents, in bytes
	off   uintptr // file offset; read position of a pipe
	count uint64  // eventfd counter, interrupts; bytes in a pipe
	port  *serial.Port
	peer  *File // other end of a pipe, nil when closed

	// Of an Interrupt; the caller's.
	Vector uint32
	GSI    int // I/O APIC input, -1: message-signalled
	Level  bool

	watches *watch // epoll instances that watch this file
	waiters list   // calls that wait for this file
}

// Storage is the memory of a Table.
type Storage struct {
	files   [MaxFiles]File
	watches [MaxWatches]watch
}

// served is a file of bytes in memory that open(2) finds.
type served struct {
	path       string
	data, size uintptr
}

// Table is the files that are open and those that can be opened. The zero value
// must be given to Init.
type Table struct {
	files    *[MaxFiles]File
	watches  *[MaxWatches]watch
	watchTop int // above the index of every watch in use

	served  [maxServed]served
	servedN int

	windows uintptr // address of the first memory file's window
	memory  [MaxMemory]*File

	random *random.Source
	woken  list
}

// Init sets t up with zeroed storage. Memory files have their windows from
// address windows on.
func (t *Table) Init(s *Storage, windows uintptr, r *random.Source) {
	t.files, t.watches = &s.files, &s.watches
	t.windows, t.random = windows, r
}

// Console makes port descriptors 0, 1 and 2.
func (t *Table) Console(port *serial.Port) {
	t.files[0] = File{Kind: Serial, port: port, flags: linux.O_RDWR}
	for fd := 1; fd <= 2; fd++ {
		t.files[fd] = File{Kind: Serial, port: port, flags: linux.O_WRONLY}
	}
}

// Serve has open(2) find size bytes at data under a path. It reports false if
// the table of paths is full.
func (t *Table) Serve(path string, data, size uintptr) bool {
	if t.servedN == maxServed {
		return false
	}
	t.served[t.servedN] = served{path: path, data: data, size: size}
	t.servedN++
	return true
}

// New returns an unused file and its descriptor, or nil and -1.
func (t *Table) New(kind Kind) (*File, int) {
	for fd := range t.files {
		if f := &t.files[fd]; f.Kind == Free {
			*f = File{Kind: kind, flags: linux.O_RDWR}
			return f, fd
		}
	}
	return nil, -1
}

// Find returns the open file of a descriptor, or nil.
func (t *Table) Find(fd int) *File {
	if fd < 0 || fd >= MaxFiles || t.files[fd].Kind == Free {
		return nil
	}
	return &t.files[fd]
}

// Open is open(2) of a NUL-terminated path.
func (t *Table) Open(path uintptr, flags int) int64 {
	f, fd := t.New(Static)
	if f == nil {
		return -linux.EMFILE
	}
	f.flags = flags
	if !t.openPath(f, path) {
		f.Kind = Free
		return -linux.ENOENT
	}
	return int64(fd)
}

// openPath makes f the file that a path leads to, and reports whether there is
// one.
func (t *Table) openPath(f *File, path uintptr) bool {
	switch {
	case pathIs(path, "/dev/null"):
		f.Kind = Null
		return true
	case pathIs(path, "/dev/urandom"), pathIs(path, "/dev/random"):
		f.Kind = Random
		return true
	}
	for i := range t.servedN {
		if s := &t.served[i]; pathIs(path, s.path) {
			f.Data, f.Size = s.data, s.size
			return true
		}
	}
	return false
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

// Close closes an open file. Calls that wait for it are woken, to find that it
// is gone. Close returns the buffer of PipeCapacity bytes that the caller is to
// free, 0 if there is none; a memory file's pages and an interrupt's route are
// the caller's before Close.
func (t *Table) Close(f *File) (buffer uintptr) {
	for f.watches != nil {
		removeWatch(f.watches)
	}
	t.wakeAll(f)
	switch f.Kind {
	case Memory:
		t.memory[(f.Data-t.windows)/Window] = nil
	case Epoll:
		for i := range t.watchTop {
			if w := &t.watches[i]; w.epoll == f {
				removeWatch(w)
			}
		}
	case PipeRead, PipeWrite:
		if f.peer == nil {
			buffer = f.Data
			break
		}
		f.peer.peer = nil
		t.notify(f.peer)
	}
	f.Kind = Free
	return buffer
}

// Fcntl is fcntl(2). Descriptor flags have no meaning without exec.
func (t *Table) Fcntl(fd, cmd int, arg uintptr) int64 {
	f := t.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	switch cmd {
	case linux.F_DUPFD, linux.F_DUPFD_CLOEXEC:
		return t.dup(f)
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

// dup duplicates a device; other files have state that cannot be shared.
func (t *Table) dup(f *File) int64 {
	if f.Kind != Serial && f.Kind != Null && f.Kind != Random {
		return -linux.EINVAL
	}
	n, fd := t.New(f.Kind)
	if n == nil {
		return -linux.EMFILE
	}
	n.port, n.flags = f.port, f.flags
	return int64(fd)
}

// Sizes of struct statfs and struct stat (asm/statfs.h, asm/stat.h) in bytes.
const (
	statfsSize = 120
	statSize   = 144
)

// Fstatfs writes struct statfs: the block size. There is no type to tell.
func (t *Table) Fstatfs(fd int, buf uintptr) int64 {
	if t.Find(fd) == nil {
		return -linux.EBADF
	}
	clear(raw.Bytes(buf, statfsSize))
	*raw.At[uint64](buf + 8) = pageSize // f_bsize
	return 0
}

// Fstat writes struct stat: type, size and block size are all that is asked
// for. pages is how many pages of a memory file have a page frame.
func (t *Table) Fstat(fd int, buf, pages uintptr) int64 {
	f := t.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	clear(raw.Bytes(buf, statSize))
	mode := uint32(linux.S_IFREG | 0o600)
	switch f.Kind {
	case Serial, Null, Random:
		mode = linux.S_IFCHR | 0o620
	case PipeRead, PipeWrite:
		mode = linux.S_IFIFO | 0o600
	}
	*raw.At[uint64](buf) = 1                                   // st_dev
	*raw.At[uint64](buf + 8) = uint64(fd) + 1                  // st_ino
	*raw.At[uint64](buf + 16) = 1                              // st_nlink
	*raw.At[uint32](buf + 24) = mode                           // st_mode
	*raw.At[uint64](buf + 48) = uint64(f.Size)                 // st_size
	*raw.At[uint64](buf + 56) = pageSize                       // st_blksize
	*raw.At[uint64](buf + 64) = uint64(pages) * pageSize / 512 // st_blocks
	return 0
}

// Lseek is lseek(2).
func (t *Table) Lseek(fd int, off int64, whence int) int64 {
	f := t.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	if !f.hasContents() {
		return -linux.ESPIPE
	}
	switch whence {
	case linux.SEEK_SET:
	case linux.SEEK_CUR:
		off += int64(f.off)
	case linux.SEEK_END:
		off += int64(f.Size)
	default:
		return -linux.EINVAL
	}
	if off < 0 {
		return -linux.EINVAL
	}
	f.off = uintptr(off)
	return off
}

// hasContents reports whether f is bytes in memory.
func (f *File) hasContents() bool { return f.Kind == Static || f.Kind == Memory }

// Ioctl is ioctl(2). TCGETS and TIOCGWINSZ tell a terminal; there is none.
func (t *Table) Ioctl(fd int) int64 {
	if t.Find(fd) == nil {
		return -linux.EBADF
	}
	return -linux.ENOTTY
}
