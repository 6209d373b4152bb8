package machine

// In32 reads a doubleword from an I/O port.
func In32(port uint16) uint32

// Out32 writes a doubleword to an I/O port.
func Out32(port uint16, v uint32)
