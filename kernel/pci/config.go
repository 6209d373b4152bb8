// Package pci finds PCI devices and sets them up: configuration space by
// mechanism #1, buses behind bridges, base address registers, capabilities,
// message-signalled interrupts.
//
// Specifications: PCI Local Bus 3.0 (2004-02) and PCI-to-PCI Bridge 1.2.
// PCI Express devices answer to both for all that is used here.
//
// Context: ordinary goroutines. Config implementations take their own lock;
// a Function is set up by one goroutine.
package pci

import (
	"fmt"
	"sync"

	"kiln/kernel/machine"
)

// Address names a function: bus, device, function.
type Address struct{ Bus, Device, Function uint8 }

// String returns the address as bus:device.function in hex, as lspci does.
func (a Address) String() string {
	return fmt.Sprintf("%02x:%02x.%x", a.Bus, a.Device, a.Function)
}

// Config is access to configuration space. Offsets are multiples of 4 below
// 256. Reads of functions that do not exist give all ones.
type Config interface {
	Read32(a Address, off int) uint32
	Write32(a Address, off int, v uint32)
}

// I/O ports of configuration mechanism #1, PCI 3.0 §3.2.2.3.2.
const (
	portAddress = 0xcf8 // RW, 32 bit: enable, bus, device, function, register
	portData    = 0xcfc // RW, 32 bit: the register that portAddress names

	addressEnable = 1 << 31
)

// Ports is configuration mechanism #1.
type Ports struct {
	mu sync.Mutex // keeps an access to portData with its portAddress
}

var _ Config = (*Ports)(nil)

func portWord(a Address, off int) uint32 {
	return addressEnable | uint32(a.Bus)<<16 | uint32(a.Device&31)<<11 | uint32(a.Function&7)<<8 | uint32(off&0xfc)
}

// Read32 reads a configuration register.
func (p *Ports) Read32(a Address, off int) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	machine.Out32(portAddress, portWord(a, off))
	return machine.In32(portData)
}

// Write32 writes a configuration register.
func (p *Ports) Write32(a Address, off int, v uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	machine.Out32(portAddress, portWord(a, off))
	machine.Out32(portData, v)
}

// Present tells whether the machine has mechanism #1: the address port keeps
// what is written to it. A machine without PCI floats to all ones.
func (p *Ports) Present() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	machine.Out32(portAddress, addressEnable)
	return machine.In32(portAddress) == addressEnable
}
