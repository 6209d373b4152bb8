package main

import (
	"unsafe"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/rtc"
	"kiln/kernel/metal/tsc"
)

// clockState turns the time stamp counter into time. The vDSO reads it without
// a lock: it is written once, before the kernel program starts.
type clockState struct {
	tscBase    uint64    // TSC at boot
	mult       tsc.Scale // ns per tick
	wallOffset uint64    // ns from boot time to the Unix epoch's clock
	tickMult   tsc.Scale // ticks per ns
}

var clock clockState

// now returns ns since boot.
func now() uint64 { return clock.mult.Of(cpu.TSC() - clock.tscBase) }

// tscAt returns the TSC's value at ns since boot.
func tscAt(ns uint64) uint64 { return clock.tscBase + clock.tickMult.Of(ns) }

// initClockStart makes this moment the clock's zero.
func initClockStart() { clock.tscBase = cpu.TSC() }

// Hypervisor CPUID leaves, signatures in EBX, ECX, EDX.
const (
	leafHypervisor = 0x40000000
	leafTiming     = 0x40000010 // EAX: TSC in kHz, EBX: APIC timer in kHz

	// KVM's leaves begin at a multiple of leafStep, behind those of Hyper-V if
	// it pretends to be that as well (Linux, asm/processor.h,
	// hypervisor_cpuid_base).
	leafStep        = 0x100
	leafEnd         = leafHypervisor + 0x10000
	leafKVMFeatures = 1      // above KVM's first
	kvmClocksource2 = 1 << 3 // leafKVMFeatures EAX

	msrKVMWallClock  = 0x4b564d00
	msrKVMSystemTime = 0x4b564d01

	// Hyper-V Top Level Functional Specification 6.0b, §2.4.4 and §12.5.
	leafHyperV       = 0x40000003
	hyperVMayReadTSC = 1 << 11 // EAX
	hyperVKnowsTSC   = 1 << 8  // EDX
	msrHyperVTSC     = 0x40000022
)

// isHypervisor reports whether the leaves from base on are those of the
// hypervisor with a signature.
func isHypervisor(base, b, c, d uint32) bool {
	_, b1, c1, d1 := cpu.CPUID(base, 0)
	return b1 == b && c1 == c && d1 == d
}

// kvmLeaf returns the first of KVM's leaves, 0 if there is none.
func kvmLeaf() uint32 {
	for base := uint32(leafHypervisor); base < leafEnd; base += leafStep {
		if isHypervisor(base, 0x4b4d564b, 0x564b4d56, 0x4d) { // KVMKVMKVM
			return base
		}
	}
	return 0
}

// tscHzFromHyperV asks Hyper-V, or who pretends to be it.
func tscHzFromHyperV(maxLeaf uint32) uint64 {
	if maxLeaf < leafHyperV || !isHypervisor(leafHypervisor, 0x7263694d, 0x666f736f, 0x76482074) { // Microsoft Hv
		return 0
	}
	if a, _, _, d := cpu.CPUID(leafHyperV, 0); a&hyperVMayReadTSC == 0 || d&hyperVKnowsTSC == 0 {
		return 0
	}
	return cpu.ReadMSR(msrHyperVTSC)
}

// initClock learns the TSC's frequency from the best source there is, and the
// time of day.
func initClock() {
	maxLeaf, _, _, _ := cpu.CPUID(leafHypervisor, 0)
	tcg := isHypervisor(leafHypervisor, 0x54474354, 0x43544743, 0x47435447) // TCGTCGTCGTCG
	var wall uint64                                                         // ns since the epoch, at the moment that at is now()
	haveWall := false
	kvm := kvmLeaf()
	if kvm != 0 {
		if a, _, _, _ := cpu.CPUID(kvm+leafKVMFeatures, 0); a&kvmClocksource2 != 0 {
			wall, haveWall = kvmClock()
		}
	}
	if clock.mult == 0 {
		setTSCHz(tscHzFromHyperV(maxLeaf))
	}
	if clock.mult == 0 && maxLeaf >= leafTiming && maxLeaf < leafHypervisor+leafStep {
		if khz, _, _, _ := cpu.CPUID(leafTiming, 0); khz != 0 {
			setTSCHz(uint64(khz) * 1000)
		}
	}
	if clock.mult == 0 {
		setTSCHz(tscHzFromCPUID())
	}
	if clock.mult == 0 && (tcg || kvm != 0) {
		// The APIC timers of QEMU and KVM count in ns.
		apicHz = 1_000_000_000
		setTSCHz(tscHzFromAPIC())
	}
	if clock.mult == 0 {
		setTSCHz(tscHzFromPIT())
	}
	if clock.mult == 0 {
		setTSCHz(tscHzFromRTC())
	}
	if clock.mult == 0 {
		fatalBoot("no clock to measure the time stamp counter with")
	}
	initTimer(maxLeaf)
	if !haveWall {
		wall = rtc.Time() * 1_000_000_000
	}
	clock.wallOffset = wall - now()
}

// setTSCHz sets the clock's rate, unless hz is 0.
func setTSCHz(hz uint64) {
	if hz != 0 {
		setPeriod(tsc.Period(hz))
	}
}

// setPeriod sets the clock's ns for each tick.
func setPeriod(period tsc.Scale) { clock.mult, clock.tickMult = period, period.Inverse() }

// tscHzFromCPUID reads leaf 0x15 (Intel SDM vol. 2A, CPUID): the crystal's
// frequency and its ratio to the TSC.
func tscHzFromCPUID() uint64 {
	if maxLeaf, _, _, _ := cpu.CPUID(0, 0); maxLeaf < 0x15 {
		return 0
	}
	den, num, crystal, _ := cpu.CPUID(0x15, 0)
	if den == 0 || num == 0 || crystal == 0 {
		return 0
	}
	return uint64(crystal) * uint64(num) / uint64(den)
}

// pvclock is struct pvclock_vcpu_time_info (Linux, Documentation/virt/kvm/x86/msr.rst).
type pvclock struct {
	version  uint32
	_        uint32
	tsc      uint64
	system   uint64 // ns at tsc
	mul      uint32
	shift    int8
	flags    uint8
	_        [2]uint8
	_        [32]uint8
	wVersion uint32 // struct pvclock_wall_clock, at offset 64
	wSec     uint32
	wNsec    uint32
}

// pvclockPage is more than the structures need, so that they do not cross a
// page wherever it lies.
var pvclockPage [512]byte

// kvmClock takes the TSC's frequency and the time of day from KVM.
func kvmClock() (wall uint64, ok bool) {
	p := (uintptr(unsafe.Pointer(&pvclockPage)) + 255) &^ 255
	phys, mapped := tables.Translate(kernelRoot, p)
	if !mapped {
		return 0, false
	}
	cpu.WriteMSR(msrKVMSystemTime, phys|1)
	cpu.WriteMSR(msrKVMWallClock, phys+64)
	pv := raw.At[pvclock](p)
	if pv.mul == 0 {
		return 0, false
	}
	setPeriod(tsc.KVM(pv.mul, pv.shift))
	system := pv.system + clock.mult.Of(cpu.TSC()-pv.tsc)
	return uint64(pv.wSec)*1_000_000_000 + uint64(pv.wNsec) + system, true
}

// tscHzFromPIT measures the TSC against channel 2 of the interval timer
// (Intel 8254, 1,193,182 Hz). It returns 0 if there is none.
func tscHzFromPIT() uint64 {
	const count = 11932 // 10 ms
	cpu.Out8(0x61, cpu.In8(0x61)&^2|1)
	cpu.Out8(0x43, 0xb0) // channel 2, low and high byte, mode 0
	cpu.Out8(0x42, count&0xff)
	cpu.Out8(0x42, count>>8)
	start := cpu.TSC()
	// Its output is low until it has counted down. A port without a device
	// reads as ones.
	if cpu.In8(0x61)&0x20 != 0 {
		return 0
	}
	for i := 0; cpu.In8(0x61)&0x20 == 0; i++ {
		if i == 10_000_000 {
			return 0
		}
	}
	return (cpu.TSC() - start) * 1_193_182 / count
}

// tscHzFromRTC measures the TSC against the real-time clock, which takes one to
// five seconds: the seconds are all that it tells. It returns 0 if there is none.
func tscHzFromRTC() uint64 {
	if !rtc.Present() {
		return 0
	}
	var hz, best uint64
	best = 1<<64 - 1
	last, lastSpread := rtc.NextSecond()
	for range 4 {
		next, spread := rtc.NextSecond()
		if next == 0 || last == 0 {
			return 0
		}
		ticks := next - last
		if e := (spread + lastSpread) << 20 / ticks; e < best {
			best, hz = e, ticks
		}
		if best < 1<<20/5000 { // exact to 0.02 %
			break
		}
		last, lastSpread = next, spread
	}
	return hz
}
