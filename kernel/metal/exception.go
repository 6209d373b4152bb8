package main

import "kiln/kernel/metal/cpu"

// exception is what the CPU says of an exception.
type exception struct {
	vector uint64
	code   uint64 // error code, 0 where the CPU pushes none
	addr   uint64 // CR2 for a page fault, else 0
	rip    uint64
}

// exceptionName returns the name and the mnemonic of a vector, Intel SDM
// vol. 3A table 6-1.
func exceptionName(vector uint64) string {
	switch vector {
	case cpu.VectorDivide:
		return "divide error (#DE)"
	case cpu.VectorDebug:
		return "debug exception (#DB)"
	case cpu.VectorNMI:
		return "non-maskable interrupt (NMI)"
	case cpu.VectorBreakpoint:
		return "breakpoint (#BP)"
	case cpu.VectorOverflow:
		return "overflow (#OF)"
	case cpu.VectorBound:
		return "bound range exceeded (#BR)"
	case cpu.VectorInvalidOpcode:
		return "invalid opcode (#UD)"
	case cpu.VectorNoDevice:
		return "no floating point unit (#NM)"
	case cpu.VectorDoubleFault:
		return "double fault (#DF)"
	case cpu.VectorTSS:
		return "invalid task state (#TS)"
	case cpu.VectorNotPresent:
		return "segment not present (#NP)"
	case cpu.VectorStack:
		return "stack fault (#SS)"
	case cpu.VectorProtection:
		return "general protection fault (#GP)"
	case cpu.VectorPageFault:
		return "page fault (#PF)"
	case cpu.VectorX87:
		return "x87 error (#MF)"
	case cpu.VectorAlignment:
		return "alignment check (#AC)"
	case cpu.VectorMachineCheck:
		return "machine check (#MC)"
	case cpu.VectorSIMD:
		return "SIMD floating point error (#XM)"
	}
	return "unknown"
}

// print prints the exception in one line: what it is, the vector, the error
// code, and for a page fault what was tried and where.
func (e *exception) print() {
	print(exceptionName(e.vector))
	print(", vector ")
	printDecimal(e.vector)
	print(", error code ")
	printHex(e.code)
	if e.vector == cpu.VectorPageFault {
		print(e.access())
		printHex(e.addr)
	}
	print(", at ")
	printFunction(e.rip, e.rip)
	print("\n")
}

// access says what a page fault's error code does (Intel SDM vol. 3A §4.7).
func (e *exception) access() string {
	there := e.code&cpu.FaultPresent != 0
	switch {
	case e.code&cpu.FaultFetch != 0 && there:
		return ": execution without the right to, of "
	case e.code&cpu.FaultFetch != 0:
		return ": execution of what is not mapped, "
	case e.code&cpu.FaultWrite != 0 && there:
		return ": write without the right to, of "
	case e.code&cpu.FaultWrite != 0:
		return ": write of what is not mapped, "
	case there:
		return ": read without the right to, of "
	}
	return ": read of what is not mapped, "
}
