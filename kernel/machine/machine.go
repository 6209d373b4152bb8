// Package machine is how the kernel program asks metal for what Linux has no
// system call for: ring 3, page tables, device memory, interrupts, the state
// of physical memory.
//
// It is a thin client. The calls are described in kernel/metal/abi; on a Linux
// host each fails with ENOSYS, so packages that use it build and link there.
//
// Context: ordinary goroutines. Nothing here may be used in trap context.
package machine

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"kiln/kernel/metal/abi"
)

// PageSize is the size of a page and of a page frame in bytes.
const PageSize = 4096

// PhysAddr is a physical address.
type PhysAddr uint64

// Registers are a program's general registers, laid out as Linux's
// user_regs_struct and gVisor's linux.PtraceRegs.
type Registers = abi.Registers

// MemInfo is the state of physical memory, in page frames.
type MemInfo = abi.MemInfo

// ClockInfo says how the clocks follow from the time stamp counter.
type ClockInfo = abi.ClockInfo

// Memory returns the state of physical memory.
func Memory() (MemInfo, error) {
	var m MemInfo
	_, err := hostcall("memory state", abi.SysMemInfo, uintptr(unsafe.Pointer(&m)), 0, 0, 0, 0)
	return m, err
}

// enough stands for metal's counter where there is no metal.
var enough uint64 = math.MaxInt64

// freeFrames is metal's counter of free page frames.
var freeFrames = &enough

// promised is how many frames metal gives to no program in ring 3.
var promised = new(atomic.Int64)

// WatchMemory has FreeFrames tell the truth, and metal heed Promised.
func WatchMemory() error {
	free, err := hostcall("free frames", abi.SysFreeCounter, 0, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	p, err := hostcall("promised frames", abi.SysPromised, 0, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	freeFrames, promised = (*uint64)(pointer(free)), (*atomic.Int64)(pointer(p))
	return nil
}

// Promised is how many frames a program in ring 3 cannot have, beyond
// MemInfo.LowWater. It is never negative.
func Promised() *atomic.Int64 { return promised }

// FreeFrames returns how many page frames are free, for the cost of a load. It
// is a very large number until WatchMemory.
func FreeFrames() int64 {
	if faultEvery != 0 && fault() {
		return 0
	}
	return int64(atomic.LoadUint64(freeFrames))
}

// FreeCounter is where FreeFrames looks, for who looks very often. Injected faults
// do not show there.
func FreeCounter() *uint64 { return freeFrames }

// Clock returns how the clocks follow from the time stamp counter.
func Clock() (ClockInfo, error) {
	var c ClockInfo
	_, err := hostcall("clock", abi.SysClockInfo, uintptr(unsafe.Pointer(&c)), 0, 0, 0, 0)
	return c, err
}

// Manifest returns the image's manifest (JSON, see package image).
func Manifest() ([]byte, error) { return os.ReadFile(abi.PathManifest) }

// RunConfig returns what `kiln run` passed to this boot (JSON, see package
// image), or nil if it passed nothing.
func RunConfig() ([]byte, error) {
	b, err := os.ReadFile(abi.PathRunConfig)
	if os.IsNotExist(err) {
		return nil, nil
	}
	return b, err
}

// Cmdline returns the boot command line.
func Cmdline() (string, error) {
	b, err := os.ReadFile(abi.PathCmdline)
	return string(b), err
}

// RootFS opens the image's root file system (EROFS). The file may be mapped;
// the mapping is the loaded image itself.
func RootFS() (*os.File, error) { return os.Open(abi.PathRootFS) }

// PowerOff ends the machine; code is the program's exit status. It does not
// return.
func PowerOff(code int) {
	hostcall("power off", abi.SysPowerOff, uintptr(code), 0, 0, 0, 0)
	os.Exit(code) // on a host without metal
}

// hostcall makes a private hostcall that does not block. Arguments converted
// from pointers must not point into the stack, which may move before metal
// writes there: the directive makes the compiler put their targets on the heap.
//
//go:uintptrescapes
func hostcall(what string, nr, a1, a2, a3, a4, a5 uintptr) (uintptr, error) {
	r, _, e := syscall.RawSyscall6(nr, a1, a2, a3, a4, a5, 0)
	if e != 0 {
		return 0, fmt.Errorf("metal: %s: %w", what, e)
	}
	return r, nil
}
