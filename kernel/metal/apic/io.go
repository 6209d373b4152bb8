package apic

import "kiln/kernel/metal/raw"

// Registers of the I/O APIC, Intel 82093AA §3.
const (
	// IOPhys is where every machine that QEMU and Firecracker make has its
	// first I/O APIC.
	IOPhys = 0xfec00000

	ioSelect = 0x00 // which register the window shows
	ioWindow = 0x10

	ioVersion     = 0x01
	ioRedirection = 0x10 // two registers for each input

	ioLevel = 1 << 15
)

// IO is an I/O APIC. The zero value must be given to Init.
type IO struct {
	regs   uintptr
	inputs int
}

// Init masks every input of the I/O APIC whose registers are at regs.
func (io *IO) Init(regs uintptr) {
	io.regs = regs
	io.inputs = int(io.read(ioVersion)>>16&0xff) + 1
	for i := range io.inputs {
		io.write(ioRedirection+2*i, masked)
	}
}

func (io *IO) read(reg int) uint32 {
	*raw.At[uint32](io.regs + ioSelect) = uint32(reg)
	return *raw.At[uint32](io.regs + ioWindow)
}

func (io *IO) write(reg int, v uint32) {
	*raw.At[uint32](io.regs + ioSelect) = uint32(reg)
	*raw.At[uint32](io.regs + ioWindow) = v
}

// Route makes an input raise a vector on the CPU whose local APIC has number
// id, active high. It reports false if there is no such input.
func (io *IO) Route(input int, vector, id uint32, level bool) bool {
	if input < 0 || input >= io.inputs {
		return false
	}
	if level {
		vector |= ioLevel
	}
	io.write(ioRedirection+2*input+1, id<<24)
	io.write(ioRedirection+2*input, vector)
	return true
}

// Mask masks or unmasks an input that was routed.
func (io *IO) Mask(input int, on bool) {
	v := io.read(ioRedirection + 2*input)
	if on {
		v |= masked
	} else {
		v &^= masked
	}
	io.write(ioRedirection+2*input, v)
}
