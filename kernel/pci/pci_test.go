package pci_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"kiln/kernel/pci"
	"kiln/kernel/pci/mmio"
	"kiln/kernel/pci/pcitest"
)

func find(fs []*pci.Function, a pci.Address) *pci.Function {
	for _, f := range fs {
		if f.Address == a {
			return f
		}
	}
	return nil
}

func TestScan(t *testing.T) {
	bus := pcitest.Bus{}
	bus.Add(pci.Address{0, 0, 0}, 0x8086, 0x1237, 0x0600, 0)
	bus.Add(pci.Address{0, 1, 0}, 0x8086, 0x7000, 0x0601, 0x80)
	bus.Add(pci.Address{0, 1, 3}, 0x8086, 0x7113, 0x0680, 0)
	// Function 1 of a single-function device is an echo, not a device.
	bus.Add(pci.Address{0, 2, 0}, 0x1af4, 0x1041, 0x0200, 0)
	bus.Add(pci.Address{0, 2, 1}, 0x1af4, 0x1041, 0x0200, 0)
	br := bus.Add(pci.Address{0, 3, 0}, 0x1b36, 0x0001, 0x0604, 1)
	br.Bytes[0x19] = 5
	bus.Add(pci.Address{5, 4, 0}, 0x1af4, 0x1044, 0x00ff, 0)
	loop := bus.Add(pci.Address{5, 6, 0}, 0x1b36, 0x0001, 0x0604, 1)
	loop.Bytes[0x19] = 5 // leads to itself

	var got []string
	for _, f := range pci.Scan(bus) {
		got = append(got, f.Address.String())
	}
	want := []string{"00:00.0", "00:01.0", "00:01.3", "00:02.0", "00:03.0", "05:04.0", "05:06.0"}
	if !slices.Equal(got, want) {
		t.Errorf("Scan = %v, want %v", got, want)
	}
}

func TestBARs(t *testing.T) {
	bus := pcitest.Bus{}
	a := pci.Address{0, 2, 0}
	s := bus.Add(a, 0x1af4, 0x1041, 0x0200, 0)
	s.Bytes[4] = 7 // command
	s.SetBAR(0, 0xc040, 0x40, false, 1)
	s.SetBAR(1, 0xfebd1000, 0x1000, false, 0)
	s.SetBAR(4, 0xfe_00004000, 0x4000, true, 8)
	f := find(pci.Scan(bus), a)
	got := f.BARs()
	want := []pci.BAR{
		{Index: 0, IO: true, Addr: 0xc040, Size: 0x40},
		{Index: 1, Addr: 0xfebd1000, Size: 0x1000},
		{Index: 4, Wide: true, Addr: 0xfe_00004000, Size: 0x4000},
	}
	if !slices.Equal(got, want) {
		t.Errorf("BARs = %+v, want %+v", got, want)
	}
	if got, want := f.Read16(4), uint16(7); got != want {
		t.Errorf("command after BARs = %#x, want %#x", got, want)
	}
	if again := f.BARs(); !slices.Equal(again, want) {
		t.Errorf("BARs after BARs = %+v, want %+v", again, want)
	}
}

func TestAssign(t *testing.T) {
	bus := pcitest.Bus{}
	a, b := pci.Address{0, 2, 0}, pci.Address{0, 3, 0}
	bus.Add(a, 0x1af4, 0x1041, 0x0200, 0).SetBAR(1, 0xfdfff000, 0x1000, false, 0)
	s := bus.Add(b, 0x1af4, 0x1041, 0x0200, 0)
	s.SetBAR(1, 0, 0x1000, false, 0)
	s.SetBAR(4, 0, 0x4000, true, 8)
	fs := pci.Scan(bus)
	if err := pci.Assign(fs); err != nil {
		t.Fatal(err)
	}
	got := find(fs, b).BARs()
	want := []pci.BAR{
		{Index: 1, Addr: 0xfdffe000, Size: 0x1000},
		{Index: 4, Wide: true, Addr: 0xfdff8000, Size: 0x4000},
	}
	if !slices.Equal(got, want) {
		t.Errorf("assigned %+v, want %+v", got, want)
	}
}

func TestAssignFails(t *testing.T) {
	bus := pcitest.Bus{}
	bus.Add(pci.Address{0, 2, 0}, 0x1af4, 0x1041, 0, 0).SetBAR(0, 0, 1<<30, false, 0)
	err := pci.Assign(pci.Scan(bus))
	if err == nil || !strings.Contains(err.Error(), "no room for BAR 0") {
		t.Errorf("Assign of 1 GB = %v, want no room", err)
	}
}

func TestCapabilityLoop(t *testing.T) {
	bus := pcitest.Bus{}
	s := bus.Add(pci.Address{0, 2, 0}, 0x1af4, 0x1041, 0, 0)
	off := s.AddCap(pci.CapVendor, make([]byte, 2))
	s.Bytes[off+1] = byte(off)
	if got := len(pci.Scan(bus)[0].Capabilities(pci.CapVendor)); got > 48 {
		t.Errorf("a looping list gave %d capabilities", got)
	}
}

// words is a table of registers in ordinary memory.
type words struct {
	mmio.Registers
	w []uint32
}

func (w *words) Read32(off int) uint32     { return w.w[off/4] }
func (w *words) Write32(off int, v uint32) { w.w[off/4] = v }

func TestMSIX(t *testing.T) {
	bus := pcitest.Bus{}
	a := pci.Address{0, 2, 0}
	s := bus.Add(a, 0x1af4, 0x1041, 0x0200, 0)
	off := s.AddCap(pci.CapMSIX, []byte{2, 0x40, 1, 0x20, 0, 0, 1, 0x30, 0, 0}) // 3 entries, masked, BAR 1
	f := find(pci.Scan(bus), a)
	table := &words{w: make([]uint32, 12)}
	x, err := f.NewMSIX(func(bar, off, size int) (mmio.Registers, error) {
		if bar != 1 || off != 0x2000 || size != 48 {
			t.Errorf("table at BAR %d+%#x, %d bytes; want 1+0x2000, 48", bar, off, size)
		}
		return table, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Set(2, 0x1_fee00000, 0x41); err != nil {
		t.Fatal(err)
	}
	if err := x.Set(3, 0, 0); err == nil {
		t.Error("Set(3) of 3 entries did not fail")
	}
	want := []uint32{0, 0, 0, 1, 0, 0, 0, 1, 0xfee00000, 1, 0x41, 0}
	if !slices.Equal(table.w, want) {
		t.Errorf("table = %#x, want %#x", table.w, want)
	}
	if got, want := s.Bytes[off+3]>>6, uint8(2); got != want {
		t.Errorf("enable, mask = %b, want %b", got, want)
	}
	_, err = f.NewMSIX(func(int, int, int) (mmio.Registers, error) { return nil, errors.New("no BAR") })
	if err == nil {
		t.Error("a table that cannot be mapped is no error")
	}
}
