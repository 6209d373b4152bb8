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

// fxsaveArea returns the part of the floating point area at fp that FXSAVE
// lays out (Intel SDM vol. 1 table 10-2).
func fxsaveArea(fp *byte) []byte { return unsafe.Slice(fp, 512) }
