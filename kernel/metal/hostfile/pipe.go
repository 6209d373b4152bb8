package hostfile

import (
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

// A pipe's state (off, count) is kept by its read end; a closed end is nil in
// the other's peer. The end that is closed last leaves the buffer.

// Pipe is pipe2(2) with a buffer of PipeCapacity bytes, which is the pipe's if
// the result is 0. The two descriptors go to fds.
func (t *Table) Pipe(buffer, fds uintptr, flags int) int64 {
	r, rfd := t.New(PipeRead)
	if r == nil {
		return -linux.EMFILE
	}
	w, wfd := t.New(PipeWrite)
	if w == nil {
		r.Kind = Free
		return -linux.EMFILE
	}
	r.Data, r.flags, r.peer = buffer, flags&linux.O_NONBLOCK, w
	w.Data, w.flags, w.peer = buffer, flags&linux.O_NONBLOCK|linux.O_WRONLY, r
	*raw.At[[2]int32](fds) = [2]int32{int32(rfd), int32(wfd)}
	return 0
}

// readPipe reads what is in a pipe, -EAGAIN if nothing is and a writer is left.
func (t *Table) readPipe(r *File, p []byte) int64 {
	if r.count == 0 {
		if r.peer == nil || len(p) == 0 {
			return 0
		}
		return -linux.EAGAIN
	}
	n := min(uintptr(len(p)), uintptr(r.count))
	first := min(n, PipeCapacity-r.off) // up to the buffer's end
	copy(p, raw.Bytes(r.Data+r.off, first))
	copy(p[first:], raw.Bytes(r.Data, n-first))
	r.off = (r.off + n) % PipeCapacity
	r.count -= uint64(n)
	if r.peer != nil {
		t.notify(r.peer)
	}
	return int64(n)
}

// writePipe writes what there is room for, -EAGAIN if for nothing.
func (t *Table) writePipe(w *File, p []byte) int64 {
	r := w.peer
	if r == nil {
		return -linux.EPIPE
	}
	n := min(uintptr(len(p)), PipeCapacity-uintptr(r.count))
	if n == 0 {
		if len(p) == 0 {
			return 0
		}
		return -linux.EAGAIN
	}
	end := (r.off + uintptr(r.count)) % PipeCapacity
	first := min(n, PipeCapacity-end)
	copy(raw.Bytes(r.Data+end, first), p)
	copy(raw.Bytes(r.Data, n-first), p[first:n])
	r.count += uint64(n)
	t.notify(r)
	return int64(n)
}
