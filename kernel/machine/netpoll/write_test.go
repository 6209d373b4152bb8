//go:build kiln_kernel

package netpoll

import (
	"syscall"
	"unsafe"
)

// rawWrite is write(2) without entering the scheduler.
func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), e
}
