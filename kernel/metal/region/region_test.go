package region

import (
	"math/rand/v2"
	"testing"
)

const page = 4096

// TestAgainstModel compares the map with an array of one protection a page.
func TestAgainstModel(t *testing.T) {
	const pages = 200
	const none = 0xff
	var model [pages]uint8
	for i := range model {
		model[i] = none
	}
	var m Map
	m.Init(make([]Region, 2*pages))
	rng := rand.New(rand.NewPCG(5, 6))
	for step := range 20000 {
		start := rng.IntN(pages)
		end := start + 1 + rng.IntN(min(40, pages-start))
		if rng.IntN(3) == 0 {
			m.Remove(uintptr(start)*page, uintptr(end)*page)
			for i := start; i < end; i++ {
				model[i] = none
			}
		} else {
			prot := uint8(rng.IntN(3))
			m.Set(uintptr(start)*page, uintptr(end)*page, prot)
			for i := start; i < end; i++ {
				model[i] = prot
			}
		}
		for i := range model {
			got := uint8(none)
			if r, ok := m.Find(uintptr(i)*page + 17); ok {
				got = r.Prot
			}
			if got != model[i] {
				t.Fatalf("step %d: page %d = %#x, want %#x", step, i, got, model[i])
			}
		}
		for i := 1; i < m.Len(); i++ {
			a, b := m.At(i-1), m.At(i)
			if a.End > b.Start || a.End == b.Start && a.Prot == b.Prot || a.Start >= a.End {
				t.Fatalf("step %d: regions %v and %v", step, a, b)
			}
		}
		covered, overlaps := true, false
		for i := start; i < end; i++ {
			covered = covered && model[i] != none
			overlaps = overlaps || model[i] != none
		}
		if got := m.Covered(uintptr(start)*page, uintptr(end)*page); got != covered {
			t.Fatalf("step %d: Covered = %v, want %v", step, got, covered)
		}
		if got := m.Overlaps(uintptr(start)*page, uintptr(end)*page); got != overlaps {
			t.Fatalf("step %d: Overlaps = %v, want %v", step, got, overlaps)
		}
	}
}

func TestFull(t *testing.T) {
	var m Map
	m.Init(make([]Region, 4))
	for i := range uintptr(3) {
		if !m.Set(2*i*page, (2*i+1)*page, Read) {
			t.Fatalf("Set %d = false", i)
		}
	}
	if m.Set(100*page, 101*page, Read) {
		t.Error("Set in a full map = true")
	}
	if m.Len() != 3 {
		t.Errorf("Len = %d, want 3", m.Len())
	}
}

func TestGap(t *testing.T) {
	var m Map
	m.Init(make([]Region, 8))
	m.Set(0x1000, 0x2000, Read)
	m.Set(0x5000, 0x9000, Read)
	for _, tt := range []struct{ start, end, align, length, want uintptr }{
		{0x1000, 0x10000, 0x1000, 0x3000, 0x2000},
		{0x1000, 0x10000, 0x4000, 0x1000, 0x4000},
		{0x1000, 0x10000, 0x4000, 0x2000, 0xc000},
		{0x1000, 0x10000, 0x1000, 0x7000, 0x9000},
		{0x1000, 0x10000, 0x1000, 0x7001, 0},
		{0x1000, 0x10000, 0x8000, 0x9000, 0},
		{0x1800, 0x2800, 0x1000, 0x800, 0x2000}, // from within a region
		{0x6000, 0x8000, 0x1000, 0x1000, 0},     // all within one
		{0x1000, 0x1000, 0x1000, 0x1000, 0},
		{0x20000, 0x30000, 0x1000, 0x10000, 0x20000}, // behind all
	} {
		if got := m.Gap(tt.start, tt.end, tt.align, tt.length); got != tt.want {
			t.Errorf("Gap(%#x, %#x, %#x, %#x) = %#x, want %#x", tt.start, tt.end, tt.align, tt.length, got, tt.want)
		}
	}
}
