package cpu

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"
)

// pages are where the tests copy: not in a function's frame, which may move.
var pages [4 * 4096]byte

// page returns the address of a page in pages, on a boundary of one.
func page(n uintptr) (addr uintptr, b []byte) {
	base := uintptr(unsafe.Pointer(&pages[0]))
	off := (base+4095)&^4095 - base + n*4096
	return base + off, pages[off : off+4096]
}

// TestInit has Init fill every function value, each with another routine, and
// runs those that need no privilege.
func TestInit(t *testing.T) {
	Init()
	seen := map[uintptr]bool{}
	for i, pc := range code {
		if pc == 0 || seen[pc] {
			t.Errorf("routine %d is at %#x", i, pc)
		}
		seen[pc] = true
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	first := TSC()
	Pause()
	if second := TSC(); second <= first {
		t.Errorf("the counter went from %d to %d", first, second)
	}
	if maxLeaf, b, c, d := CPUID(0, 0); maxLeaf == 0 || b == 0 || c == 0 || d == 0 {
		t.Errorf("CPUID leaf 0: %#x, %#x, %#x, %#x", maxLeaf, b, c, d)
	}
	if _, _, c, _ := CPUID(1, 0); c&(1<<30) != 0 {
		a, _ := Random()
		if b, ok := Random(); ok && a == b {
			t.Errorf("RDRAND gave %#x twice", a)
		}
	}
	src, from := page(0)
	dst, to := page(1)
	_, behind := page(2)
	for i := range from {
		from[i], to[i], behind[i] = byte(i*7), 1, 2
	}
	CopyPage(dst, src)
	if !bytes.Equal(to, from) || behind[0] != 2 {
		t.Error("CopyPage")
	}
	ClearPage(dst)
	if !bytes.Equal(to, make([]byte, 4096)) || behind[0] != 2 || from[1] != 7 {
		t.Error("ClearPage")
	}
	FXSave(dst) // MXCSR at 24, Intel SDM vol. 1 table 10-2
	if mxcsr := *(*uint32)(unsafe.Pointer(&to[24])); mxcsr&0x1f80 != 0x1f80 {
		t.Errorf("FXSave: MXCSR %#x", mxcsr)
	}
}
