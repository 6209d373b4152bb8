package pagetable

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"kiln/kernel/metal/frame"
)

const kernelVA = 0xffffa00000000000

// newTest returns tables over n frames of ordinary memory and a kernel root.
func newTest(t *testing.T, n int) (*Tables, *frame.Allocator, frame.Addr) {
	t.Helper()
	mem := make([]byte, (n+2)*frame.Size)
	base := (uintptr(unsafe.Pointer(&mem[0])) + frame.Size - 1) &^ (frame.Size - 1)
	frames := new(frame.Allocator)
	frames.Init(base-frame.Size, make([]uint8, n+1))
	frames.Add(frame.Size, uint64(n+1)*frame.Size)
	tables := new(Tables)
	tables.Init(frames, base-frame.Size, func(p uintptr) {
		clear(unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), frame.Size))
	})
	t.Cleanup(func() { mem[0] = 0 }) // keep mem reachable
	k, ok := tables.NewKernel([]uintptr{kernelVA})
	if !ok {
		t.Fatal("NewKernel: no memory")
	}
	return tables, frames, k
}

func TestMapAgainstModel(t *testing.T) {
	tables, frames, _ := newTest(t, 4000)
	before := frames.FreeFrames()
	root := tables.New()
	model := map[uintptr]uint64{}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		va := uintptr(rng.Uint64N(1<<14)) << 12 // 64 MB
		if rng.IntN(8) == 0 {
			va |= uintptr(rng.Uint64N(4)) << 40
		}
		switch rng.IntN(3) {
		case 0, 1:
			phys := rng.Uint64N(1<<40) &^ 0xfff
			e := tables.Ensure(root, va)
			if e == nil {
				t.Fatalf("Ensure(%#x) = nil", va)
			}
			*e = Entry(phys) | Present | User
			model[va] = phys
		case 2:
			length := uintptr(rng.Uint64N(1024)) << 12
			tables.Clear(root, va, length)
			for a := range model {
				if a >= va && a < va+length {
					delete(model, a)
				}
			}
		}
	}
	for va, want := range model {
		if got, ok := tables.Translate(root, va+0x123); !ok || got != want+0x123 {
			t.Fatalf("Translate(%#x) = %#x, %v, want %#x", va, got, ok, want)
		}
	}
	for va := uintptr(0); va < 64<<20; va += frame.Size {
		if _, ok := model[va]; ok {
			continue
		}
		if got, ok := tables.Translate(root, va); ok {
			t.Fatalf("Translate(%#x) = %#x, want nothing", va, got)
		}
	}
	tables.Free(root)
	if got := frames.FreeFrames(); got != before {
		t.Errorf("free frames after Free = %d, want %d", got, before)
	}
}

// TestClearAll: a range over all that a program can map removes what is there and
// gives back the last-level tables, and one between two mappings removes neither.
func TestClearAll(t *testing.T) {
	tables, _, _ := newTest(t, 64)
	root := tables.New()
	low, high, top := uintptr(0x400000), uintptr(0x7f0000000000), uintptr(1<<47-2*frame.Size)
	for _, va := range []uintptr{low, high, high + 5*frame.Size, top} {
		*tables.Ensure(root, va) = Entry(va)&0xffff000 | Present | User
	}
	before := tables.Count()
	if tables.Clear(root, low+frame.Size, high-low-frame.Size) || tables.Count() != before {
		t.Error("Clear between two mappings found something")
	}
	if !tables.Clear(root, high, frame.Size) {
		t.Error("Clear did not find a mapping")
	}
	for _, va := range []uintptr{low, high + 5*frame.Size, top} {
		if _, ok := tables.Translate(root, va); !ok {
			t.Errorf("Clear beside it removed %#x", va)
		}
	}
	if tables.Clear(root, 0, 0) {
		t.Error("Clear of nothing found something")
	}
	if !tables.Clear(root, 0, 1<<47) || tables.Count() != before-3 {
		t.Errorf("Clear of all left %d tables of %d, want %d", tables.Count(), before, before-3)
	}
	for _, va := range []uintptr{low, high + 5*frame.Size, top} {
		if _, ok := tables.Translate(root, va); ok {
			t.Errorf("Clear of all left %#x", va)
		}
	}
}

// TestEnsureRun: the entries of a run are those that Ensure returns one by one,
// to the end of their table.
func TestEnsureRun(t *testing.T) {
	tables, _, _ := newTest(t, 64)
	root := tables.New()
	for _, tt := range []struct {
		va  uintptr
		len int
	}{
		{0x40000000, 512},
		{0x40001000, 511},
		{0x401ff000, 1},
		{0x40200000, 512},
	} {
		run := tables.EnsureRun(root, tt.va)
		if len(run) != tt.len {
			t.Errorf("EnsureRun(%#x) has %d entries, want %d", tt.va, len(run), tt.len)
		}
		for i := range run {
			if got, want := &run[i], tables.Ensure(root, tt.va+uintptr(i)*frame.Size); got != want {
				t.Fatalf("entry %d of EnsureRun(%#x) is at %p, want %p", i, tt.va, got, want)
			}
		}
	}
	*tables.EnsureLarge(root, 0x80000000, 1) = Present | Large
	if run := tables.EnsureRun(root, 0x80001000); run != nil {
		t.Errorf("EnsureRun below a large page has %d entries, want none", len(run))
	}
}

func TestKernelHalfIsShared(t *testing.T) {
	tables, _, k := newTest(t, 64)
	a, b := tables.New(), tables.New()
	*tables.Ensure(k, kernelVA+0x5000) = 0x7000 | Present
	for _, root := range []frame.Addr{a, b} {
		if got, ok := tables.Translate(root, kernelVA+0x5008); !ok || got != 0x7008 {
			t.Errorf("Translate = %#x, %v, want 0x7008", got, ok)
		}
	}
	tables.Free(a)
	if _, ok := tables.Translate(b, kernelVA+0x5000); !ok {
		t.Error("freeing one root took the shared half away")
	}
}

// TestNext walks an address space with one page: each step passes over all that
// a missing table would map, and none goes past the end.
func TestNext(t *testing.T) {
	tables, _, _ := newTest(t, 64)
	root := tables.New()
	const page = 0x7123_4560_0000
	*tables.Ensure(root, page) = 0x5000 | Present | User
	steps, found := 0, 0
	for va := uintptr(0); va < lowerLimit; steps++ {
		e, size := tables.Lookup(root, va)
		if e != nil && *e != 0 {
			found++
		}
		next := Next(va, size, lowerLimit)
		if next <= va || next > lowerLimit {
			t.Fatalf("Next(%#x, %#x) = %#x", va, size, next)
		}
		va = next
	}
	// 256 slots, and one of each level in full.
	if want := 255 + 511 + 511 + 512; steps != want || found != 1 {
		t.Errorf("%d steps found %d pages, want %d steps and 1 page", steps, found, want)
	}
	for _, tt := range []struct{ va, size, end, want uintptr }{
		{0x1000, 0x1000, 0x5000, 0x2000},
		{0x1800, 0x1000, 0x5000, 0x2000},
		{0x1000, LargeSize, 0x5000, 0x5000},
		// The last gigabyte: the sum would wrap around.
		{^uintptr(0) - 1<<30 + 1, 1 << 30, ^uintptr(0) - 0xfff, ^uintptr(0) - 0xfff},
	} {
		if got := Next(tt.va, tt.size, tt.end); got != tt.want {
			t.Errorf("Next(%#x, %#x, %#x) = %#x, want %#x", tt.va, tt.size, tt.end, got, tt.want)
		}
	}
}

// TestClearSparse: what Clear passes over of an address space with one page
// grows with the missing table's level, so that to clear all 128 TB is a
// matter of some hundred steps.
func TestClearSparse(t *testing.T) {
	tables, _, _ := newTest(t, 64)
	root := tables.New()
	const page = 0x7123_4560_0000
	*tables.Ensure(root, page) = 0x5000 | Present | User
	for _, tt := range []struct {
		va, span uintptr
		missing  bool
	}{
		{0, 1 << 39, true},
		{page + 1<<39, 1 << 39, true},
		{page + 1<<30, 1 << 30, true},
		{page, LargeSize, false},
	} {
		pd, span := tables.level1(root, tt.va)
		if (pd == nil) != tt.missing || span != tt.span {
			t.Errorf("level1(%#x) = %v, %#x, want span %#x, missing %v", tt.va, pd, span, tt.span, tt.missing)
		}
	}
	if tables.Clear(root, 0, page) {
		t.Error("Clear below the page found something")
	}
	if tables.Clear(root, page+0x1000, lowerLimit-page-0x1000) {
		t.Error("Clear above the page found something")
	}
	if _, ok := tables.Translate(root, page); !ok {
		t.Error("Clear around the page removed it")
	}
	if !tables.Clear(root, 0, lowerLimit) {
		t.Error("Clear of everything found nothing")
	}
	if _, ok := tables.Translate(root, page); ok {
		t.Error("Clear of everything left the page")
	}
}

// TestPrune: tables that map nothing any more are given back, others are not.
func TestPrune(t *testing.T) {
	tables, _, _ := newTest(t, 64)
	root := tables.New()
	const page = 0x7123_4560_0000
	for _, va := range []uintptr{page, page + LargeSize} {
		*tables.Ensure(root, va) = 0x5000 | Present
	}
	before := tables.Count()
	if tables.Prune(root, page, 2*LargeSize) || tables.Count() != before {
		t.Error("Prune gave back a table that maps a page")
	}
	e, _ := tables.Lookup(root, page)
	*e = 0
	if !tables.Prune(root, page+0x3000, 0x1000) || tables.Count() != before-1 {
		t.Errorf("Prune of an empty table: %d tables, want %d", tables.Count(), before-1)
	}
	if tables.Prune(root, page, LargeSize) {
		t.Error("Prune gave a table back twice")
	}
	if _, ok := tables.Translate(root, page+LargeSize); !ok {
		t.Error("Prune removed a neighbour")
	}
}

func TestLargePages(t *testing.T) {
	tables, _, k := newTest(t, 64)
	*tables.EnsureLarge(k, kernelVA, 1) = 0x600000 | Present | Large
	tests := []struct {
		va   uintptr
		want uint64
	}{{kernelVA, 0x600000}, {kernelVA + 0x12345, 0x612345}, {kernelVA + LargeSize - 1, 0x7fffff}}
	for _, tt := range tests {
		if got, ok := tables.Translate(k, tt.va); !ok || got != tt.want {
			t.Errorf("Translate(%#x) = %#x, %v, want %#x", tt.va, got, ok, tt.want)
		}
	}
	if e := tables.Ensure(k, kernelVA); e != nil {
		t.Error("Ensure went through a large page")
	}
}

func TestLazy(t *testing.T) {
	const va = 0xffffb012_3456_7000
	e := Lazy(va, Writable|NoExecute|Global)
	if !e.IsLazy() || e&Present != 0 {
		t.Errorf("Lazy = %#x", e)
	}
	if got := e.LazyAddr(); got != va {
		t.Errorf("LazyAddr = %#x, want %#x", got, uintptr(va))
	}
	if got, want := e.LazyFlags(), Writable|NoExecute|User|Present; got != want {
		t.Errorf("LazyFlags = %#x, want %#x", got, want)
	}
	if Entry(0).IsLazy() || (Present | 0x1000).IsLazy() {
		t.Error("an ordinary entry counts as lazy")
	}
}

func TestNoMemory(t *testing.T) {
	tables, frames, _ := newTest(t, 8)
	root := tables.New()
	for frames.Alloc(0) != 0 {
	}
	if e := tables.Ensure(root, 0x1000); e != nil {
		t.Error("Ensure without memory returned an entry")
	}
	if f := tables.New(); f != 0 {
		t.Errorf("New without memory = %#x", f)
	}
}
