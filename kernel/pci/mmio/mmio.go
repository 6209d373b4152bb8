// Package mmio reads and writes device registers that lie in memory.
//
// Drivers take a Registers, so that tests can put a model of the device in its
// place. All registers are little endian, as is the processor.
package mmio

// Registers is a range of device registers. Offsets are in bytes from its
// start and naturally aligned. Accesses reach the device one by one, in
// program order, with the width of the method's name.
type Registers interface {
	Read8(off int) uint8
	Read16(off int) uint16
	Read32(off int) uint32
	Write8(off int, v uint8)
	Write16(off int, v uint16)
	Write32(off int, v uint32)
}
