// Command metal is the layer between a machine and the kernel program: it
// boots, owns the CPU, physical memory, interrupts and time, and answers the
// Linux system calls that the kernel program's Go runtime and the Sentry make
// of their host ("hostcalls"). It is to Kiln what bmk is to Rumprun.
//
// Metal is a freestanding Go program. It is built by the stock toolchain, but
// its entry is _kiln_start and its own Go runtime is never started: there is
// no heap, no goroutine, no garbage collector, no package initialisation.
// The kernel program is a second, ordinary Go program, linked at another
// address, whose runtime runs on top of metal. That the two are separate
// programs is what makes metal simple: no write barrier is ever on here, so
// structures may hold plain pointers, and no lock of the runtime exists that
// a trap could find held.
//
// This package is what knows the CPU. What does not has packages of its own
// below it (docs/architecture.md, "Inside metal"), which are tested on the host.
// So is most of this package, on a machine that machine_test.go simulates.
//
// Context: all of metal runs in trap context: on a per-CPU stack, interrupts
// off, one entry at a time. Nothing may allocate, block, panic, use defer or
// maps, or call assembly other than through package cpu. TestFreestanding
// checks the machine code for calls into the runtime.
//
// Lock order: metalLock is the only lock. Every entry takes it, page faults
// of metal itself excepted, which run under the lock of the entry they
// interrupted.
package main

// main is never called: the image starts at _kiln_start.
func main() {}
