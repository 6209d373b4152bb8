package mmio

import (
	"testing"
	"unsafe"
)

func TestWindowWidths(t *testing.T) {
	mem := make([]uint32, 4)
	w := &Window{base: unsafe.Pointer(&mem[0]), size: 16}
	w.Write32(4, 0x11223344)
	w.Write16(8, 0x5566)
	w.Write8(11, 0x77)
	if got, want := w.Read8(5), uint8(0x33); got != want {
		t.Errorf("Read8(5) = %#x, want %#x", got, want)
	}
	if got, want := w.Read16(6), uint16(0x1122); got != want {
		t.Errorf("Read16(6) = %#x, want %#x", got, want)
	}
	if got, want := w.Read32(8), uint32(0x77005566); got != want {
		t.Errorf("Read32(8) = %#x, want %#x", got, want)
	}
}

func TestWindowBounds(t *testing.T) {
	mem := make([]uint32, 2)
	w := &Window{base: unsafe.Pointer(&mem[0]), size: 8}
	for _, off := range []int{-4, 2, 6, 8, 1 << 40} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Read32(%#x) of 8 bytes did not panic", off)
				}
			}()
			w.Read32(off)
		}()
	}
}
