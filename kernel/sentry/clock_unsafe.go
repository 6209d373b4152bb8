package sentry

import (
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// monotonicTime returns ns nanoseconds as netstack counts them. The only way
// that its type offers is to add a duration to zero, which goes through package
// time's calendar; a packet reads the clock twenty times.
func monotonicTime(ns int64) tcpip.MonotonicTime {
	return *(*tcpip.MonotonicTime)(unsafe.Pointer(&ns))
}

// It is one integer; TestMonotonicTime checks that it is the nanoseconds.
var _ [unsafe.Sizeof(int64(0))]byte = [unsafe.Sizeof(tcpip.MonotonicTime{})]byte{}
