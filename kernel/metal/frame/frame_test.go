package frame

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// newTest returns an allocator over n frames of ordinary memory, from frame 1.
func newTest(t *testing.T, n int) *Allocator {
	t.Helper()
	mem := make([]byte, (n+2)*Size)
	base := (uintptr(unsafe.Pointer(&mem[0])) + Size - 1) &^ (Size - 1)
	a := new(Allocator)
	a.Init(base-Size, make([]uint8, n+1)) // frame 1 is at base
	a.Add(Size, uint64(n+1)*Size)
	t.Cleanup(func() { mem[0] = 0 }) // keep mem reachable
	return a
}

func TestAllocAll(t *testing.T) {
	const n = 1000
	a := newTest(t, n)
	seen := map[Addr]bool{}
	for range n {
		f := a.Alloc(0)
		if f == 0 || seen[f] || f%Size != 0 || f > n*Size {
			t.Fatalf("Alloc(0) = %#x, seen %v", f, seen[f])
		}
		seen[f] = true
	}
	if f := a.Alloc(0); f != 0 {
		t.Errorf("Alloc(0) from nothing = %#x, want 0", f)
	}
	for f := range seen {
		if !a.Free(f, 0) {
			t.Fatalf("Free(%#x) = false", f)
		}
	}
	if got := a.Stats(); got != (Stats{Total: n, Free: n, Peak: n}) {
		t.Errorf("Stats() = %+v", got)
	}
	// Everything must have merged again: the largest block is to be had.
	if f := a.Alloc(8); f == 0 || f%(Size<<8) != 0 {
		t.Errorf("Alloc(8) after freeing all = %#x", f)
	}
}

func TestFill(t *testing.T) {
	for n := range 40 {
		p := make([]uint8, n+2)
		fill(p[1:n+1], 0xfe)
		for i, got := range p {
			if want := i > 0 && i <= n; (got == 0xfe) != want || !want && got != 0 {
				t.Fatalf("after fill of %d bytes, byte %d = %#x", n, i-1, got)
			}
		}
	}
}

func TestFreeRefuses(t *testing.T) {
	a := newTest(t, 16)
	f := a.Alloc(0)
	tests := []struct {
		name string
		f    Addr
		want bool
	}{
		{"none", 0, false},
		{"outside", 1000 * Size, false},
		{"allocated", f, true},
		{"twice", f, false},
	}
	for _, tt := range tests {
		if got := a.Free(tt.f, 0); got != tt.want {
			t.Errorf("%s: Free(%#x) = %v, want %v", tt.name, tt.f, got, tt.want)
		}
	}
}

// TestRandom checks against a model that blocks never overlap, are aligned,
// and that the counts agree.
func TestRandom(t *testing.T) {
	const n = 4096
	a := newTest(t, n)
	rng := rand.New(rand.NewPCG(1, 2))
	owner := make([]bool, n+1)
	type block struct {
		f     Addr
		order uint
	}
	var held []block
	used := uint64(0)
	for range 20000 {
		if rng.IntN(2) == 0 {
			order := uint(rng.IntN(5))
			f := a.Alloc(order)
			if f == 0 {
				continue
			}
			if f%(Size<<order) != 0 {
				t.Fatalf("Alloc(%d) = %#x, not aligned", order, f)
			}
			for i := range uint64(1) << order {
				if owner[uint64(f)>>Shift+i] {
					t.Fatalf("Alloc(%d) = %#x overlaps", order, f)
				}
				owner[uint64(f)>>Shift+i] = true
			}
			held = append(held, block{f, order})
			used += 1 << order
		} else if len(held) > 0 {
			i := rng.IntN(len(held))
			b := held[i]
			held[i] = held[len(held)-1]
			held = held[:len(held)-1]
			for i := range uint64(1) << b.order {
				owner[uint64(b.f)>>Shift+i] = false
			}
			if !a.Free(b.f, b.order) {
				t.Fatalf("Free(%#x, %d) = false", b.f, b.order)
			}
			used -= 1 << b.order
		}
		if got := a.Stats().Free; got != n-used {
			t.Fatalf("Free = %d, want %d", got, n-used)
		}
	}
	total := 0
	for o := uint(0); o <= MaxOrder; o++ {
		total += a.FreeBlocks(o) << o
	}
	if total != int(n-used) {
		t.Errorf("frames in free lists = %d, want %d", total, n-used)
	}
}

// TestFresh checks that memory is not written to before it is needed, by which
// the hypervisor would have to provide it.
func TestFresh(t *testing.T) {
	const n = 8 << freshOrder
	mem := make([]byte, (n+1<<freshOrder)*Size)
	const align = Size << freshOrder
	base := (uintptr(unsafe.Pointer(&mem[0])) + align - 1) &^ (align - 1)
	first := base - uintptr(unsafe.Pointer(&mem[0])) // index in mem
	for i := range mem {
		mem[i] = 0xa5
	}
	a := new(Allocator)
	a.Init(base-align, make([]uint8, n+1<<freshOrder))
	a.Add(align, align+n*Size)
	var held []Addr
	for range 1<<freshOrder + 1 {
		held = append(held, a.Alloc(0))
	}
	if got, want := held[0], Addr(align); got != want {
		t.Errorf("first frame at %#x, want %#x", got, want)
	}
	for i, b := range mem[first+2*align:][:(n-2<<freshOrder)*Size] {
		if b != 0xa5 {
			t.Fatalf("%d frames allocated, byte %#x of memory written", len(held), uintptr(i)+2*align)
		}
	}
	if got, want := a.Stats(), (Stats{Total: n, Free: n - 1<<freshOrder - 1, Peak: 1<<freshOrder + 1}); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
	if a.Free(Addr(align+4*align), 0) {
		t.Error("freeing fresh memory succeeded")
	}
}

// TestManyRanges checks that no memory is lost when there are more ranges than
// the allocator keeps fresh.
func TestManyRanges(t *testing.T) {
	const ranges = maxFresh + 10
	a := newTest(t, 0)
	mem := make([]byte, (2*ranges+2)*Size)
	base := (uintptr(unsafe.Pointer(&mem[0])) + Size - 1) &^ (Size - 1)
	a.Init(base-Size, make([]uint8, 2*ranges+2))
	for i := range uint64(ranges) {
		a.Add((2*i+1)*Size, (2*i+2)*Size)
	}
	seen := map[Addr]bool{}
	for f := a.Alloc(0); f != 0; f = a.Alloc(0) {
		if seen[f] || !a.Managed(f) {
			t.Fatalf("Alloc(0) = %#x, seen %v", f, seen[f])
		}
		seen[f] = true
	}
	if len(seen) != ranges {
		t.Errorf("%d frames, want %d", len(seen), ranges)
	}
}

func TestHoles(t *testing.T) {
	a := newTest(t, 8)
	mem := make([]uint8, 64)
	b := new(Allocator)
	b.Init(a.direct, mem)
	b.Add(2*Size+1, 4*Size) // one whole frame: 3
	if got := b.Stats().Total; got != 1 {
		t.Fatalf("Total = %d, want 1", got)
	}
	for _, tt := range []struct {
		f    Addr
		want bool
	}{{2 * Size, false}, {3 * Size, true}, {4 * Size, false}, {640 * Size, false}} {
		if got := b.Managed(tt.f); got != tt.want {
			t.Errorf("Managed(%#x) = %v, want %v", tt.f, got, tt.want)
		}
	}
	if f := b.Alloc(0); f != 3*Size {
		t.Errorf("Alloc(0) = %#x, want %#x", f, 3*Size)
	}
}
