package blocktest

import (
	"os"
	"syscall"

	"kiln/kernel/fs/block"
)

// File is a device in a file of the host.
type File struct {
	f      *os.File
	sector int
	size   int64
}

var _ block.Device = (*File)(nil)

// OpenFile opens an image. The caller closes it.
func OpenFile(name string, sector int) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{f: f, sector: sector, size: st.Size() / int64(sector) * int64(sector)}, nil
}

// Close closes the file.
func (d *File) Close() error { return d.f.Close() }

func (d *File) SectorSize() int { return d.sector }
func (d *File) Size() int64     { return d.size }
func (d *File) ReadOnly() bool  { return false }
func (d *File) Flush() error    { return nil }

func (d *File) ReadAt(p []byte, off int64) error {
	if err := checkRange(d, off, int64(len(p))); err != nil {
		return err
	}
	_, err := d.f.ReadAt(p, off)
	return err
}

func (d *File) WriteAt(p []byte, off int64) error {
	if err := checkWrite(d, off, int64(len(p))); err != nil {
		return err
	}
	_, err := d.f.WriteAt(p, off)
	return err
}

// Discard makes a hole.
func (d *File) Discard(off, length int64) error { return d.WriteZeroes(off, length) }

func (d *File) WriteZeroes(off, length int64) error {
	if err := checkWrite(d, off, length); err != nil {
		return err
	}
	const keepSize, punch = 1, 2 // fallocate(2)
	return syscall.Fallocate(int(d.f.Fd()), keepSize|punch, off, length)
}
