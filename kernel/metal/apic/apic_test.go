package apic

import (
	"testing"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
)

// registers are a local APIC's in memory: not in a function's frame, which may
// move.
var registers [Size / 4]uint32

// machine is a CPU with a local APIC.
type machine struct {
	x2   bool
	msrs map[uint32]uint64
}

func newMachine(x2 bool) *machine {
	m := &machine{x2: x2, msrs: map[uint32]uint64{cpu.MSRAPICBase: 0xfee00900}}
	clear(registers[:])
	cpu.ReadMSR = func(n uint32) uint64 { return m.msrs[n] }
	cpu.WriteMSR = func(n uint32, v uint64) { m.msrs[n] = v }
	cpu.CPUID = func(leaf, _ uint32) (a, b, c, d uint32) {
		if leaf == 1 && x2 {
			c = featureX2
		}
		return
	}
	return m
}

// register is what the APIC has in a register.
func (m *machine) register(reg uint32) uint32 {
	if m.x2 {
		return uint32(m.msrs[cpu.MSRX2APIC+reg>>4])
	}
	return registers[reg/4]
}

// TestLocal makes each call on an APIC in both modes.
func TestLocal(t *testing.T) {
	for _, x2 := range []bool{true, false} {
		m := newMachine(x2)
		mapped := uint64(0)
		var l Local
		ok := l.Enable(0x5f, func(phys uint64, size uintptr) uintptr {
			mapped = phys
			return raw.Addr(&registers[0])
		})
		base := m.msrs[cpu.MSRAPICBase]
		if !ok || base&baseEnable == 0 || x2 != (base&baseX2 != 0) || !x2 != (mapped == 0xfee00000) {
			t.Errorf("x2APIC %v: Enable = %v, base %#x, registers mapped at %#x", x2, ok, base, mapped)
		}
		for _, reg := range []uint32{regLVTTimer, regLVTLINT0, regLVTLINT1, regLVTError} {
			if m.register(reg) != masked {
				t.Errorf("x2APIC %v: register %#x = %#x after Enable", x2, reg, m.register(reg))
			}
		}
		if m.register(regSpurious) != enable|0x5f {
			t.Errorf("x2APIC %v: spurious vector %#x", x2, m.register(regSpurious))
		}
		registers[regID/4], m.msrs[cpu.MSRX2APIC+regID>>4] = 3<<24, 3
		if addr, data := l.Message(0x31); l.ID() != 3 || addr != 0xfee03000 || data != 0x31 {
			t.Errorf("x2APIC %v: number %d, message %#x to %#x", x2, l.ID(), data, addr)
		}
		for _, tt := range []struct {
			name string
			do   func()
			reg  uint32
			want uint32
		}{
			{"DeadlineTimer", func() { l.DeadlineTimer(0x20) }, regLVTTimer, 0x40020},
			{"OneShotTimer", func() { l.OneShotTimer(0x20) }, regLVTTimer, 0x20},
			{"SetCount", func() { l.SetCount(77) }, regInitialCount, 77},
			{"EndOfInterrupt", func() { l.write(regEOI, 9); l.EndOfInterrupt() }, regEOI, 0},
		} {
			if tt.do(); m.register(tt.reg) != tt.want {
				t.Errorf("x2APIC %v: %s writes %#x, want %#x", x2, tt.name, m.register(tt.reg), tt.want)
			}
		}
		registers[regCurrentCount/4], m.msrs[cpu.MSRX2APIC+regCurrentCount>>4] = 55, 55
		if got := l.Count(); got != 55 {
			t.Errorf("x2APIC %v: Count = %d", x2, got)
		}
	}
	newMachine(false)
	var l Local
	if l.Enable(0x5f, func(uint64, uintptr) uintptr { return 0 }) {
		t.Error("Enable without memory for the registers")
	}
}

// ioRegisters are an I/O APIC's two.
var ioRegisters [8]uint32

// TestIO: the registers are behind two, so what was written last is what can be
// seen: which register was chosen, and its value.
func TestIO(t *testing.T) {
	var io IO
	ioRegisters[ioWindow/4] = 23 << 16 // the version: 24 inputs
	io.Init(raw.Addr(&ioRegisters[0]))
	want := func(what string, reg int, v uint32) {
		t.Helper()
		if got := ioRegisters[ioSelect/4]; got != uint32(reg) || ioRegisters[ioWindow/4] != v {
			t.Errorf("%s: register %#x = %#x, want %#x = %#x", what, got, ioRegisters[ioWindow/4], reg, v)
		}
	}
	want("Init ends with the last input", 0x10+2*23, masked)
	if io.Route(-1, 0x31, 0, false) || io.Route(24, 0x31, 0, false) {
		t.Error("an input was routed that is not there")
	}
	if !io.Route(5, 0x31, 2, true) {
		t.Error("Route")
	}
	want("Route", 0x10+2*5, 0x31|ioLevel)
	io.Mask(5, true)
	want("Mask", 0x10+2*5, 0x31|ioLevel|masked)
	io.Mask(5, false)
	want("Mask off", 0x10+2*5, 0x31|ioLevel)
}
