// Package ending is how a guest tells its monitor that it has ended, and how:
// the port of the debug exit device, and the codes that go there. Metal writes
// them, kiln run reads them.
//
// docs/image.md, "How a run ends", is the specification.
package ending

// Port is the I/O port of the debug exit device: a byte c that is written there
// ends QEMU with the status Status(c).
const Port = 0x501

// What a code means. Those below Large are the program's exit status.
const (
	Large    = 0x7c // the program's exit status is Large or more; the channel has it
	NoMemory = 0x7d // the kernel ran out of memory
	Panic    = 0x7e // the kernel crashed, with a report on the serial port
	NoBoot   = 0x7f // the image cannot boot on this machine; the serial port has a line that says why
)

// Status returns QEMU's exit status for a code.
func Status(code int) int { return code<<1 | 1 }

// Code returns the code of an exit status of QEMU's, which is odd.
func Code(status int) int { return status >> 1 }
