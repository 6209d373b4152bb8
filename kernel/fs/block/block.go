// Package block is what file systems ask of a block device.
package block

// A Device is a disk with a volatile write cache: what was written is durable
// once a Flush that began afterwards has returned. Offsets and lengths are
// multiples of the sector size; buffers need no alignment.
//
// Methods may be called concurrently, and requests complete in any order: a
// caller that needs order waits. Errors are syscall.Errno values, wrapped: EIO
// if the device failed, EROFS for a change to a read-only device, ENOSPC if a
// thin device is full, EINVAL for a range outside of the device.
type Device interface {
	SectorSize() int // bytes: 512 or 4096
	Size() int64     // bytes
	ReadOnly() bool

	ReadAt(p []byte, off int64) error
	WriteAt(p []byte, off int64) error
	Flush() error
	// Discard tells that the content of a range does not matter any more. A
	// device without it does nothing.
	Discard(off, length int64) error
	// WriteZeroes fills a range with zeros.
	WriteZeroes(off, length int64) error
}
