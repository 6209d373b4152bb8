package network

import (
	"bytes"
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Netstack acknowledges each segment as soon as it is queued, before the
// program has read it; a server's reply then follows a moment later and
// acknowledges the same bytes again. Each packet costs a trip to the
// hypervisor, so the link keeps pure acknowledgements back for as long as the
// receive loop is sure to come round again: a packet of the same connection
// that acknowledges as much makes them superfluous. This is the delayed
// acknowledgement of RFC 9293 §3.8.6.3, bounded by the scheduler's time slice
// (10 ms) where the RFC allows 500 ms.

// flow names a connection and the direction of its packets. Most connections
// differ in the ports: they come first.
type flow struct {
	ports     uint32
	addresses [4]uint64 // the first alone for IPv4
}

// heldAck is a pure acknowledgement on hold.
type heldAck struct {
	flow   flow
	number uint32 // its acknowledgement number
	window uint16
	first  uint32              // the oldest acknowledgement number that pkt replaces
	round  uint32              // of the receive loop, when pkt came
	pkt    *stack.PacketBuffer // the reference is ours
}

// ackHold keeps acknowledgements back. It is guarded by dev.Tx.
type ackHold struct {
	held   []heldAck
	active bool // the receive loop will call Idle again
	round  uint32
	spared uint64 // acknowledgements that were not sent
}

const (
	// ackHoldLimit bounds the connections that have one on hold.
	ackHoldLimit = 256

	// ackStride is how many bytes may go unacknowledged on hold: a sender's
	// window grows with the acknowledgements it gets.
	ackStride = 32 << 10
)

// take looks at a packet that is about to be sent and reports whether the hold
// keeps it. What must go before the packet is sent through send.
func (a *ackHold) take(pkt *stack.PacketBuffer, send func(*stack.PacketBuffer)) bool {
	if !a.active && len(a.held) == 0 || pkt.TransportProtocolNumber != header.TCPProtocolNumber {
		return false
	}
	tcp := header.TCP(pkt.TransportHeader().Slice())
	if len(tcp) < header.TCPMinimumSize || tcp.Flags()&header.TCPFlagAck == 0 {
		return false
	}
	pure := isPureAck(tcp, pkt)
	f := flowOf(pkt, tcp)
	number, window := tcp.AckNumber(), tcp.WindowSize()
	i := a.find(&f)
	if i < 0 {
		if !pure || !a.active || len(a.held) >= ackHoldLimit {
			return false
		}
		a.held = append(a.held, heldAck{flow: f, number: number, window: window, first: number, round: a.round, pkt: pkt.IncRef()})
		return true
	}
	h := &a.held[i]
	ahead := int32(number - h.number)
	switch {
	case !pure && ahead >= 0:
		a.drop(i)
		return false
	case pure && (ahead > 0 || ahead == 0 && window != h.window) && number-h.first < ackStride && a.active:
		h.pkt.DecRef()
		h.pkt, h.number, h.window = pkt.IncRef(), number, window
		a.spared++
		return true
	}
	// A duplicate acknowledgement says that a segment is missing, and old
	// numbers that one is sent again: the order on the wire matters.
	send(h.pkt)
	a.remove(i)
	return false
}

// isPureAck reports whether a segment says nothing but how far its sender has
// received: no data, no flag but ACK, no option but time stamps.
func isPureAck(tcp header.TCP, pkt *stack.PacketBuffer) bool {
	if tcp.Flags() != header.TCPFlagAck || pkt.Data().Size() != 0 {
		return false
	}
	opts := tcp[header.TCPMinimumSize:]
	return len(opts) == 0 ||
		len(opts) == 12 && bytes.HasPrefix(opts, []byte{header.TCPOptionNOP, header.TCPOptionNOP, header.TCPOptionTS})
}

// find returns the index of the acknowledgement on hold for a flow, or -1.
func (a *ackHold) find(f *flow) int {
	for i := range a.held {
		if other := &a.held[i].flow; other.ports == f.ports && other.addresses == f.addresses {
			return i
		}
	}
	return -1
}

// flowOf reads a packet's flow from its headers.
func flowOf(pkt *stack.PacketBuffer, tcp header.TCP) flow {
	f := flow{ports: binary.NativeEndian.Uint32(tcp)}
	ip := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber != header.IPv6ProtocolNumber {
		f.addresses[0] = binary.NativeEndian.Uint64(ip[12:header.IPv4MinimumSize])
		return f
	}
	ip = ip[8:header.IPv6MinimumSize]
	for i := range f.addresses {
		f.addresses[i] = binary.NativeEndian.Uint64(ip[8*i:])
	}
	return f
}

// drop forgets an acknowledgement that is no longer needed.
func (a *ackHold) drop(i int) {
	a.held[i].pkt.DecRef()
	a.remove(i)
	a.spared++
}

// remove takes entry i out; its reference has gone elsewhere or is dropped by
// the caller.
func (a *ackHold) remove(i int) {
	last := len(a.held) - 1
	a.held[i] = a.held[last]
	a.held[last] = heldAck{}
	a.held = a.held[:last]
}

// turn begins the receive loop's next round: what was held before this one is
// sent. more says that the loop will come round again; without it all is sent.
func (a *ackHold) turn(more bool, send func(*stack.PacketBuffer)) {
	for i := 0; i < len(a.held); {
		if more && a.held[i].round == a.round {
			i++
			continue
		}
		send(a.held[i].pkt)
		a.remove(i)
	}
	a.round++
	a.active = more
}
