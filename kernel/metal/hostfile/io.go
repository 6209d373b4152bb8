package hostfile

import (
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/serial"
)

// Read is read(2). If there is nothing to read and the file may wait, w waits.
func (t *Table) Read(w *Waiter, fd int, buf, n uintptr) int64 {
	f := t.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	return f.orWait(w, t.read(f, raw.Bytes(buf, n)))
}

// Write is write(2). If there is no room and the file may wait, w waits.
func (t *Table) Write(w *Waiter, fd int, buf, n uintptr) int64 {
	f := t.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	return f.orWait(w, t.write(f, raw.Bytes(buf, n)))
}

// orWait returns the result of a call, or has w wait if that is -EAGAIN.
func (f *File) orWait(w *Waiter, res int64) int64 {
	if res != -linux.EAGAIN || f.flags&linux.O_NONBLOCK != 0 {
		return res
	}
	return f.wait(w, 0, 0)
}

// read reads what there is: a count, or a negative error, -EAGAIN if the caller
// should wait.
func (t *Table) read(f *File, p []byte) int64 {
	switch f.Kind {
	case Serial:
		return t.readSerial(f, p)
	case Null:
		return 0
	case Random:
		t.random.Fill(p)
		return int64(len(p))
	case Static, Memory:
		n := f.readAt(p, f.off)
		f.off += uintptr(n)
		return n
	case Event, Interrupt:
		if len(p) < 8 {
			return -linux.EINVAL
		}
		if f.count == 0 {
			return -linux.EAGAIN
		}
		*raw.At[uint64](raw.Addr(&p[0])) = f.count
		f.count = 0
		t.wakeAll(f) // a write may have waited for room
		return 8
	case PipeRead:
		return t.readPipe(f, p)
	}
	return -linux.EINVAL
}

// write writes what there is room for: a count, or a negative error, -EAGAIN if
// the caller should wait.
func (t *Table) write(f *File, p []byte) int64 {
	switch f.Kind {
	case Serial:
		f.port.Write(p)
		return int64(len(p))
	case Null, Random:
		return int64(len(p))
	case Memory:
		n := f.writeAt(p, f.off)
		if n > 0 {
			f.off += uintptr(n)
		}
		return n
	case Event:
		return t.writeEvent(f, p)
	case PipeWrite:
		return t.writePipe(f, p)
	}
	return -linux.EBADF
}

// readSerial reads input of a port, whose room may let in more.
func (t *Table) readSerial(f *File, p []byte) int64 {
	if f.flags&linux.O_ACCMODE == linux.O_WRONLY {
		return -linux.EBADF // the Sentry lets a program open its output for reading
	}
	n := f.port.Read(p)
	if n == 0 && len(p) > 0 {
		return -linux.EAGAIN
	}
	if n > 0 {
		t.Input(f.port)
	}
	return int64(n)
}

// Input takes what port received, and tells those who wait for it.
func (t *Table) Input(port *serial.Port) {
	if !port.Drain() {
		return
	}
	for fd := range t.files {
		if f := &t.files[fd]; f.Kind == Serial && f.port == port {
			t.notify(f)
		}
	}
}

// maxCount is the largest value of an eventfd's counter.
const maxCount = 1<<64 - 2

// writeEvent adds to an eventfd's counter.
func (t *Table) writeEvent(f *File, p []byte) int64 {
	if len(p) < 8 {
		return -linux.EINVAL
	}
	v := *raw.At[uint64](raw.Addr(&p[0]))
	switch {
	case v > maxCount:
		return -linux.EINVAL
	case v > maxCount-f.count:
		return -linux.EAGAIN
	}
	f.count += v
	t.notify(f)
	return 8
}

// Raise counts an interrupt of f.
func (t *Table) Raise(f *File) {
	f.count++
	t.notify(f)
}

// Pread is pread(2).
func (t *Table) Pread(fd int, buf, n, off uintptr) int64 {
	f := t.Find(fd)
	switch {
	case f == nil:
		return -linux.EBADF
	case !f.hasContents():
		return -linux.ESPIPE
	}
	return f.readAt(raw.Bytes(buf, n), off)
}

// Pwrite is pwrite(2).
func (t *Table) Pwrite(fd int, buf, n, off uintptr) int64 {
	f := t.Find(fd)
	switch {
	case f == nil:
		return -linux.EBADF
	case f.Kind != Memory:
		return -linux.ESPIPE
	}
	return f.writeAt(raw.Bytes(buf, n), off)
}

// readAt reads contents from an offset; it reads nothing behind their end.
func (f *File) readAt(p []byte, off uintptr) int64 {
	if off >= f.Size {
		return 0
	}
	return int64(copy(p, raw.Bytes(f.Data+off, f.Size-off)))
}

// writeAt writes contents of a memory file, which grows as needed.
func (f *File) writeAt(p []byte, off uintptr) int64 {
	n := uintptr(len(p))
	if n > Window || off > Window-n {
		return -linux.EINVAL
	}
	f.Size = max(f.Size, off+n)
	copy(raw.Bytes(f.Data+off, n), p)
	return int64(n)
}

// Vector is readv(2), writev(2) and their positional forms, by the number of
// the call. A vector that makes some progress and then would wait returns the
// progress.
func (t *Table) Vector(w *Waiter, nr uint64, fd int, iov, count uintptr, off int64) int64 {
	f := t.Find(fd)
	if f == nil {
		return -linux.EBADF
	}
	write := nr == linux.SYS_WRITEV || nr == linux.SYS_PWRITEV || nr == linux.SYS_PWRITEV2
	positional := nr != linux.SYS_READV && nr != linux.SYS_WRITEV
	if (nr == linux.SYS_PREADV2 || nr == linux.SYS_PWRITEV2) && off == -1 {
		positional = false
	}
	if positional && !f.hasContents() {
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
		case write && positional && f.Kind == Memory:
			res = f.writeAt(p, uintptr(off+total))
		case write:
			res = t.write(f, p)
		case positional:
			res = f.readAt(p, uintptr(off+total))
		default:
			res = t.read(f, p)
		}
		if res < 0 {
			if total > 0 {
				return total
			}
			return f.orWait(w, res)
		}
		total += res
		if uintptr(res) < v[1] {
			break
		}
	}
	return total
}

// Eventfd is eventfd2(2).
func (t *Table) Eventfd(count uint64, flags int) int64 {
	f, fd := t.New(Event)
	if f == nil {
		return -linux.EMFILE
	}
	f.count = count
	f.flags |= flags & linux.O_NONBLOCK
	return int64(fd)
}
