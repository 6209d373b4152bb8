package main

import (
	"testing"

	"kiln/kernel/metal/region"
)

// TestSharedSlots: what one page table maps in the kernel's half, all see, only
// in the slots that mapMachine makes a table for.
func TestSharedSlots(t *testing.T) {
	for _, area := range []struct {
		name        string
		base, limit uint64
	}{
		{"mmap", mmapBase, mmapLimit},
		{"a memory file", memfdBase, memfdBase + memfdWindow},
		{"device registers", mmioBase, mmioBase + 1},
		{"stacks", stackBase, stackBase + 1},
	} {
		if area.base%slotSize != 0 || area.limit-area.base > slotSize {
			t.Errorf("%s: %#x to %#x is not in one slot of %#x bytes", area.name, area.base, area.limit, uint64(slotSize))
		}
	}
}

func TestPlaceMapping(t *testing.T) {
	const page, arena = 4096, 64 << 20
	defer func(r region.Map, next uintptr) { regions, mmapNext = r, next }(regions, mmapNext)
	regions.Init(make([]region.Region, 16))
	mmapNext = mmapBase
	place := func(hint, length, want uintptr) {
		t.Helper()
		got := placeMapping(hint, length)
		if got != want {
			t.Fatalf("placeMapping(%#x, %#x) = %#x, want %#x", hint, length, got, want)
		}
		if got != 0 && !regions.Set(got, got+length, region.Read) {
			t.Fatal("no room for a region")
		}
	}
	place(0, page, mmapBase)
	place(0xc000000000, arena, mmapBase+arena)             // a hint in the programs' half
	place(mmapBase+arena, page, mmapBase+2*arena)          // one that is taken
	place(mmapBase+3*arena, page, mmapBase+3*arena)        // one that is free
	place(0, mmapLimit-mmapBase-4*arena, mmapBase+4*arena) // all the rest

	// The end of the area is no end: what is free is found, aligned.
	place(0, page, mmapBase+page)
	place(0, arena, 0)
	regions.Remove(mmapBase+arena, mmapBase+2*arena)
	place(0, arena, mmapBase+arena)
	place(0, mmapLimit-mmapBase, 0)
}
