// Package pcitest models PCI configuration space for tests.
package pcitest

import (
	"encoding/binary"

	"kiln/kernel/pci"
)

// Bus is a configuration space with the functions in it. It implements
// pci.Config.
type Bus map[pci.Address]*Space

// Space is one function's configuration space.
type Space struct {
	Bytes [256]byte
	// BARMask has, for each base address register, the bits that can be
	// written: the two's complement of the size.
	BARMask [6]uint32
	nextCap int
}

// Add makes a function.
func (b Bus) Add(a pci.Address, vendor, device, class uint16, header uint8) *Space {
	s := &Space{nextCap: 0x40}
	binary.LittleEndian.PutUint16(s.Bytes[0:], vendor)
	binary.LittleEndian.PutUint16(s.Bytes[2:], device)
	binary.LittleEndian.PutUint16(s.Bytes[10:], class)
	s.Bytes[14] = header
	b[a] = s
	return s
}

// SetBAR makes base address register i decode size bytes at addr, as 64-bit
// memory if wide. flags are the register's low bits.
func (s *Space) SetBAR(i int, addr, size uint64, wide bool, flags uint32) {
	if wide {
		flags |= 2 << 1
	}
	mask := ^(size - 1)
	s.BARMask[i] = uint32(mask) &^ 0xf
	binary.LittleEndian.PutUint32(s.Bytes[0x10+4*i:], uint32(addr)|flags)
	if wide {
		s.BARMask[i+1] = uint32(mask >> 32)
		binary.LittleEndian.PutUint32(s.Bytes[0x14+4*i:], uint32(addr>>32))
	}
}

// AddCap appends a capability, whose first two bytes (identifier, next) are
// put before body, and returns its offset.
func (s *Space) AddCap(id uint8, body []byte) int {
	s.Bytes[6] |= 1 << 4
	off := s.nextCap
	last := 0x34
	if s.Bytes[0x34] != 0 {
		for last = int(s.Bytes[0x34]); s.Bytes[last+1] != 0; last = int(s.Bytes[last+1]) {
		}
		last++
	}
	s.Bytes[last] = byte(off)
	s.Bytes[off] = id
	s.Bytes[off+1] = 0
	copy(s.Bytes[off+2:], body)
	s.nextCap = (off + 2 + len(body) + 3) &^ 3
	return off
}

// Read32 implements pci.Config.
func (b Bus) Read32(a pci.Address, off int) uint32 {
	s := b[a]
	if s == nil {
		return ^uint32(0)
	}
	return binary.LittleEndian.Uint32(s.Bytes[off:])
}

// Write32 implements pci.Config: base address registers keep what they can
// hold, the command register its low half, capabilities everything; the rest
// is read-only.
func (b Bus) Write32(a pci.Address, off int, v uint32) {
	s := b[a]
	if s == nil {
		return
	}
	old := binary.LittleEndian.Uint32(s.Bytes[off:])
	switch {
	case off == 4:
		v = old&0xffff0000&^(v&0xffff0000) | v&0xffff
	case off >= 0x10 && off < 0x28 && s.Bytes[14]&0x7f == 0:
		m := s.BARMask[(off-0x10)/4]
		v = old&^m | v&m
	case off >= 0x40:
	default:
		return
	}
	binary.LittleEndian.PutUint32(s.Bytes[off:], v)
}
