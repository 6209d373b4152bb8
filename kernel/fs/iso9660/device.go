package iso9660

import (
	"fmt"
	"syscall"
)

// read fills p from the device's offset off, which need not be at a sector:
// logical blocks are half a sector of a device with 4096-byte sectors.
func (f *FS) read(p []byte, off int64) error {
	if off < 0 || off > f.dev.Size() || int64(len(p)) > f.dev.Size()-off {
		return fmt.Errorf("%d bytes at %#x are past the end of the device: %w", len(p), off, syscall.EIO)
	}
	sector := int64(f.dev.SectorSize())
	for len(p) > 0 {
		inside := off % sector
		if whole := int64(len(p)) / sector * sector; inside == 0 && whole > 0 {
			if err := f.dev.ReadAt(p[:whole], off); err != nil {
				return err
			}
			p, off = p[whole:], off+whole
			continue
		}
		buf := make([]byte, sector)
		if err := f.dev.ReadAt(buf, off-inside); err != nil {
			return err
		}
		n := copy(p, buf[inside:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// An extent is a run of logical blocks that are one file section, or one
// directory, ECMA-119 §6.4.
type extent struct {
	block uint32 // first logical block
	size  uint32 // bytes
}

// off is where the extent lies on the device.
func (e extent) off() int64 { return int64(e.block) * sectorSize }

// fits tells whether the extent lies on the device.
func (f *FS) fits(e extent) bool {
	return e.off()+int64(e.size) <= f.dev.Size()
}
