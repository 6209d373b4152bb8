package pci

import (
	"fmt"

	"kiln/kernel/machine"
	"kiln/kernel/pci/mmio"
)

// Find returns the machine's functions, all BARs assigned. A machine without
// PCI has none.
func Find() ([]*Function, error) {
	p := new(Ports)
	if !p.Present() {
		return nil, nil
	}
	functions := Scan(p)
	if err := Assign(functions); err != nil {
		return functions, err
	}
	return functions, nil
}

// Mapper returns a MapBAR over the function's memory.
func (f *Function) Mapper() MapBAR {
	bars := f.BARs()
	return func(bar, off, size int) (mmio.Registers, error) {
		for _, b := range bars {
			if b.Index != bar || b.IO {
				continue
			}
			if off < 0 || size <= 0 || uint64(off) > b.Size || uint64(size) > b.Size-uint64(off) {
				return nil, fmt.Errorf("%v: %#x bytes at %#x of BAR %d, which has %#x", f, size, off, bar, b.Size)
			}
			return mmio.Map(machine.PhysAddr(b.Addr+uint64(off)), size)
		}
		return nil, fmt.Errorf("%v: no memory BAR %d", f, bar)
	}
}
