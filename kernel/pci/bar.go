package pci

import (
	"fmt"

	"kiln/kernel/machine"
)

// BAR bits, PCI 3.0 §6.2.5.1.
const (
	barIO         = 1 << 0
	barType       = 3 << 1
	barType64     = 2 << 1
	barPrefetch   = 1 << 3
	barMemoryMask = ^uint32(0xf)
	barIOMask     = ^uint32(0x3)

	barCount = 6
)

// BAR is a range of addresses that a function decodes.
type BAR struct {
	Index int
	IO    bool // ports instead of memory
	Wide  bool // takes two registers, 64-bit address
	Addr  uint64
	Size  uint64 // bytes, a power of two; 0: the BAR does not exist
}

// BARs returns the base address registers that exist. The function must not be
// in use: while it is asked for a size it decodes no address.
func (f *Function) BARs() []BAR {
	command := f.Read32(regCommand) & 0xffff
	f.config.Write32(f.Address, regCommand, command&^(commandIO|commandMemory))
	defer f.config.Write32(f.Address, regCommand, command)

	count := barCount
	if f.bridge {
		count = 2
	}
	var bars []BAR
	for i := 0; i < count; i++ {
		b := f.probe(i, count)
		if b.Size != 0 {
			bars = append(bars, b)
		}
		if b.Wide {
			i++
		}
	}
	return bars
}

// probe sizes one BAR: address bits that the function decodes read back as 1,
// those below its size as 0.
func (f *Function) probe(i, count int) BAR {
	reg := regBAR0 + 4*i
	old := f.Read32(reg)
	f.config.Write32(f.Address, reg, ^uint32(0))
	mask := f.Read32(reg)
	f.config.Write32(f.Address, reg, old)
	if old&barIO != 0 {
		size := uint64(^(mask & barIOMask)) + 1
		if mask&barIOMask == 0 {
			size = 0
		} else if mask>>16 == 0 {
			size &= 0xffff // only 16 bits are decoded
		}
		return BAR{Index: i, IO: true, Addr: uint64(old & barIOMask), Size: size}
	}
	b := BAR{Index: i, Addr: uint64(old & barMemoryMask)}
	m := uint64(mask & barMemoryMask)
	if old&barType == barType64 && i+1 < count {
		b.Wide = true
		high := f.Read32(reg + 4)
		f.config.Write32(f.Address, reg+4, ^uint32(0))
		m |= uint64(f.Read32(reg+4)) << 32
		f.config.Write32(f.Address, reg+4, high)
		b.Addr |= uint64(high) << 32
	} else {
		m |= 0xffffffff << 32
	}
	if m&0xffffffff != 0 || b.Wide && m>>32 != 0 {
		b.Size = ^m + 1
	}
	return b
}

// setBAR writes an address to a memory BAR.
func (f *Function) setBAR(b BAR, addr uint64) {
	f.config.Write32(f.Address, regBAR0+4*b.Index, uint32(addr))
	if b.Wide {
		f.config.Write32(f.Address, regBAR0+4*b.Index+4, uint32(addr>>32))
	}
}

// The range below 4 GB from which unassigned BARs get addresses: above the
// largest low memory that QEMU gives a machine (3.5 GB) and q35's
// configuration window at 0xb0000000, below the I/O APIC at 0xfec00000.
const (
	windowStart = 0xe8000000
	windowEnd   = 0xfe000000
)

// Assign gives an address to each memory BAR that firmware left without one,
// avoiding those that have one. Firmware normally leaves none.
func Assign(functions []*Function) error {
	type need struct {
		f *Function
		b BAR
	}
	var needs []need
	var taken []BAR
	for _, f := range functions {
		for _, b := range f.BARs() {
			switch {
			case b.IO:
			case b.Addr != 0:
				taken = append(taken, b)
			case f.behind:
				return fmt.Errorf("%v: firmware assigned no address to BAR %d behind a bridge", f, b.Index)
			default:
				needs = append(needs, need{f, b})
			}
		}
	}
	for _, n := range needs {
		addr, ok := place(taken, n.b.Size)
		if !ok {
			return fmt.Errorf("%v: no room for BAR %d of %#x bytes", n.f, n.b.Index, n.b.Size)
		}
		n.f.setBAR(n.b, addr)
		n.b.Addr = addr
		taken = append(taken, n.b)
	}
	return nil
}

// place finds the highest aligned free range in the window.
func place(taken []BAR, size uint64) (uint64, bool) {
	if size > windowEnd-windowStart {
		return 0, false
	}
	// At least a page each, so that mappings do not share pages.
	align := max(size, machine.PageSize)
	addr := uint64(windowEnd-size) &^ (align - 1)
	for addr >= windowStart {
		hit := false
		for _, t := range taken {
			if addr < t.Addr+t.Size && t.Addr < addr+align {
				hit = true
				if t.Addr < windowStart+align {
					return 0, false
				}
				addr = (t.Addr - align) &^ (align - 1)
				break
			}
		}
		if !hit {
			return addr, true
		}
	}
	return 0, false
}
