package machine

// In8 reads a byte from an I/O port.
func In8(port uint16) uint8

// In16 reads a word from an I/O port.
func In16(port uint16) uint16

// In32 reads a doubleword from an I/O port.
func In32(port uint16) uint32

// Out8 writes a byte to an I/O port.
func Out8(port uint16, v uint8)

// Out16 writes a word to an I/O port.
func Out16(port uint16, v uint16)

// Out32 writes a doubleword to an I/O port.
func Out32(port uint16, v uint32)
