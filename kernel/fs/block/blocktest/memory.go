// Package blocktest has block devices for tests: in memory, in a file, and a
// model of a disk that loses power.
//
// Context: any goroutine; methods may be called concurrently.
package blocktest

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"kiln/kernel/fs/block"
)

// chunk is the granularity of Memory: bytes.
const chunk = 4096

// Memory is a device in memory. Parts that were never written, or are zero,
// take no room.
type Memory struct {
	sector   int
	size     int64
	readOnly bool

	mu     sync.RWMutex
	chunks map[int64][]byte // by offset/chunk; never changed in place while shared. Guarded by mu
}

var _ block.Device = (*Memory)(nil)

// NewMemory returns a device of size bytes, all zero.
func NewMemory(size int64, sector int) *Memory {
	return &Memory{sector: sector, size: size, chunks: make(map[int64][]byte)}
}

// Load returns a device with the content of a file.
func Load(name string, sector int) (*Memory, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m := NewMemory(st.Size(), sector)
	buf := make([]byte, chunk)
	for off := int64(0); off < m.size; {
		// Images are sparse: skip what is a hole.
		next, err := syscall.Seek(int(f.Fd()), off, seekData)
		if err == syscall.ENXIO {
			break
		} else if err == nil && next > off {
			off = next / chunk * chunk
		}
		n, err := f.ReadAt(buf[:min(chunk, m.size-off)], off)
		if err != nil && err != io.EOF {
			return nil, err
		}
		m.put(buf[:n], off)
		off += int64(n)
	}
	return m, nil
}

const seekData = 3 // SEEK_DATA of lseek(2)

// Save writes the device's content to a file, with holes where it is zero.
func (m *Memory) Save(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(m.size); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i, c := range m.chunks {
		if _, err := f.WriteAt(c[:min(chunk, m.size-i*chunk)], i*chunk); err != nil {
			return err
		}
	}
	return f.Close()
}

// Clone returns a copy that changes independently.
func (m *Memory) Clone() *Memory {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := NewMemory(m.size, m.sector)
	c.readOnly = m.readOnly
	for i, b := range m.chunks {
		c.chunks[i] = b // put replaces chunks, it does not change them
	}
	return c
}

// SetReadOnly makes changes fail with EROFS.
func (m *Memory) SetReadOnly(ro bool) { m.readOnly = ro }

func (m *Memory) SectorSize() int { return m.sector }
func (m *Memory) Size() int64     { return m.size }
func (m *Memory) ReadOnly() bool  { return m.readOnly }
func (m *Memory) Flush() error    { return nil }

// checkRange checks a request as a device does.
func checkRange(d block.Device, off, length int64) error {
	ss := int64(d.SectorSize())
	if off < 0 || length < 0 || off%ss != 0 || length%ss != 0 || off > d.Size() || length > d.Size()-off {
		return fmt.Errorf("request for %d bytes at %d of %d, sectors of %d: %w", length, off, d.Size(), ss, syscall.EINVAL)
	}
	return nil
}

func checkWrite(d block.Device, off, length int64) error {
	if d.ReadOnly() {
		return syscall.EROFS
	}
	return checkRange(d, off, length)
}

func (m *Memory) ReadAt(p []byte, off int64) error {
	if err := checkRange(m, off, int64(len(p))); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for len(p) > 0 {
		skip := off % chunk
		n := min(len(p), int(chunk-skip))
		if c := m.chunks[off/chunk]; c != nil {
			copy(p[:n], c[skip:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (m *Memory) WriteAt(p []byte, off int64) error {
	if err := checkWrite(m, off, int64(len(p))); err != nil {
		return err
	}
	m.put(p, off)
	return nil
}

func (m *Memory) put(p []byte, off int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(p) > 0 {
		skip := off % chunk
		n := min(len(p), int(chunk-skip))
		c := make([]byte, chunk)
		if old := m.chunks[off/chunk]; old != nil && n < chunk {
			copy(c, old)
		}
		copy(c[skip:], p[:n])
		if zero(c) {
			delete(m.chunks, off/chunk)
		} else {
			m.chunks[off/chunk] = c
		}
		p, off = p[n:], off+int64(n)
	}
}

func zero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// Discard fills with bytes that no one wants to see again.
func (m *Memory) Discard(off, length int64) error {
	if err := checkWrite(m, off, length); err != nil {
		return err
	}
	junk := make([]byte, chunk)
	for i := range junk {
		junk[i] = 0xdb
	}
	for length > 0 {
		n := min(length, chunk-off%chunk)
		m.put(junk[:n], off)
		off, length = off+n, length-n
	}
	return nil
}

func (m *Memory) WriteZeroes(off, length int64) error {
	if err := checkWrite(m, off, length); err != nil {
		return err
	}
	zeros := make([]byte, chunk)
	for length > 0 {
		n := min(length, chunk-off%chunk)
		m.put(zeros[:n], off)
		off, length = off+n, length-n
	}
	return nil
}
