package blk

import (
	"unsafe"

	"kiln/kernel/machine"
)

// pageOffset returns where b begins in its page.
func pageOffset(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % machine.PageSize)
}
