package blocktest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"

	"kiln/kernel/fs/block"
)

// Volatile is a disk with a volatile write cache. It keeps what was written
// since the last flush apart, and Cut makes of it one of the states that a
// disk may be in after its power went.
type Volatile struct {
	mu      sync.Mutex
	stable  *Memory // what a flush has made durable. Guarded by mu
	view    *Memory // what reads see. Guarded by mu
	pending []write // since the last flush, in order. Guarded by mu
	writes  int     // so far. Guarded by mu
	flushes int     // so far. Guarded by mu

	// Fault, if set, is asked before each request and may make it fail. op is
	// "read", "write" or "flush".
	Fault func(op string, off, length int64) error
	// Step, if set, is called after each write and flush, without locks.
	Step func(writes int)
}

type write struct {
	off  int64
	data []byte
}

var _ block.Device = (*Volatile)(nil)

// NewVolatile returns a disk that begins with m's content; m must not be
// changed after.
func NewVolatile(m *Memory) *Volatile {
	return &Volatile{stable: m.Clone(), view: m.Clone()}
}

func (v *Volatile) SectorSize() int { return v.view.sector }
func (v *Volatile) Size() int64     { return v.view.size }
func (v *Volatile) ReadOnly() bool  { return v.view.readOnly }

func (v *Volatile) fault(op string, off, length int64) error {
	if v.Fault == nil {
		return nil
	}
	return v.Fault(op, off, length)
}

func (v *Volatile) ReadAt(p []byte, off int64) error {
	if err := v.fault("read", off, int64(len(p))); err != nil {
		return err
	}
	return v.view.ReadAt(p, off)
}

func (v *Volatile) WriteAt(p []byte, off int64) error {
	if err := v.fault("write", off, int64(len(p))); err != nil {
		return err
	}
	v.mu.Lock()
	if err := v.view.WriteAt(p, off); err != nil {
		v.mu.Unlock()
		return err
	}
	v.pending = append(v.pending, write{off, append([]byte(nil), p...)})
	v.writes++
	n := v.writes
	v.mu.Unlock()
	v.step(n)
	return nil
}

func (v *Volatile) step(n int) {
	if v.Step != nil {
		v.Step(n)
	}
}

// Flush makes durable what was written before it.
func (v *Volatile) Flush() error {
	if err := v.fault("flush", 0, 0); err != nil {
		return err
	}
	v.mu.Lock()
	for _, w := range v.pending {
		v.stable.put(w.data, w.off)
	}
	v.pending = nil
	v.flushes++
	n := v.writes
	v.mu.Unlock()
	v.step(n)
	return nil
}

// Counts returns how many writes and flushes there have been.
func (v *Volatile) Counts() (writes, flushes int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.writes, v.flushes
}

// Discard does nothing: a disk may ignore it.
func (v *Volatile) Discard(off, length int64) error { return checkWrite(v, off, length) }

func (v *Volatile) WriteZeroes(off, length int64) error {
	return v.WriteAt(make([]byte, length), off)
}

// Cut returns what a disk may hold if the power goes now: what was flushed,
// and of each later write nothing, everything, or some of its sectors, in any
// order. The disk itself goes on. Without r, only what was flushed is left.
func (v *Volatile) Cut(r *rand.Rand) *Memory {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.stable.Clone()
	if r == nil {
		return m
	}
	order := r.Perm(len(v.pending))
	style := r.IntN(5)
	if style == 1 {
		slices.Sort(order)
	}
	for _, i := range order {
		w := v.pending[i]
		switch style {
		case 0: // all lost
		case 1: // all kept
			m.put(w.data, w.off)
		case 2: // each write kept or lost as a whole
			if r.IntN(2) == 0 {
				m.put(w.data, w.off)
			}
		default:
			tear(m, w, v.view.sector, r)
		}
	}
	return m
}

// tear writes some runs of w's sectors to m.
func tear(m *Memory, w write, sector int, r *rand.Rand) {
	keep := r.IntN(2) == 0
	for at := 0; at < len(w.data); at += sector {
		if r.IntN(4) == 0 {
			keep = !keep
		}
		if keep {
			m.put(w.data[at:at+sector], w.off+int64(at))
		}
	}
}

// EIO is a Fault that fails requests of op that touch the range, from the
// moment that armed returns true.
func EIO(op string, off, length int64, armed func() bool) func(string, int64, int64) error {
	return func(o string, at, n int64) error {
		if o == op && at < off+length && off < at+n && armed() {
			return syscall.EIO
		}
		return nil
	}
}
