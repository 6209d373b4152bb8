// Package raw reaches memory by its address.
//
// Metal has no heap: its objects lie in page frames, in the stacks and pages
// of the kernel program, or in device registers, and come to it as addresses.
// This is the one package that makes pointers of them. Nothing is checked: an
// address that nothing is mapped at faults when it is used.
//
// Context: any. Every function is small enough to be inlined.
package raw

import "unsafe"

// At makes a pointer of an address.
func At[T any](addr uintptr) *T { return *(**T)(unsafe.Pointer(&addr)) }

// Addr makes an address of a pointer.
func Addr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// Bytes makes a slice of the n bytes at addr.
func Bytes(addr, n uintptr) []byte { return unsafe.Slice(At[byte](addr), n) }
