package main

import (
	"kiln/kernel/metal/apic"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/tsc"
)

var (
	localAPIC  apic.Local // of the one CPU
	ioAPIC     apic.IO    // guarded by metalLock
	apicHz     uint64     // timer ticks a second
	apicMult   tsc.Scale  // timer ticks per ns
	deadlineOK bool       // the timer takes TSC deadlines

	// armed is the deadline the timer is set to, 0 if it is not set.
	armed uint64
)

// initAPIC turns the local APIC on, the old interrupt controllers off, and
// masks every input of the I/O APIC.
func initAPIC() {
	cpu.Out8(0x21, 0xff) // 8259A masks
	cpu.Out8(0xa1, 0xff)
	ok := localAPIC.Enable(vectorSpurious, mapMMIO)
	registers := mapMMIO(apic.IOPhys, apic.Size)
	if !ok || registers == 0 {
		fatalBoot("not enough memory for page tables")
	}
	ioAPIC.Init(registers)
}

// initTimer chooses the timer's mode, once the TSC's frequency is known.
func initTimer(maxHypervisorLeaf uint32) {
	if _, _, c, _ := cpu.CPUID(1, 0); c&(1<<24) != 0 {
		deadlineOK = true
		localAPIC.DeadlineTimer(vectorTimer)
		return
	}
	if apicHz == 0 {
		apicHz = measureAPIC()
	}
	apicMult = tsc.Rate(apicHz)
	localAPIC.OneShotTimer(vectorTimer)
}

// measureAPIC counts the timer's ticks over 2 ms of the TSC.
func measureAPIC() uint64 {
	const ns = 2_000_000
	localAPIC.SetCount(1<<32 - 1)
	start := now()
	first := localAPIC.Count()
	for now()-start < ns {
	}
	ticks := uint64(first - localAPIC.Count())
	elapsed := now() - start
	localAPIC.SetCount(0)
	return ticks * 1_000_000_000 / elapsed
}

// tscHzFromAPIC measures the TSC against the timer, whose frequency is known.
// A virtual CPU may lose the host's at any moment, so each end of a sample is
// the quickest of several readings, and the best of several samples counts.
func tscHzFromAPIC() uint64 {
	localAPIC.SetCount(1<<32 - 1)
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
			best, hz = e, tsc.Hz(t1-t0, apicHz, ticks)
		}
	}
	localAPIC.SetCount(0)
	return hz
}

// readPair reads the TSC and the timer as one, and how many TSC ticks apart
// the two may be.
func readPair() (ticks uint64, count uint32, spread uint64) {
	spread = 1<<64 - 1
	for range 8 {
		before := cpu.TSC()
		c := localAPIC.Count()
		after := cpu.TSC()
		if after-before < spread {
			ticks, count, spread = before+(after-before)/2, c, after-before
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
		count = min(max(apicMult.Of(ns-n), 1), 1<<32-1)
	}
	localAPIC.SetCount(uint32(count))
}

// timerFired notes that the timer is no longer set.
func timerFired() { armed = 0 }

// routeGSI makes an I/O APIC input raise a vector on this CPU, active high.
func routeGSI(gsi int, vector uint32, level bool) bool {
	return ioAPIC.Route(gsi, vector, localAPIC.ID(), level)
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
