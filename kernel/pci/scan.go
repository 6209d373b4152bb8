package pci

import "fmt"

// Configuration header registers, PCI 3.0 §6.1. Each line is a 32-bit word.
const (
	regID      = 0x00 // R: vendor 15:0, device 31:16
	regCommand = 0x04 // RW: command 15:0; status 31:16, written 1s clear
	regClass   = 0x08 // R: revision 7:0, interface 15:8, class 31:16
	regHeader  = 0x0c // R: header type 23:16
	regBAR0    = 0x10 // RW: six base address registers
	regBuses   = 0x18 // RW, bridges: primary 7:0, secondary 15:8, subordinate 23:16
	regSubsys  = 0x2c // R: subsystem vendor 15:0, subsystem 31:16
	regCaps    = 0x34 // R: offset of the first capability 7:0

	headerMulti  = 0x80 // more than one function
	headerType   = 0x7f
	headerBridge = 1

	classBridge = 0x0604 // PCI-to-PCI bridge

	vendorNone = 0xffff
)

// Command register bits, PCI 3.0 §6.2.2; status bit, §6.2.3.
const (
	commandIO      = 1 << 0
	commandMemory  = 1 << 1
	commandMaster  = 1 << 2
	commandNoINTx  = 1 << 10
	statusCapsList = 1 << (16 + 4)
)

// Function is one function of a device.
type Function struct {
	Address
	Vendor, Device uint16
	Class          uint16 // base class and subclass
	Revision       uint8

	config Config
	behind bool // below a bridge
	bridge bool
}

// Scan returns the functions on bus 0 and on all buses that bridges lead to,
// in the order of their addresses. Firmware has numbered the buses.
func Scan(c Config) []*Function {
	var found []*Function
	var seen [256]bool
	var scan func(bus uint8)
	scan = func(bus uint8) {
		// A bridge that leads back would make this endless.
		if seen[bus] {
			return
		}
		seen[bus] = true
		for dev := range uint8(32) {
			for _, f := range scanDevice(c, bus, dev) {
				found = append(found, f)
				if !f.bridge {
					continue
				}
				secondary := uint8(c.Read32(f.Address, regBuses) >> 8)
				if secondary != 0 {
					scan(secondary)
				}
			}
		}
	}
	scan(0)
	return found
}

// scanDevice returns the functions of one device.
func scanDevice(c Config, bus, dev uint8) []*Function {
	var found []*Function
	for fn := range uint8(8) {
		a := Address{bus, dev, fn}
		id := c.Read32(a, regID)
		if uint16(id) == vendorNone || id == 0 {
			if fn == 0 {
				return nil // function 0 must exist, PCI 3.0 §3.2.2.3.4
			}
			continue
		}
		class := c.Read32(a, regClass)
		header := uint8(c.Read32(a, regHeader) >> 16)
		found = append(found, &Function{
			Address: a,
			Vendor:  uint16(id), Device: uint16(id >> 16),
			Class: uint16(class >> 16), Revision: uint8(class),
			config: c, behind: bus != 0,
			bridge: header&headerType == headerBridge && uint16(class>>16) == classBridge,
		})
		if fn == 0 && header&headerMulti == 0 {
			break
		}
	}
	return found
}

// String describes the function for messages.
func (f *Function) String() string {
	return fmt.Sprintf("PCI %v (%04x:%04x)", f.Address, f.Vendor, f.Device)
}

// Subsystem returns the subsystem identifier.
func (f *Function) Subsystem() uint16 { return uint16(f.config.Read32(f.Address, regSubsys) >> 16) }

// Enable lets the function decode memory and I/O, start DMA and send messages,
// and turns off its interrupt pin.
func (f *Function) Enable() {
	c := f.config.Read32(f.Address, regCommand) & 0xffff
	// The status half is written as zeros, which change nothing.
	f.config.Write32(f.Address, regCommand, c|commandIO|commandMemory|commandMaster|commandNoINTx)
}

// Read32 reads a configuration register.
func (f *Function) Read32(off int) uint32 { return f.config.Read32(f.Address, off) }

// Read16 reads half of a configuration register.
func (f *Function) Read16(off int) uint16 { return uint16(f.Read32(off&^3) >> (8 * (off & 2))) }

// Read8 reads a byte of configuration space.
func (f *Function) Read8(off int) uint8 { return uint8(f.Read32(off&^3) >> (8 * (off & 3))) }
