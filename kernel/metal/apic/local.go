// Package apic drives the interrupt controllers: the local APIC of a CPU (Intel
// SDM vol. 3A §10, December 2023) and the I/O APIC (Intel 82093AA).
//
// Context: trap context; nothing allocates or blocks. Locking: a Local is the
// CPU's that it belongs to, which alone calls it; the caller holds the lock that
// guards the IO.
package apic

import (
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
)

// Registers of the local APIC, Intel SDM vol. 3A table 10-1.
const (
	regID           = 0x020
	regEOI          = 0x0b0
	regSpurious     = 0x0f0
	regLVTTimer     = 0x320
	regLVTLINT0     = 0x350
	regLVTLINT1     = 0x360
	regLVTError     = 0x370
	regInitialCount = 0x380
	regCurrentCount = 0x390
	regDivide       = 0x3e0

	enable    = 1 << 8 // regSpurious
	masked    = 1 << 16
	deadline  = 2 << 17 // TSC-deadline mode, SDM §10.5.4.1
	divideBy1 = 0xb

	baseX2     = 1 << 10 // of MSRAPICBase
	baseEnable = 1 << 11
	baseAddr   = 1<<52 - 1 - 0xfff

	featureX2 = 1 << 21 // CPUID leaf 1, ECX

	messageBase = 0xfee00000 // SDM §10.11
)

// Size is the length of the registers in memory, in bytes.
const Size = 4096

// Local is the local APIC of one CPU.
type Local struct {
	mmio uintptr // its registers, 0 in x2APIC mode
}

// Enable turns the APIC on, in x2APIC mode if the CPU has it; else it has the
// registers mapped, which may fail with 0. Whatever raises an interrupt by
// itself is masked; what comes for no reason raises vector spurious.
func (l *Local) Enable(spurious uint32, mapRegisters func(phys uint64, size uintptr) uintptr) bool {
	base := cpu.ReadMSR(cpu.MSRAPICBase) | baseEnable
	if _, _, c, _ := cpu.CPUID(1, 0); c&featureX2 != 0 {
		l.mmio = 0
		cpu.WriteMSR(cpu.MSRAPICBase, base|baseX2)
	} else {
		cpu.WriteMSR(cpu.MSRAPICBase, base)
		l.mmio = mapRegisters(base&baseAddr, Size)
		if l.mmio == 0 {
			return false
		}
	}
	l.write(regLVTTimer, masked)
	l.write(regLVTLINT0, masked)
	l.write(regLVTLINT1, masked)
	l.write(regLVTError, masked)
	l.write(regDivide, divideBy1)
	l.write(regSpurious, enable|spurious)
	return true
}

func (l *Local) read(reg uintptr) uint32 {
	if l.mmio == 0 {
		return uint32(cpu.ReadMSR(cpu.MSRX2APIC + uint32(reg>>4)))
	}
	return *raw.At[uint32](l.mmio + reg)
}

func (l *Local) write(reg uintptr, v uint32) {
	if l.mmio == 0 {
		cpu.WriteMSR(cpu.MSRX2APIC+uint32(reg>>4), uint64(v))
		return
	}
	*raw.At[uint32](l.mmio + reg) = v
}

// ID returns the number by which interrupts are sent to this CPU.
func (l *Local) ID() uint32 {
	id := l.read(regID)
	if l.mmio != 0 {
		id >>= 24
	}
	return id
}

// EndOfInterrupt tells the APIC that an interrupt has been taken.
func (l *Local) EndOfInterrupt() { l.write(regEOI, 0) }

// Message returns the address and data of the message that raises a vector on
// this CPU: edge-triggered, fixed delivery (SDM §10.11).
func (l *Local) Message(vector uint32) (addr, data uint64) {
	return messageBase | uint64(l.ID())<<12, uint64(vector)
}

// DeadlineTimer has the timer raise vector when the TSC reaches MSRTSCDeadline.
func (l *Local) DeadlineTimer(vector uint32) { l.write(regLVTTimer, deadline|vector) }

// OneShotTimer has the timer raise vector when it has counted down.
func (l *Local) OneShotTimer(vector uint32) { l.write(regLVTTimer, vector) }

// SetCount has the timer count down from count; 0 stops it.
func (l *Local) SetCount(count uint32) { l.write(regInitialCount, count) }

// Count returns where the timer's count is.
func (l *Local) Count() uint32 { return l.read(regCurrentCount) }
