package platform

import "unsafe"

// address is where p points.
func address(p *byte) uintptr { return uintptr(unsafe.Pointer(p)) }
