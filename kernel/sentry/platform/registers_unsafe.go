package platform

import (
	"unsafe"

	"gvisor.dev/gvisor/pkg/abi/linux"

	"kiln/kernel/machine"
)

// registers is gVisor's view of a task's registers as metal's: the layouts are
// equal (TestRegisterLayout).
func registers(r *linux.PtraceRegs) *machine.Registers {
	return (*machine.Registers)(unsafe.Pointer(r))
}
