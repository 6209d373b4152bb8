package network

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// arrivals stands between IP and the sockets of an interface. It counts what
// comes for them, and drops what they have no room for.
//
// Context: the receive loop of a link, or, on the loopback interface, whoever
// sends, with the sending endpoint's lock held.
type arrivals struct {
	stack.TransportDispatcherWithDefaultHandlerResult
	sockets *sockets
}

// DeliverTransportPacket implements stack.TransportDispatcher.
func (a arrivals) DeliverTransportPacket(proto tcpip.TransportProtocolNumber, pkt *stack.PacketBuffer) stack.TransportPacketDisposition {
	switch proto {
	case header.TCPProtocolNumber:
		if !a.sockets.admitSegment(pkt) {
			return stack.TransportPacketHandled
		}
	case header.UDPProtocolNumber:
		if !a.sockets.admitDatagram(pkt) {
			return stack.TransportPacketHandled
		}
	}
	return a.TransportDispatcherWithDefaultHandlerResult.DeliverTransportPacket(proto, pkt)
}

// admitSegment decides whether a segment may go to its connection.
func (s *sockets) admitSegment(pkt *stack.PacketBuffer) bool {
	h := header.TCP(pkt.TransportHeader().Slice())
	if len(h) < header.TCPMinimumSize {
		return true // netstack drops it
	}
	if flags := h.Flags(); flags&header.TCPFlagSyn != 0 {
		s.opened()
		// The answer to one's own SYN has ACK.
		if s.full.Load() && flags&header.TCPFlagAck == 0 {
			s.dropped.Add(1)
			return false
		}
	}
	size := pkt.Data().Size()
	if size == 0 {
		return true
	}
	s.added(size + s.fields.segment)
	if !s.tcpTight.Load() {
		return true
	}
	ep, ok := s.ip.FindTransportEndpoint(pkt.NetworkProtocolNumber, header.TCPProtocolNumber, addresses(pkt, h.DestinationPort(), h.SourcePort()), pkt.NICID).(*tcp.Endpoint)
	if !ok || s.fields.receivedBy(ep) < bufferMin {
		return true
	}
	s.dropped.Add(1)
	return false
}

// admitDatagram decides whether a datagram may go to its socket.
func (s *sockets) admitDatagram(pkt *stack.PacketBuffer) bool {
	s.added(pkt.Data().Size() + s.fields.udpPacket)
	if !s.udpTight.Load() {
		return true
	}
	h := header.UDP(pkt.TransportHeader().Slice())
	if len(h) < header.UDPMinimumSize {
		return true // netstack drops it
	}
	ep := s.ip.FindTransportEndpoint(pkt.NetworkProtocolNumber, header.UDPProtocolNumber, addresses(pkt, h.DestinationPort(), h.SourcePort()), pkt.NICID)
	if size, ok := s.fields.queuedAt(ep, bufferMin); !ok || size < bufferMin {
		return true
	}
	s.dropped.Add(1)
	return false
}

// addresses returns the addresses of a packet that has come in.
func addresses(pkt *stack.PacketBuffer, local, remote uint16) stack.TransportEndpointID {
	n := pkt.Network()
	return stack.TransportEndpointID{
		LocalAddress: n.DestinationAddress(), LocalPort: local,
		RemoteAddress: n.SourceAddress(), RemotePort: remote,
	}
}
