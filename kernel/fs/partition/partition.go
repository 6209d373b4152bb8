// Package partition finds the partitions of a disk with a GUID partition table
// (UEFI 2.10 §5.3), and makes block devices of them.
//
// Nothing in the table is trusted: what does not check out is an error, and a
// table's size is bounded.
package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"syscall"

	"kiln/kernel/fs/block"
)

// A Partition is a part of a disk. It is a block.Device of its own.
type Partition struct {
	block.Device // the disk

	Number int    // from 1, its place in the table
	GUID   string // of this one, lower case
	start  int64  // bytes
	size   int64
}

var _ block.Device = (*Partition)(nil)

// Bounds of a table. Every program that makes one gives it 128 entries of 128
// bytes.
const (
	maxEntries   = 1024
	minEntrySize = 128
	maxEntrySize = 4096
)

// signature begins a table's header.
const signature = "EFI PART"

// Read returns the partitions of dev in the order of its table, and none if it
// has no such table. Of a damaged one the copy at the disk's end is read.
func Read(dev block.Device) ([]*Partition, error) {
	sector := int64(dev.SectorSize())
	sectors := dev.Size() / sector
	if sectors < 4 {
		return nil, nil
	}
	parts, err := readTable(dev, 1)
	if err == nil || errors.Is(err, errNone) {
		return parts, nil
	}
	if parts, second := readTable(dev, sectors-1); second == nil {
		return parts, nil
	}
	return nil, fmt.Errorf("partition table: %w", err)
}

// errNone says that there is no table.
var errNone = errors.New("none")

// readTable reads the table whose header is in a sector.
func readTable(dev block.Device, at int64) ([]*Partition, error) {
	sector := int64(dev.SectorSize())
	h := make([]byte, sector)
	if err := dev.ReadAt(h, at*sector); err != nil {
		return nil, err
	}
	if string(h[:len(signature)]) != signature {
		return nil, errNone
	}
	le := binary.LittleEndian
	size, sum := le.Uint32(h[12:]), le.Uint32(h[16:])
	if size < 92 || int64(size) > sector {
		return nil, fmt.Errorf("a header of %d bytes", size)
	}
	clear(h[16:20])
	if crc32.ChecksumIEEE(h[:size]) != sum || le.Uint64(h[24:]) != uint64(at) {
		return nil, errors.New("the header is damaged")
	}
	first, last := le.Uint64(h[40:]), le.Uint64(h[48:])
	table, count, entry := le.Uint64(h[72:]), le.Uint32(h[80:]), le.Uint32(h[84:])
	if count > maxEntries || entry < minEntrySize || entry > maxEntrySize || entry%8 != 0 {
		return nil, fmt.Errorf("%d entries of %d bytes", count, entry)
	}
	sectors := uint64(dev.Size() / sector)
	length := (uint64(count)*uint64(entry) + uint64(sector) - 1) / uint64(sector)
	if first > last || last >= sectors || table >= sectors || length > sectors-table {
		return nil, errors.New("it is for a larger disk")
	}
	b := make([]byte, length*uint64(sector))
	if err := dev.ReadAt(b, int64(table)*sector); err != nil {
		return nil, err
	}
	b = b[:count*entry]
	if crc32.ChecksumIEEE(b) != le.Uint32(h[88:]) {
		return nil, errors.New("the entries are damaged")
	}
	var parts []*Partition
	for i := range int(count) {
		e := b[i*int(entry):]
		if [16]byte(e) == ([16]byte{}) {
			continue // unused
		}
		begin, end := le.Uint64(e[32:]), le.Uint64(e[40:])
		if begin < first || begin > end || end > last {
			return nil, fmt.Errorf("partition %d is outside of the disk", i+1)
		}
		parts = append(parts, &Partition{
			Device: dev, Number: i + 1, GUID: guid([16]byte(e[16:])),
			start: int64(begin) * sector, size: int64(end-begin+1) * sector,
		})
	}
	return parts, nil
}

// guid formats a GUID, whose first three fields are little-endian (UEFI 2.10,
// appendix A).
func guid(b [16]byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", le.Uint32(b[:]), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:])
}

// Size implements block.Device.
func (p *Partition) Size() int64 { return p.size }

// ReadAt implements block.Device.
func (p *Partition) ReadAt(b []byte, off int64) error {
	if err := p.check(off, int64(len(b))); err != nil {
		return err
	}
	return p.Device.ReadAt(b, p.start+off)
}

// WriteAt implements block.Device.
func (p *Partition) WriteAt(b []byte, off int64) error {
	if err := p.check(off, int64(len(b))); err != nil {
		return err
	}
	return p.Device.WriteAt(b, p.start+off)
}

// Discard implements block.Device.
func (p *Partition) Discard(off, length int64) error {
	if err := p.check(off, length); err != nil {
		return err
	}
	return p.Device.Discard(p.start+off, length)
}

// WriteZeroes implements block.Device.
func (p *Partition) WriteZeroes(off, length int64) error {
	if err := p.check(off, length); err != nil {
		return err
	}
	return p.Device.WriteZeroes(p.start+off, length)
}

// check keeps requests within the partition.
func (p *Partition) check(off, length int64) error {
	if off < 0 || length < 0 || off > p.size || length > p.size-off {
		return fmt.Errorf("partition %d: range %#x+%#x: %w", p.Number, off, length, syscall.EINVAL)
	}
	return nil
}
