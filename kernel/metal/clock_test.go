package main

import (
	"strings"
	"testing"
	"time"

	"kiln/image/ending"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
)

// timekeepers are the devices that time can be measured with, all driven by the
// simulated machine's time stamp counter.
type timekeepers struct {
	*simulated
	hz  uint64 // of the TSC
	pit bool
	rtc bool

	apicHz   uint64
	apicSet  uint64 // TSC when the timer was set
	apicFrom uint64 // what it counts down from

	pitOn    uint64 // TSC when channel 2 began to count, 0 before
	pitCount uint64
	pitLow   bool // the next byte is the low one

	index  uint8
	start  time.Time // at TSC 0
	binary bool      // the real-time clock counts in binary, 24 hours
}

// newTimekeepers makes a machine whose TSC counts at hz.
func newTimekeepers(t *testing.T, hz uint64) *timekeepers {
	k := &timekeepers{simulated: newMachine(t), hz: hz, start: time.Date(2026, 11, 24, 23, 4, 42, 0, time.UTC)}
	in, out := cpu.In8, cpu.Out8
	cpu.In8 = func(port uint16) uint8 {
		k.tsc += 2000 // a way to the hypervisor
		switch port {
		case 0x61:
			return k.pitStatus()
		case 0x71:
			return k.cmos()
		}
		return in(port)
	}
	cpu.Out8 = func(port uint16, v uint8) {
		switch port {
		case 0x42:
			if k.pitLow {
				k.pitCount, k.pitLow = uint64(v), false
				return
			}
			k.pitCount |= uint64(v) << 8
			k.pitOn = k.tsc
		case 0x43:
			k.pitLow = true
		case 0x70:
			k.index = v & 0x7f
		}
		if port == com1 || port == ending.Port {
			out(port, v)
		}
	}
	cpu.ReadMSR = func(n uint32) uint64 {
		if n == cpu.MSRX2APIC+0x39 {
			k.tsc += 500
			count := (k.tsc - k.apicSet) * k.apicHz / k.hz
			return k.apicFrom - min(count, k.apicFrom)
		}
		return k.msrs[n]
	}
	cpu.WriteMSR = func(n uint32, v uint64) {
		if n == cpu.MSRX2APIC+0x38 {
			k.apicSet, k.apicFrom = k.tsc, v
		}
		k.msrs[n] = v
	}
	clock, apicHz, apicMult, deadlineOK = clockState{}, 0, 0, false
	initClockStart()
	return k
}

// pitStatus is port 0x61: bit 5 is the output of channel 2, which is low until
// it has counted down. Without a device, all bits are one.
func (k *timekeepers) pitStatus() uint8 {
	switch {
	case !k.pit:
		return 0xff
	case k.pitOn != 0 && (k.tsc-k.pitOn)*1_193_182/k.hz > k.pitCount:
		return 0x21
	}
	return 0x01
}

// cmos is the real-time clock's answer for the register that was chosen.
func (k *timekeepers) cmos() uint8 {
	if !k.rtc {
		return 0xff
	}
	seconds := k.tsc / k.hz
	now := k.start.Add(time.Duration(seconds) * time.Second)
	number := func(n int) uint8 {
		if k.binary {
			return uint8(n)
		}
		return uint8(n/10<<4 | n%10)
	}
	switch k.index {
	case 0:
		return number(now.Second())
	case 2:
		return number(now.Minute())
	case 4:
		if k.binary {
			return number(now.Hour())
		}
		hour := number((now.Hour()+11)%12 + 1)
		if now.Hour() >= 12 {
			hour |= 0x80
		}
		return hour
	case 7:
		return number(now.Day())
	case 8:
		return number(int(now.Month()))
	case 9:
		return number(now.Year() % 100)
	case 0x0b:
		if k.binary {
			return 6
		}
		return 0
	case 0x0d:
		return 0x80
	case 0x32:
		return number(now.Year() / 100)
	}
	return 0
}

// signature is what a hypervisor says at one of its leaves.
func signature(name string) [4]uint32 {
	b := append([]byte(name), make([]byte, 12-len(name))...)
	word := func(i int) uint32 {
		return uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24
	}
	return [4]uint32{0, word(0), word(4), word(8)}
}

// TestClockSources has the TSC's frequency found by each source there is: what
// metal's clock then says is compared with the counter.
func TestClockSources(t *testing.T) {
	const hz = 2_500_000_000
	for _, tt := range []struct {
		name  string
		setUp func(k *timekeepers)
	}{
		{"Hyper-V", func(k *timekeepers) {
			k.cpuid[leafHypervisor] = signature("Microsoft Hv")
			leaf := k.cpuid[leafHypervisor]
			leaf[0] = leafHyperV
			k.cpuid[leafHypervisor] = leaf
			k.cpuid[leafHyperV] = [4]uint32{hyperVMayReadTSC, 0, 0, hyperVKnowsTSC}
			k.msrs[msrHyperVTSC] = hz
		}},
		{"the hypervisor's timing leaf", func(k *timekeepers) {
			k.cpuid[leafHypervisor] = [4]uint32{leafTiming}
			k.cpuid[leafTiming] = [4]uint32{hz / 1000}
		}},
		{"CPUID's crystal", func(k *timekeepers) {
			k.cpuid[0] = [4]uint32{0x15}
			k.cpuid[0x15] = [4]uint32{2, 200, 25_000_000}
		}},
		{"QEMU's APIC timer", func(k *timekeepers) {
			k.cpuid[leafHypervisor] = signature("TCGTCGTCGTCG")
			k.apicHz = 1_000_000_000
		}},
		{"the interval timer", func(k *timekeepers) { k.pit = true }},
		{"the real-time clock", func(k *timekeepers) { k.rtc = true }},
		{"KVM", func(k *timekeepers) { k.kvm(hz) }},
		{"KVM behind Hyper-V", func(k *timekeepers) {
			k.kvm(hz)
			k.cpuid[leafHypervisor+leafStep] = k.cpuid[leafHypervisor]
			k.cpuid[leafHypervisor+leafStep+leafKVMFeatures] = k.cpuid[leafHypervisor+leafKVMFeatures]
			k.cpuid[leafHypervisor] = signature("Microsoft Hv")
			delete(k.cpuid, leafHypervisor+leafKVMFeatures)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newTimekeepers(t, hz)
			tt.setUp(k)
			initClock()
			from, at := now(), k.tsc
			k.tsc += 10 * hz
			ns := float64(now()-from) / (float64(k.tsc-at) / hz)
			if ns < 0.999e9 || ns > 1.001e9 {
				t.Errorf("ten seconds are %.4f each", ns/1e9)
			}
			// The way back, for the timer.
			if got := tscAt(now()); got > k.tsc+10 || got < k.tsc-10_000 {
				t.Errorf("the counter now is %d, tscAt says %d", k.tsc, got)
			}
		})
	}
}

// kvm makes the hypervisor KVM, with its clock in memory.
func (k *timekeepers) kvm(hz uint64) {
	leaf := signature("KVMKVMKVM")
	k.cpuid[leafHypervisor] = leaf
	k.cpuid[leafHypervisor+leafKVMFeatures] = [4]uint32{kvmClocksource2}
	p := (raw.Addr(&pvclockPage) + 255) &^ 255
	if !mapKernel(p&^4095, testRAM, pteData) {
		k.Fatal("no page table")
	}
	write := cpu.WriteMSR
	cpu.WriteMSR = func(n uint32, v uint64) {
		pv := raw.At[pvclock](p)
		switch n {
		case msrKVMSystemTime:
			if v != testRAM+uint64(p&4095)|1 {
				k.Errorf("KVM was told to write to %#x", v)
			}
			// ns = ticks << shift * mul >> 32
			pv.tsc, pv.system, pv.mul, pv.shift = k.tsc, 5_000_000_000, uint32(1_000_000_000<<33/hz), -1
		case msrKVMWallClock:
			pv.wSec, pv.wNsec = uint32(k.start.Unix())-5, 0
		}
		write(n, v)
	}
}

// TestNoClock: without any source the boot ends with a line.
func TestNoClock(t *testing.T) {
	k := newTimekeepers(t, 2_500_000_000)
	out := k.ends(bootFailed, initClock)
	if !strings.Contains(out, "kiln: cannot boot: no clock to measure the time stamp counter with") {
		t.Errorf("the machine said %q", out)
	}
}

// TestWallClock: the time of day comes from the real-time clock, whichever way
// it counts, or from KVM.
func TestWallClock(t *testing.T) {
	for _, name := range []string{"BCD, 12 hours", "binary, 24 hours", "KVM"} {
		for _, hour := range []int{0, 1, 11, 12, 13, 23} {
			k := newTimekeepers(t, 2_500_000_000)
			k.start = time.Date(2031, 2, 28, hour, 59, 58, 0, time.UTC)
			k.pit, k.rtc, k.binary = true, true, name == "binary, 24 hours"
			if name == "KVM" {
				k.kvm(k.hz)
			}
			initClock()
			got := time.Unix(0, int64(clock.wallOffset+now())).UTC()
			want := k.start.Add(time.Duration(k.tsc / 1000 * 1000 * 1_000_000_000 / k.hz))
			if d := got.Sub(want); d < -time.Second || d > time.Second {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
}

// TestOneShot: where the timer takes no deadlines, it is given the ticks until
// then.
func TestOneShot(t *testing.T) {
	k := newTimekeepers(t, 2_500_000_000)
	k.cpuid[1] = [4]uint32{2: 1 << 21}
	k.pit, k.apicHz = true, 100_000_000
	initClock()
	armed = 0
	at := now() + 3_000_000
	setTimer(at)
	if ticks := k.apicFrom; ticks < 299_000 || ticks > 301_000 {
		t.Errorf("3 ms are %d ticks of a timer of 100 MHz", ticks)
	}
	k.apicFrom = 7
	setTimer(at + 1_000_000)
	if k.apicFrom != 7 {
		t.Error("the timer was set to a later time")
	}
	timerFired()
	setTimer(1) // over
	if k.apicFrom != 1 {
		t.Errorf("a time that is over is %d ticks away", k.apicFrom)
	}
	setTimer(0)
}
