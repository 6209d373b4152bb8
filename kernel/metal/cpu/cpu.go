// Package cpu gives metal the x86-64 instructions that Go has no words for,
// and the numbers of the registers they touch (Intel SDM, December 2023).
//
// Context: trap context. Every instruction is a function value that leads
// straight to its assembly. A declared assembly function would be called
// through a wrapper that reloads R14 from FS:-8 when it returns, and in trap
// context FS may belong to a program.
//
// Metal's own Go runtime is never started, so package initialisers do not run:
// Init fills the function values in.
package cpu

import "unsafe"

// Set by Init.
var (
	In8   func(port uint16) uint8
	In16  func(port uint16) uint16
	In32  func(port uint16) uint32
	Out8  func(port uint16, v uint8)
	Out16 func(port uint16, v uint16)
	Out32 func(port uint16, v uint32)

	ReadMSR  func(msr uint32) uint64
	WriteMSR func(msr uint32, v uint64)

	ReadCR0  func() uint64
	ReadCR2  func() uint64
	ReadCR3  func() uint64
	ReadCR4  func() uint64
	WriteCR0 func(v uint64)
	WriteCR3 func(v uint64)
	WriteCR4 func(v uint64)
	ReadXCR0 func() uint64
	SetXCR0  func(v uint64)
	ReadDR6  func() uint64
	WriteDR6 func(v uint64)

	// Invalidate drops the TLB entry for one page (INVLPG).
	Invalidate func(addr uintptr)

	// CPUID returns EAX, EBX, ECX and EDX.
	CPUID func(leaf, subleaf uint32) (a, b, c, d uint32)

	// TSC reads the time stamp counter, ordered after earlier loads.
	TSC func() uint64

	// Random returns a word from RDRAND, and false if it had none.
	Random func() (v uint64, ok bool)

	// ClearPage zeroes one page; CopyPage copies one.
	ClearPage func(p uintptr)
	CopyPage  func(dst, src uintptr)

	// LoadGDT loads the descriptor table and reloads CS, SS, DS, ES;
	// the pointer is to a 10-byte pseudo-descriptor (SDM vol. 3A §3.5.1).
	LoadGDT func(pseudo uintptr, code, data uint16)
	LoadIDT func(pseudo uintptr)
	LoadTR  func(selector uint16)
	LoadLDT func(selector uint16)

	// Halt stops the CPU for good, with interrupts off.
	Halt func()

	// Pause is a spin-wait hint.
	Pause func()

	// FXSave writes the x87 and SSE state to a 512-byte area, 16-byte
	// aligned.
	FXSave func(area uintptr)
)

// code holds the addresses of the assembly routines; a Go function value is a
// pointer to such a word.
var code [32]uintptr

// fill writes the addresses of the assembly routines to code. It is the one
// function here that goes through a wrapper: FS must hold a thread's base or
// metal's own.
func fill()

// at returns routine i as a function value of type T.
func at[T any](i int) T {
	p := unsafe.Pointer(&code[i])
	return *(*T)(unsafe.Pointer(&p))
}

// Init makes the function values usable.
func Init() {
	fill()
	In8 = at[func(uint16) uint8](0)
	In16 = at[func(uint16) uint16](1)
	In32 = at[func(uint16) uint32](2)
	Out8 = at[func(uint16, uint8)](3)
	Out16 = at[func(uint16, uint16)](4)
	Out32 = at[func(uint16, uint32)](5)
	ReadMSR = at[func(uint32) uint64](6)
	WriteMSR = at[func(uint32, uint64)](7)
	ReadCR0 = at[func() uint64](8)
	ReadCR2 = at[func() uint64](9)
	ReadCR3 = at[func() uint64](10)
	ReadCR4 = at[func() uint64](11)
	WriteCR0 = at[func(uint64)](12)
	WriteCR3 = at[func(uint64)](13)
	WriteCR4 = at[func(uint64)](14)
	ReadXCR0 = at[func() uint64](15)
	SetXCR0 = at[func(uint64)](16)
	Invalidate = at[func(uintptr)](17)
	CPUID = at[func(uint32, uint32) (uint32, uint32, uint32, uint32)](18)
	TSC = at[func() uint64](19)
	Random = at[func() (uint64, bool)](20)
	ClearPage = at[func(uintptr)](21)
	CopyPage = at[func(uintptr, uintptr)](22)
	LoadGDT = at[func(uintptr, uint16, uint16)](23)
	LoadIDT = at[func(uintptr)](24)
	LoadTR = at[func(uint16)](25)
	Halt = at[func()](26)
	Pause = at[func()](27)
	FXSave = at[func(uintptr)](28)
	ReadDR6 = at[func() uint64](29)
	WriteDR6 = at[func(uint64)](30)
	LoadLDT = at[func(uint16)](31)
}
