package net

import "encoding/binary"

// HeaderSize is the size of the header before each frame, which with
// FeatureVersion1 always has num_buffers (virtio 1.2 §5.1.6).
const HeaderSize = 12

// Header flags.
const (
	// FlagNeedsChecksum: the sum from ChecksumStart on is to be put at
	// ChecksumStart+ChecksumOffset, which holds the pseudo header's sum.
	FlagNeedsChecksum = 1 << 0
	// FlagDataValid: the device has verified the checksum.
	FlagDataValid = 1 << 1
)

// Segmentation types.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	// GSOECN is set beside a type if a segment has ECN's CWR bit.
	GSOECN = 0x80
)

// Header tells how a frame's checksum and segments are to be made, or were.
type Header struct {
	Flags          uint8
	GSOType        uint8
	HeaderLen      uint16 // bytes of Ethernet, IP and TCP headers
	GSOSize        uint16 // bytes of payload in each segment
	ChecksumStart  uint16 // bytes from the start of the frame
	ChecksumOffset uint16 // bytes from ChecksumStart
}

// encode writes the header to b, with num_buffers 0 as a driver has to.
func (h *Header) encode(b []byte) {
	_ = b[HeaderSize-1]
	b[0] = h.Flags
	b[1] = h.GSOType
	binary.LittleEndian.PutUint16(b[2:], h.HeaderLen)
	binary.LittleEndian.PutUint16(b[4:], h.GSOSize)
	binary.LittleEndian.PutUint16(b[6:], h.ChecksumStart)
	binary.LittleEndian.PutUint16(b[8:], h.ChecksumOffset)
	binary.LittleEndian.PutUint16(b[10:], 0)
}

// decode reads the header and returns how many buffers the frame takes.
func (h *Header) decode(b []byte) (buffers int) {
	_ = b[HeaderSize-1]
	h.Flags = b[0]
	h.GSOType = b[1]
	h.HeaderLen = binary.LittleEndian.Uint16(b[2:])
	h.GSOSize = binary.LittleEndian.Uint16(b[4:])
	h.ChecksumStart = binary.LittleEndian.Uint16(b[6:])
	h.ChecksumOffset = binary.LittleEndian.Uint16(b[8:])
	return int(binary.LittleEndian.Uint16(b[10:]))
}
