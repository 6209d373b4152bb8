package network

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// checksumsValid checks what the device did not: the IPv4 header's checksum,
// and TCP's or UDP's unless the device vouches for it. Packets that it cannot
// make sense of, and fragments, whose sum spans several packets, count as
// valid; netstack's parsers see to the former.
func checksumsValid(parts [][]byte, size int, vouched bool) bool {
	eth := header.Ethernet(parts[0])
	ip := parts[0][header.EthernetMinimumSize:]
	switch eth.Type() {
	case header.IPv4ProtocolNumber:
		h := header.IPv4(ip)
		if len(ip) < header.IPv4MinimumSize || len(ip) < int(h.HeaderLength()) || h.HeaderLength() < header.IPv4MinimumSize {
			return true
		}
		if !h.IsChecksumValid() {
			return false
		}
		if vouched || h.More() || h.FragmentOffset() != 0 || int(h.TotalLength()) > size-header.EthernetMinimumSize {
			return true
		}
		n := int(h.TotalLength()) - int(h.HeaderLength())
		if n < 0 {
			return true
		}
		return transportValid(parts, header.EthernetMinimumSize+int(h.HeaderLength()), n, h.TransportProtocol(),
			h.SourceAddressSlice(), h.DestinationAddressSlice(), true)
	case header.IPv6ProtocolNumber:
		h := header.IPv6(ip)
		if vouched || len(ip) < header.IPv6MinimumSize {
			return true
		}
		n := int(h.PayloadLength())
		if n > size-header.EthernetMinimumSize-header.IPv6MinimumSize {
			return true
		}
		return transportValid(parts, header.EthernetMinimumSize+header.IPv6MinimumSize, n, h.TransportProtocol(),
			ip[8:24], ip[24:40], false)
	}
	return true
}

// transportValid checks the checksum of the n bytes of a TCP or UDP packet
// that begin at off in the frame.
func transportValid(parts [][]byte, off, n int, proto tcpip.TransportProtocolNumber, src, dst []byte, zeroIsNone bool) bool {
	switch proto {
	case header.TCPProtocolNumber:
	case header.UDPProtocolNumber:
		// RFC 768: 0 means that the sender made no sum. RFC 8200 §8.1 does
		// not allow it in IPv6.
		if sum := parts[0]; zeroIsNone && len(sum) >= off+8 && sum[off+6] == 0 && sum[off+7] == 0 {
			return true
		}
	default:
		return true
	}
	var c checksum.Checksumer
	c.Add(src)
	c.Add(dst)
	c.Add([]byte{0, byte(proto), byte(n >> 8), byte(n)})
	for _, p := range parts {
		if off >= len(p) {
			off -= len(p)
			continue
		}
		p = p[off:]
		p = p[:min(n, len(p))]
		c.Add(p)
		off = 0
		if n -= len(p); n == 0 {
			break
		}
	}
	return c.Checksum() == 0xffff
}
