package main

import (
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
)

func hostRead(t *thread, fd int, buf, n uintptr) int64 {
	f := findFile(fd)
	if f == nil {
		return -eBADF
	}
	res := readFile(f, bytesAt(buf, n))
	if res != -eAGAIN || f.flags&oNonblock != 0 {
		return res
	}
	return waitFor(t, f, waitRead)
}

func hostWrite(t *thread, fd int, buf, n uintptr) int64 {
	f := findFile(fd)
	if f == nil {
		return -eBADF
	}
	res := writeFile(f, bytesAt(buf, n))
	if res != -eAGAIN || f.flags&oNonblock != 0 {
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
		if f.flags&oAccmode == oWronly {
			return -eBADF // the Sentry lets a program open its output for reading
		}
		if n := f.serial.read(p); n > 0 || len(p) == 0 {
			return int64(n)
		}
		return -eAGAIN
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
			return -eINVAL
		}
		if f.count == 0 {
			return -eAGAIN
		}
		*at[uint64](addrOf(&p[0])) = f.count
		f.count = 0
		return 8
	case filePipeRead:
		return readPipe(f, p)
	}
	return -eINVAL
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
			return -eINVAL
		}
		v := *at[uint64](addrOf(&p[0]))
		if v > 1<<64-2-f.count {
			return -eAGAIN
		}
		f.count += v
		fileReady(f)
		return 8
	case filePipeWrite:
		return writePipe(f, p)
	}
	return -eBADF
}

func hostPread(fd int, buf, n, off uintptr) int64 {
	f := findFile(fd)
	switch {
	case f == nil:
		return -eBADF
	case f.kind != fileStatic && f.kind != fileMemfd:
		return -eSPIPE
	}
	return readAt(f, bytesAt(buf, n), off)
}

func hostPwrite(fd int, buf, n, off uintptr) int64 {
	f := findFile(fd)
	switch {
	case f == nil:
		return -eBADF
	case f.kind != fileMemfd:
		return -eSPIPE
	}
	return writeAt(f, bytesAt(buf, n), off)
}

func readAt(f *file, p []byte, off uintptr) int64 {
	if off >= f.size {
		return 0
	}
	n := min(uintptr(len(p)), f.size-off)
	copy(p, bytesAt(f.data+off, n))
	return int64(n)
}

func writeAt(f *file, p []byte, off uintptr) int64 {
	if off+uintptr(len(p)) > memfdWindow {
		return -eINVAL
	}
	f.size = max(f.size, off+uintptr(len(p)))
	copy(bytesAt(f.data+off, uintptr(len(p))), p)
	return int64(len(p))
}

// hostVector answers readv, writev and their positional forms. A vector that
// makes some progress and then would block returns the progress.
func hostVector(t *thread, nr uint64, fd int, iov, count uintptr, off int64) int64 {
	f := findFile(fd)
	if f == nil {
		return -eBADF
	}
	write := nr == 20 || nr == 296 || nr == 328
	positional := nr != 19 && nr != 20
	if (nr == 327 || nr == 328) && off == -1 {
		positional = false
	}
	if positional && f.kind != fileStatic && f.kind != fileMemfd {
		return -eSPIPE
	}
	total := int64(0)
	for i := range count {
		v := *at[[2]uintptr](iov + 16*i)
		if v[1] == 0 {
			continue
		}
		p := bytesAt(v[0], v[1])
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
			if res == -eAGAIN && f.flags&oNonblock == 0 {
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
		return -eMFILE
	}
	f.count = count
	f.flags |= flags & oNonblock
	return int64(fd)
}

// hostPipe writes the two descriptors to fds.
func hostPipe(fds uintptr, flags int) int64 {
	r, rfd := newFile(filePipeRead)
	if r == nil {
		return -eMFILE
	}
	w, wfd := newFile(filePipeWrite)
	buf := allocPages(pipeOrder)
	if w == nil || buf == 0 {
		r.kind = fileFree
		if w != nil {
			w.kind = fileFree
		}
		return -eMFILE
	}
	r.data, r.flags, r.peer = buf, flags&oNonblock, w
	w.data, w.flags, w.peer = buf, flags&oNonblock|1, r
	*at[[2]int32](fds) = [2]int32{int32(rfd), int32(wfd)}
	return 0
}

// A pipe's state (off, count) is kept by its read end; a closed end is nil in
// the other's peer.

func readPipe(r *file, p []byte) int64 {
	if r.count == 0 {
		if r.peer == nil {
			return 0
		}
		return -eAGAIN
	}
	n := min(uintptr(len(p)), uintptr(r.count))
	for i := range n {
		p[i] = *at[byte](r.data + (r.off+i)%pipeCapacity)
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
		return -ePIPE
	}
	n := min(uintptr(len(p)), pipeCapacity-uintptr(r.count))
	if n == 0 && len(p) > 0 {
		return -eAGAIN
	}
	for i := range n {
		*at[byte](r.data + (r.off+uintptr(r.count)+i)%pipeCapacity) = p[i]
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
	fillRandom(bytesAt(buf, n))
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
