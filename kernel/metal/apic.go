package main

import (
	"math/bits"

	"kiln/kernel/metal/cpu"
)

// Local APIC registers, Intel SDM vol. 3A table 10-1.
const (
	apicID           = 0x020
	apicEOI          = 0x0b0
	apicSpurious     = 0x0f0
	apicLVTTimer     = 0x320
	apicLVTLINT0     = 0x350
	apicLVTLINT1     = 0x360
	apicLVTError     = 0x370
	apicInitialCount = 0x380
	apicCurrentCount = 0x390
	apicDivide       = 0x3e0

	apicEnable    = 1 << 8
	apicMasked    = 1 << 16
	apicDeadline  = 2 << 17 // TSC-deadline mode, SDM §10.5.4.1
	apicDivideBy1 = 0xb

	apicBaseX2     = 1 << 10
	apicBaseEnable = 1 << 11
)

// I/O APIC, Intel 82093AA §3. Every machine that QEMU and Firecracker make has
// its first one here.
const (
	ioapicPhys   = 0xfec00000
	ioapicSelect = 0x00
	ioapicWindow = 0x10

	ioapicLevel  = 1 << 15
	ioapicMasked = 1 << 16
)

var (
	apicMMIO   uintptr // 0 in x2APIC mode
	apicHz     uint64  // timer ticks a second
	apicMult   uint64  // timer ticks per ns, 32.32 fixed point
	deadlineOK bool    // the timer takes TSC deadlines
	ioapic     uintptr
	ioapicPins int

	// armed is the deadline the timer is set to, 0 if it is not set.
	armed uint64
)

func readAPIC(reg uintptr) uint32 {
	if apicMMIO == 0 {
		return uint32(cpu.ReadMSR(cpu.MSRX2APIC + uint32(reg>>4)))
	}
	return *at[uint32](apicMMIO + reg)
}

func writeAPIC(reg uintptr, v uint32) {
	if apicMMIO == 0 {
		cpu.WriteMSR(cpu.MSRX2APIC+uint32(reg>>4), uint64(v))
		return
	}
	*at[uint32](apicMMIO + reg) = v
}

// initAPIC turns the local APIC on, the old interrupt controllers off, and
// masks every input of the I/O APIC.
func initAPIC() {
	cpu.Out8(0x21, 0xff) // 8259A masks
	cpu.Out8(0xa1, 0xff)
	base := cpu.ReadMSR(cpu.MSRAPICBase) | apicBaseEnable
	if _, _, c, _ := cpu.CPUID(1, 0); c&(1<<21) != 0 {
		cpu.WriteMSR(cpu.MSRAPICBase, base|apicBaseX2)
	} else {
		cpu.WriteMSR(cpu.MSRAPICBase, base)
		apicMMIO = mapMMIO(base&^0xfff&(1<<52-1), 4096)
	}
	ioapic = mapMMIO(ioapicPhys, 4096)
	if ioapic == 0 {
		fatalBoot("not enough memory for page tables")
	}
	writeAPIC(apicLVTTimer, apicMasked)
	writeAPIC(apicLVTLINT0, apicMasked)
	writeAPIC(apicLVTLINT1, apicMasked)
	writeAPIC(apicLVTError, apicMasked)
	writeAPIC(apicDivide, apicDivideBy1)
	writeAPIC(apicSpurious, apicEnable|vectorSpurious)
	ioapicPins = int(readIOAPIC(1)>>16&0xff) + 1
	for i := range ioapicPins {
		writeIOAPIC(0x10+2*i, ioapicMasked)
	}
}

// initTimer chooses the timer's mode, once the TSC's frequency is known.
func initTimer(maxHypervisorLeaf uint32) {
	if _, _, c, _ := cpu.CPUID(1, 0); c&(1<<24) != 0 {
		deadlineOK = true
		writeAPIC(apicLVTTimer, apicDeadline|vectorTimer)
		return
	}
	if apicHz == 0 {
		apicHz = measureAPIC()
	}
	apicMult, _ = bits.Div64(apicHz>>32, apicHz<<32, 1_000_000_000)
	writeAPIC(apicLVTTimer, vectorTimer) // one-shot
}

// measureAPIC counts the timer's ticks over 2 ms of the TSC.
func measureAPIC() uint64 {
	const ns = 2_000_000
	writeAPIC(apicInitialCount, 1<<32-1)
	start := now()
	first := readAPIC(apicCurrentCount)
	for now()-start < ns {
	}
	ticks := uint64(first - readAPIC(apicCurrentCount))
	elapsed := now() - start
	writeAPIC(apicInitialCount, 0)
	return ticks * 1_000_000_000 / elapsed
}

// tscHzFromAPIC measures the TSC against the timer, whose frequency is known.
// A virtual CPU may lose the host's at any moment, so each end of a sample is
// the quickest of several readings, and the best of several samples counts.
func tscHzFromAPIC() uint64 {
	writeAPIC(apicInitialCount, 1<<32-1)
	var best, hz uint64
	best = 1<<64 - 1
	for range 3 {
		t0, a0, e0 := readPair()
		for cpu.TSC()-t0 < 2_000_000 { // 0.4 to 2 ms
		}
		t1, a1, e1 := readPair()
		ticks := uint64(a0 - a1) // it counts down
		if ticks == 0 {
			continue
		}
		if e := (e0 + e1) << 20 / (t1 - t0); e < best {
			best = e
			hi, lo := bits.Mul64(t1-t0, apicHz)
			hz, _ = bits.Div64(hi, lo, ticks)
		}
	}
	writeAPIC(apicInitialCount, 0)
	return hz
}

// readPair reads the TSC and the timer as one, and how many TSC ticks apart
// the two may be.
func readPair() (tsc uint64, count uint32, spread uint64) {
	spread = 1<<64 - 1
	for range 8 {
		before := cpu.TSC()
		c := readAPIC(apicCurrentCount)
		after := cpu.TSC()
		if after-before < spread {
			tsc, count, spread = before+(after-before)/2, c, after-before
		}
	}
	return
}

// setTimer makes the timer fire at ns since boot, 0 for never. Firing early is
// harmless, so a timer that is set for earlier is left alone: programming it
// is slow.
func setTimer(ns uint64) {
	if ns == 0 || armed != 0 && armed <= ns {
		return
	}
	armed = ns
	if deadlineOK {
		cpu.WriteMSR(cpu.MSRTSCDeadline, tscAt(ns))
		return
	}
	var count uint64 = 1
	if n := now(); ns > n {
		hi, lo := bits.Mul64(ns-n, apicMult)
		count = min(max(hi<<32|lo>>32, 1), 1<<32-1)
	}
	writeAPIC(apicInitialCount, uint32(count))
}

// timerFired notes that the timer is no longer set.
func timerFired() { armed = 0 }

func endOfInterrupt() { writeAPIC(apicEOI, 0) }

func readIOAPIC(reg int) uint32 {
	*at[uint32](ioapic + ioapicSelect) = uint32(reg)
	return *at[uint32](ioapic + ioapicWindow)
}

func writeIOAPIC(reg int, v uint32) {
	*at[uint32](ioapic + ioapicSelect) = uint32(reg)
	*at[uint32](ioapic + ioapicWindow) = v
}

// routeGSI makes an I/O APIC input raise a vector on this CPU, active high.
func routeGSI(gsi int, vector uint32, level bool) bool {
	if gsi < 0 || gsi >= ioapicPins {
		return false
	}
	if level {
		vector |= ioapicLevel
	}
	id := readAPIC(apicID)
	if apicMMIO != 0 {
		id >>= 24
	}
	writeIOAPIC(0x11+2*gsi, id<<24)
	writeIOAPIC(0x10+2*gsi, vector)
	return true
}

// maskGSI masks or unmasks an I/O APIC input.
func maskGSI(gsi int, masked bool) {
	v := readIOAPIC(0x10 + 2*gsi)
	if masked {
		v |= ioapicMasked
	} else {
		v &^= ioapicMasked
	}
	writeIOAPIC(0x10+2*gsi, v)
}

// mapMMIO maps device registers for good and returns their address, or 0.
func mapMMIO(phys uint64, length uintptr) uintptr {
	off := uintptr(phys & 0xfff)
	va := mmioNext
	for p := uintptr(0); p < off+length; p += 4096 {
		if !mapKernel(va+p, phys&^0xfff+uint64(p), pteMMIO) {
			return 0
		}
		mmioNext += 4096
	}
	return va + off
}
