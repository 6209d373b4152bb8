package main

import (
	"unsafe"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
)

// Floating point state, in one of two modes.
//
// SSE mode (the CPU has no AVX, or hides it, as `kiln run` asks under TCG, or
// does not keep XCR0):
// XMM0–15 and MXCSR are saved and loaded one by one at each crossing, which
// under TCG costs a quarter of FXSAVE. x87 registers, which the kernel never
// touches, stay in the CPU until another context wants to use it; percpu.x87
// says whose they are.
//
// XSAVE mode: everything that XCR0 enables is saved when a program leaves
// ring 3. Threads in ring 0 save all but x87.
//
// Metal's own code uses the low halves of XMM0–15 at most: its runtime, never
// started, believes that the CPU has no extension.

// Area sizes and components, Intel SDM vol. 1 §13.
const (
	defaultMXCSR   = 0x1f80
	defaultFCW     = 0x37f
	componentX87   = 1 << 0
	componentSSE   = 1 << 1
	componentAVX   = 1 << 2
	componentAVX3  = 7 << 5 // opmask, ZMM_Hi256, Hi16_ZMM
	fxSize         = 512
	xsaveMinLength = fxSize + 64
)

var fxScratchArea [fxSize + 16]byte

// saveX87 writes the x87 state in the CPU to an FXSAVE image; see entry_amd64.s.
var saveX87 func(area, scratch uintptr)

func fillFloat()

// initFloatMode chooses the mode and enables it.
func initFloatMode(c *percpu, avx bool) {
	fillFloat()
	p := unsafe.Pointer(&saveX87PC)
	saveX87 = *(*func(uintptr, uintptr))(unsafe.Pointer(&p))
	c.mxcsr = defaultMXCSR
	c.fxScratch = (uintptr(unsafe.Pointer(&fxScratchArea)) + 15) &^ 15
	if !avx {
		return
	}
	a, _, _, _ := cpu.CPUID(13, 0)
	xcr0 := uint64(a) & (componentX87 | componentSSE | componentAVX | componentAVX3)
	if xcr0&componentAVX3 != componentAVX3 {
		xcr0 &^= componentAVX3
	}
	if !enableXSAVE(xcr0) {
		return
	}
	c.xsave = 1
	c.xcr0 = xcr0
	c.kernelXCR0 = xcr0 &^ componentX87
}

// enableXSAVE turns the XSAVE instructions on for the components xcr0. It reports
// false, and turns them off again, if XCR0 does not keep what is written: some
// hypervisors take XSETBV and lose its effect when they next have the CPU (QEMU's
// emulated SVM, where KVM runs on it). CPUID makes the guest exit to them.
func enableXSAVE(xcr0 uint64) bool {
	cpu.WriteCR4(cpu.ReadCR4() | cpu.CR4OSXSAVE)
	cpu.SetXCR0(xcr0)
	cpu.CPUID(0, 0)
	if cpu.ReadXCR0() == xcr0 {
		return true
	}
	cpu.WriteCR4(cpu.ReadCR4() &^ cpu.CR4OSXSAVE)
	return false
}

// initFloat makes area hold the initial state.
func initFloat(area uintptr) {
	*raw.At[uint16](area) = defaultFCW
	*raw.At[uint32](area + fxMXCSR) = defaultMXCSR
	// XSTATE_BV = 0 would do for XRSTOR, but then XSAVE's legacy part
	// would not be what a signal frame shows.
	*raw.At[uint64](area + xsaveBV) = componentSSE
}

// floatSize is the length of a thread's floating point state in bytes.
func floatSize(c *percpu) uintptr {
	if c.xsave == 0 {
		return fxSize
	}
	_, b, _, _ := cpu.CPUID(13, 0) // for the components that XCR0 enables
	return uintptr(b)
}

// saveUserFloat writes the x87 state in the CPU, whoever's it is, to its
// owner's area; after that the CPU holds none. The Sentry is about to use the
// x87 unit itself (gVisor's initX86FPState).
func saveUserFloat() {
	if c := thisCPU(); c.x87 != nil {
		saveX87(c.x87.FP, c.fxScratch)
		c.x87 = nil
	}
}

// dropUserFloat forgets u's x87 state in the CPU.
func dropUserFloat(u *userContext) {
	if c := thisCPU(); c.x87 == u {
		c.x87 = nil
	}
}
