package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"kiln/kernel/fs/block"
)

// sectorSize is that of the disks that kiln run makes of files: bytes.
const sectorSize = 512

// A snapshot is a disk whose content is a file that is only read. Changes, such
// as the replay of a journal, stay in memory.
type snapshot struct {
	f    *os.File
	size int64 // bytes

	mu      sync.Mutex
	changed map[int64][]byte // guarded by mu: sectors by number
}

var _ block.Device = (*snapshot)(nil)

func newSnapshot(f *os.File) (*snapshot, error) {
	size, err := f.Seek(0, io.SeekEnd) // right for block devices, too
	if err != nil {
		return nil, err
	}
	return &snapshot{f: f, size: size / sectorSize * sectorSize, changed: make(map[int64][]byte)}, nil
}

func (s *snapshot) SectorSize() int { return sectorSize }
func (s *snapshot) Size() int64     { return s.size }
func (s *snapshot) ReadOnly() bool  { return false }
func (s *snapshot) Flush() error    { return nil }

// check returns EINVAL for a range that is not of the disk's sectors.
func (s *snapshot) check(off, length int64) error {
	if off < 0 || length < 0 || off%sectorSize != 0 || length%sectorSize != 0 || off > s.size-length {
		return fmt.Errorf("%d bytes at %d of a disk of %d: %w", length, off, s.size, syscall.EINVAL)
	}
	return nil
}

func (s *snapshot) ReadAt(p []byte, off int64) error {
	if err := s.check(off, int64(len(p))); err != nil {
		return err
	}
	if _, err := s.f.ReadAt(p, off); err != nil {
		if _, ok := errors.AsType[syscall.Errno](err); ok {
			return err
		}
		return fmt.Errorf("%w: %w", err, syscall.EIO) // the file became shorter
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.changed) == 0 {
		return nil
	}
	for i := 0; i < len(p); i += sectorSize {
		if b, ok := s.changed[off/sectorSize+int64(i/sectorSize)]; ok {
			copy(p[i:], b)
		}
	}
	return nil
}

func (s *snapshot) WriteAt(p []byte, off int64) error {
	if err := s.check(off, int64(len(p))); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(p); i += sectorSize {
		s.changed[off/sectorSize+int64(i/sectorSize)] = append([]byte(nil), p[i:i+sectorSize]...)
	}
	return nil
}

// Discard does nothing, which its contract allows.
func (s *snapshot) Discard(off, length int64) error { return s.check(off, length) }

func (s *snapshot) WriteZeroes(off, length int64) error {
	if err := s.check(off, length); err != nil {
		return err
	}
	zero := make([]byte, sectorSize)
	for end := off + length; off < end; off += sectorSize {
		if err := s.WriteAt(zero, off); err != nil {
			return err
		}
	}
	return nil
}
