package pci

import (
	"fmt"

	"kiln/kernel/pci/mmio"
)

// Capability identifiers, PCI 3.0 appendix H.
const (
	CapVendor = 0x09
	CapMSIX   = 0x11
)

// Capabilities returns the offsets of the capabilities with an identifier, in
// the order of the function's list.
func (f *Function) Capabilities(id uint8) []int {
	if f.Read32(regCommand)&statusCapsList == 0 {
		return nil
	}
	var offs []int
	off := int(f.Read8(regCaps)) &^ 3
	// 48 capabilities fit in the space behind the header: a longer list is a
	// loop.
	for n := 0; off >= 0x40 && n < 48; n++ {
		w := f.Read32(off)
		if uint8(w) == id {
			offs = append(offs, off)
		}
		off = int(w>>8) & 0xfc
	}
	return offs
}

// MSI-X capability and table, PCI 3.0 §6.8.2.
const (
	msixControl = 2 // RW, 16 bit, in the upper half of the first word
	msixTable   = 4 // R: BAR 2:0, offset 31:3

	msixEnable   = 1 << 31 // in the first word
	msixMaskAll  = 1 << 30
	msixSizeMask = 0x7ff // table size − 1, in msixControl

	msixEntrySize  = 16 // bytes: address low, address high, data, control
	msixEntryAddr  = 0
	msixEntryHigh  = 4
	msixEntryData  = 8
	msixEntryCtrl  = 12
	msixEntryMask1 = 1 << 0
)

// MSIX is a function's table of message-signalled interrupts.
type MSIX struct {
	f     *Function
	cap   int
	table mmio.Registers
	// Size is how many entries the table has.
	Size int
}

// MapBAR maps part of a memory BAR: mmio.Map, or a fake in tests.
type MapBAR func(bar, off, size int) (mmio.Registers, error)

// NewMSIX returns the function's table with all entries masked.
func (f *Function) NewMSIX(m MapBAR) (*MSIX, error) {
	caps := f.Capabilities(CapMSIX)
	if len(caps) == 0 {
		return nil, fmt.Errorf("%v: no MSI-X capability", f)
	}
	x := &MSIX{f: f, cap: caps[0]}
	x.Size = int(f.Read16(x.cap+msixControl)&msixSizeMask) + 1
	where := f.Read32(x.cap + msixTable)
	table, err := m(int(where&7), int(where&^7), x.Size*msixEntrySize)
	if err != nil {
		return nil, fmt.Errorf("%v: MSI-X table: %w", f, err)
	}
	x.table = table
	for i := range x.Size {
		table.Write32(i*msixEntrySize+msixEntryCtrl, msixEntryMask1)
	}
	w := f.Read32(x.cap)
	f.config.Write32(f.Address, x.cap, (w|msixEnable)&^msixMaskAll)
	return x, nil
}

// Set makes entry i send a message and unmasks it.
func (x *MSIX) Set(i int, addr uint64, data uint32) error {
	if i < 0 || i >= x.Size {
		return fmt.Errorf("%v: MSI-X entry %d of %d", x.f, i, x.Size)
	}
	e := i * msixEntrySize
	// Only a masked entry may change (PCI 3.0 §6.8.3.5).
	x.table.Write32(e+msixEntryCtrl, msixEntryMask1)
	x.table.Write32(e+msixEntryAddr, uint32(addr))
	x.table.Write32(e+msixEntryHigh, uint32(addr>>32))
	x.table.Write32(e+msixEntryData, data)
	x.table.Write32(e+msixEntryCtrl, 0)
	return nil
}
