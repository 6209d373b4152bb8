package platform

import "encoding/binary"

// x87Code returns the signal code for the x87 exceptions that the FXSAVE image
// in area shows as raised and not masked (Intel SDM vol. 1 §8.1).
func x87Code(area []byte) int32 {
	control := binary.LittleEndian.Uint16(area)
	status := binary.LittleEndian.Uint16(area[2:])
	return floatCode(status &^ control)
}

// simdCode is x87Code for SSE: MXCSR has its masks in bits 7 to 12
// (Intel SDM vol. 1 §10.2.3).
func simdCode(area []byte) int32 {
	mxcsr := binary.LittleEndian.Uint32(area[24:])
	return floatCode(uint16(mxcsr &^ (mxcsr >> 7)))
}

// floatCode returns the signal code for raised exceptions: of several the one
// that Linux picks (arch/x86/kernel/fpu/core.c, fpu__exception_code).
func floatCode(raised uint16) int32 {
	switch {
	case raised&0x01 != 0:
		return fpeFltInv
	case raised&0x04 != 0:
		return fpeFltDiv
	case raised&0x08 != 0:
		return fpeFltOvf
	case raised&0x12 != 0: // denormal operand, underflow
		return fpeFltUnd
	case raised&0x20 != 0:
		return fpeFltRes
	}
	return fpeFltInv
}
