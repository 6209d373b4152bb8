package main

import (
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

func hostRead(t *thread, fd int, buf, n uintptr) int64 {
	f := findFile(fd)
	if f == nil {
		return -linux.EBADF
	}
	res := readFile(f, raw.Bytes(buf, n))
	if res != -linux.EAGAIN || f.flags&linux.O_NONBLOCK != 0 {
		return res
	}
	return waitFor(t, f, waitRead)
}

func hostWrite(t *thread, fd int, buf, n uintptr) int64 {
	f := findFile(fd)
	if f == nil {
		return -linux.EBADF
	}
	res := writeFile(f, raw.Bytes(buf, n))
	if res != -linux.EAGAIN || f.flags&linux.O_NONBLOCK != 0 {
		return res
	}
	return waitFor(t, f, waitWrite)
}

// waitFor blocks t until f is ready, and then has it make its call again.
func waitFor(t *thread, f *file, wait int32) int64 {
	t.waitFile = f
	block(t, wait, 0)
	return blocked
}

// syscallLength is the length of the SYSCALL instruction.
const syscallLength = 2

// restart makes a blocked thread repeat its hostcall.
func restart(t *thread) {
	t.regs.RIP -= syscallLength
	ready(t, int64(t.regs.OrigRAX))
}

// readFile reads what there is: a count, or a negative error, -EAGAIN if the
// caller should wait.
func readFile(f *file, p []byte) int64 {
	switch f.kind {
	case fileSerial:
		if f.flags&linux.O_ACCMODE == linux.O_WRONLY {
			return -linux.EBADF // the Sentry lets a program open its output for reading
		}
		if n := f.serial.read(p); n > 0 || len(p) == 0 {
			return int64(n)
		}
		return -linux.EAGAIN
	case fileNull:
		return 0
	case fileRandom:
		fillRandom(p)
		return int64(len(p))
	case fileStatic, fileMemfd:
		n := readAt(f, p, f.off)
		f.off += uintptr(n)
		return n
	case fileEvent, fileIRQ:
		if len(p) < 8 {
			return -linux.EINVAL
		}
		if f.count == 0 {
			return -linux.EAGAIN
		}
		*raw.At[uint64](raw.Addr(&p[0])) = f.count
		f.count = 0
		return 8
	case filePipeRead:
		return readPipe(f, p)
	}
	return -linux.EINVAL
}

func writeFile(f *file, p []byte) int64 {
	switch f.kind {
	case fileSerial:
		f.serial.write(p)
		return int64(len(p))
	case fileNull, fileRandom:
		return int64(len(p))
	case fileMemfd:
		n := writeAt(f, p, f.off)
		f.off += uintptr(n)
		return n
	case fileEvent:
		if len(p) < 8 {
			return -linux.EINVAL
		}
		v := *raw.At[uint64](raw.Addr(&p[0]))
		if v > 1<<64-2-f.count {
			return -linux.EAGAIN
		}
		f.count += v
		fileReady(f)
		return 8
	case filePipeWrite:
		return writePipe(f, p)
	}
	return -linux.EBADF
}

func hostPread(fd int, buf, n, off uintptr) int64 {
	f := findFile(fd)
	switch {
	case f == nil:
		return -linux.EBADF
	case f.kind != fileStatic && f.kind != fileMemfd:
		return -linux.ESPIPE
	}
	return readAt(f, raw.Bytes(buf, n), off)
}

func hostPwrite(fd int, buf, n, off uintptr) int64 {
	f := findFile(fd)
	switch {
	case f == nil:
		return -linux.EBADF
	case f.kind != fileMemfd:
		return -linux.ESPIPE
	}
	return writeAt(f, raw.Bytes(buf, n), off)
}

func readAt(f *file, p []byte, off uintptr) int64 {
	if off >= f.size {
		return 0
	}
	n := min(uintptr(len(p)), f.size-off)
	copy(p, raw.Bytes(f.data+off, n))
	return int64(n)
}

func writeAt(f *file, p []byte, off uintptr) int64 {
	if off+uintptr(len(p)) > memfdWindow {
		return -linux.EINVAL
	}
	f.size = max(f.size, off+uintptr(len(p)))
	copy(raw.Bytes(f.data+off, uintptr(len(p))), p)
	return int64(len(p))
}

// hostVector answers readv, writev and their positional forms. A vector that
// makes some progress and then would block returns the progress.
func hostVector(t *thread, nr uint64, fd int, iov, count uintptr, off int64) int64 {
	f := findFile(fd)
	if f == nil {
		return -linux.EBADF
	}
	write := nr == linux.SYS_WRITEV || nr == linux.SYS_PWRITEV || nr == linux.SYS_PWRITEV2
	positional := nr != linux.SYS_READV && nr != linux.SYS_WRITEV
	if (nr == linux.SYS_PREADV2 || nr == linux.SYS_PWRITEV2) && off == -1 {
		positional = false
	}
	if positional && f.kind != fileStatic && f.kind != fileMemfd {
		return -linux.ESPIPE
	}
	total := int64(0)
	for i := range count {
		v := *raw.At[[2]uintptr](iov + 16*i)
		if v[1] == 0 {
			continue
		}
		p := raw.Bytes(v[0], v[1])
		var res int64
		switch {
		case write && positional && f.kind == fileMemfd:
			res = writeAt(f, p, uintptr(off+total))
		case write:
			res = writeFile(f, p)
		case positional:
			res = readAt(f, p, uintptr(off+total))
		default:
			res = readFile(f, p)
		}
		if res < 0 {
			if total > 0 {
				return total
			}
			if res == -linux.EAGAIN && f.flags&linux.O_NONBLOCK == 0 {
				if write {
					return waitFor(t, f, waitWrite)
				}
				return waitFor(t, f, waitRead)
			}
			return res
		}
		total += res
		if uintptr(res) < v[1] {
			break
		}
	}
	return total
}

func hostEventfd(count uint64, flags int) int64 {
	f, fd := newFile(fileEvent)
	if f == nil {
		return -linux.EMFILE
	}
	f.count = count
	f.flags |= flags & linux.O_NONBLOCK
	return int64(fd)
}

// hostPipe writes the two descriptors to fds.
func hostPipe(fds uintptr, flags int) int64 {
	r, rfd := newFile(filePipeRead)
	if r == nil {
		return -linux.EMFILE
	}
	w, wfd := newFile(filePipeWrite)
	buf := allocPages(pipeOrder)
	if w == nil || buf == 0 {
		r.kind = fileFree
		if w != nil {
			w.kind = fileFree
		}
		return -linux.EMFILE
	}
	r.data, r.flags, r.peer = buf, flags&linux.O_NONBLOCK, w
	w.data, w.flags, w.peer = buf, flags&linux.O_NONBLOCK|linux.O_WRONLY, r
	*raw.At[[2]int32](fds) = [2]int32{int32(rfd), int32(wfd)}
	return 0
}

// A pipe's state (off, count) is kept by its read end; a closed end is nil in
// the other's peer.

func readPipe(r *file, p []byte) int64 {
	if r.count == 0 {
		if r.peer == nil {
			return 0
		}
		return -linux.EAGAIN
	}
	n := min(uintptr(len(p)), uintptr(r.count))
	for i := range n {
		p[i] = *raw.At[byte](r.data + (r.off+i)%pipeCapacity)
	}
	r.off = (r.off + n) % pipeCapacity
	r.count -= uint64(n)
	if r.peer != nil {
		fileReady(r.peer)
	}
	return int64(n)
}

func writePipe(w *file, p []byte) int64 {
	r := w.peer
	if r == nil {
		return -linux.EPIPE
	}
	n := min(uintptr(len(p)), pipeCapacity-uintptr(r.count))
	if n == 0 && len(p) > 0 {
		return -linux.EAGAIN
	}
	for i := range n {
		*raw.At[byte](r.data + (r.off+uintptr(r.count)+i)%pipeCapacity) = p[i]
	}
	r.count += uint64(n)
	fileReady(r)
	return int64(n)
}

func closePipe(f *file) {
	if f.peer != nil {
		f.peer.peer = nil
		fileReady(f.peer)
		return
	}
	frames.Free(frame.Addr(f.data-directMap), pipeOrder)
}

// hostGetrandom fills a buffer.
func hostGetrandom(buf, n uintptr) int64 {
	fillRandom(raw.Bytes(buf, n))
	return int64(n)
}

func fillRandom(p []byte) {
	for len(p) > 0 {
		w := randomWord()
		for i := 0; i < 8 && len(p) > 0; i++ {
			p[0] = byte(w)
			w >>= 8
			p = p[1:]
		}
	}
}

// haveRDRAND says that the CPU has the instruction; initCPU finds out. Asking
// each time would be slow: a hypervisor intercepts CPUID.
var haveRDRAND bool

// randomState is the state of a xorshift generator that whitens the time
// stamp counter where the CPU has no RDRAND.
var randomState uint64

// randomWord returns 64 bits from RDRAND, or, where there is none, bits that
// only the jitter of the time stamp counter makes hard to guess.
func randomWord() uint64 {
	if haveRDRAND {
		if v, ok := cpu.Random(); ok {
			return v
		}
	}
	for range 16 {
		randomState ^= cpu.TSC()
		randomState ^= randomState << 13
		randomState ^= randomState >> 7
		randomState ^= randomState << 17
	}
	return randomState
}
