package network

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// dhcpConn is a net.PacketConn for DHCP where netstack's UDP does not do: the
// client has no address yet. It moves UDP datagrams in IPv4 packets that
// netstack passes on without a look, always broadcast on the link.
type dhcpConn struct {
	nic   tcpip.NICID
	local tcpip.Address // source of what is sent; may be 0.0.0.0
	port  uint16        // of ours
	ep    tcpip.Endpoint
	wq    waiter.Queue
	once  sync.Once
	done  chan struct{}
}

var _ net.PacketConn = (*dhcpConn)(nil)

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
)

func newDHCPConn(s *stack.Stack, nic tcpip.NICID, local tcpip.Address, port uint16) (*dhcpConn, error) {
	c := &dhcpConn{nic: nic, local: local, port: port, done: make(chan struct{})}
	ep, err := s.NewPacketEndpoint(true, header.IPv4ProtocolNumber, &c.wq)
	if err != nil {
		return nil, fmt.Errorf("packet endpoint: %v", err)
	}
	c.ep = ep
	if err := ep.Bind(tcpip.FullAddress{NIC: nic, Port: uint16(header.IPv4ProtocolNumber)}); err != nil {
		ep.Close()
		return nil, fmt.Errorf("packet endpoint: %v", err)
	}
	return c, nil
}

// ReadFrom returns the next datagram for our port. Its checksum is not
// looked at: the device may have left it to be completed, and each message is
// matched with its transaction.
func (c *dhcpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	c.wq.EventRegister(&entry)
	defer c.wq.EventUnregister(&entry)
	for {
		var buf bytes.Buffer
		_, err := c.ep.Read(&buf, tcpip.ReadOptions{})
		switch err.(type) {
		case nil:
			if payload, from, ok := parseUDP(buf.Bytes(), c.port); ok {
				return copy(b, payload), from, nil
			}
		case *tcpip.ErrWouldBlock:
			select {
			case <-ready:
			case <-c.done:
				return 0, nil, net.ErrClosed
			}
		default:
			return 0, nil, fmt.Errorf("packet endpoint: %v", err)
		}
	}
}

// parseUDP returns the payload and the sender of a datagram for a port, from an
// IPv4 packet.
func parseUDP(b []byte, port uint16) (payload []byte, from *net.UDPAddr, ok bool) {
	ip := header.IPv4(b)
	if !ip.IsValid(len(b)) || ip.TransportProtocol() != header.UDPProtocolNumber || ip.More() || ip.FragmentOffset() != 0 {
		return nil, nil, false
	}
	// IsValid has checked that the lengths fit b.
	udp := header.UDP(ip.Payload())
	if len(udp) < header.UDPMinimumSize || udp.DestinationPort() != port ||
		int(udp.Length()) < header.UDPMinimumSize || int(udp.Length()) > len(udp) {
		return nil, nil, false
	}
	src := ip.SourceAddress()
	return udp[header.UDPMinimumSize:udp.Length()], &net.UDPAddr{IP: src.AsSlice(), Port: int(udp.SourcePort())}, true
}

// WriteTo broadcasts a datagram.
func (c *dhcpConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok || u.IP.To4() == nil {
		return 0, fmt.Errorf("destination %v is not an IPv4 address and port", to)
	}
	packet := buildUDP(c.local, tcpip.AddrFrom4Slice(u.IP.To4()), c.port, uint16(u.Port), b)
	_, err := c.ep.Write(bytes.NewReader(packet), tcpip.WriteOptions{To: &tcpip.FullAddress{
		NIC: c.nic, Port: uint16(header.IPv4ProtocolNumber), LinkAddr: header.EthernetBroadcastAddress,
	}})
	if err != nil {
		return 0, fmt.Errorf("packet endpoint: %v", err)
	}
	return len(b), nil
}

// buildUDP makes an IPv4 packet with a datagram.
func buildUDP(src, dst tcpip.Address, srcPort, dstPort uint16, payload []byte) []byte {
	n := header.UDPMinimumSize + len(payload)
	b := make([]byte, header.IPv4MinimumSize+n)
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: src, DstAddr: dst,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(b[header.IPv4MinimumSize:])
	udp.Encode(&header.UDPFields{SrcPort: srcPort, DstPort: dstPort, Length: uint16(n)})
	copy(udp.Payload(), payload)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, uint16(n))
	udp.SetChecksum(^udp.CalculateChecksum(checksum.Checksum(payload, sum)))
	return b
}

// Close ends a ReadFrom.
func (c *dhcpConn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.ep.Close()
	})
	return nil
}

// LocalAddr returns the address that is sent from.
func (c *dhcpConn) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: c.local.AsSlice(), Port: int(c.port)}
}

// The client times out by itself.
var errNoDeadline = fmt.Errorf("deadlines are not supported")

func (c *dhcpConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *dhcpConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *dhcpConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
