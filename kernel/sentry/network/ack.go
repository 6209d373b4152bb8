package network

import (
	"bytes"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Netstack acknowledges each segment as soon as it is queued, before the
// program has read it; a server's reply then follows a moment later and
// acknowledges the same bytes again. Each packet costs its way through IP and
// link and a trip to the hypervisor, so pure acknowledgements are kept back
// between TCP and IP for as long as the receive loop is sure to come round
// again: a packet of the same connection that acknowledges as much makes them
// superfluous. This is the delayed acknowledgement of RFC 9293 §3.8.6.3, bounded
// by the scheduler's time slice (10 ms) where the RFC allows 500 ms.

// A packetWriter is what an acknowledgement on hold is sent by: IPv4 or IPv6 on
// an interface.
type packetWriter interface {
	WritePacket(*stack.Route, stack.NetworkHeaderParams, *stack.PacketBuffer) tcpip.Error
}

// heldAck is a pure acknowledgement on hold.
type heldAck struct {
	route  *stack.Route // the connection's own, so it names it; the reference is ours
	number uint32       // its acknowledgement number
	window uint16
	first  uint32 // the oldest acknowledgement number that pkt replaces
	round  uint32 // of the receive loop, when pkt came

	to     packetWriter
	params stack.NetworkHeaderParams
	pkt    *stack.PacketBuffer // with the TCP header; the reference is ours
}

// send sends an acknowledgement that was on hold. If that fails it is lost,
// which the interface counts, as on any network.
func (h heldAck) send() {
	_ = h.to.WritePacket(h.route, h.params, h.pkt)
	h.release()
}

func (h heldAck) release() {
	h.pkt.DecRef()
	h.route.Release()
}

// ackHold keeps back the acknowledgements of one interface.
type ackHold struct {
	mu sync.Mutex
	// held[first:] are on hold, about in the order of their coming: replies
	// come in that order too, so that find looks at few. Guarded by mu, like
	// all below.
	held   []heldAck
	first  int
	active bool // the receive loop will call turn again
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

// write sends a packet through to, or keeps it back.
func (a *ackHold) write(to packetWriter, r *stack.Route, params stack.NetworkHeaderParams, pkt *stack.PacketBuffer) tcpip.Error {
	// What this machine sends to itself comes in through no receive loop.
	if params.Protocol == header.TCPProtocolNumber && r.Loop()&stack.PacketLoop == 0 {
		kept, before := a.take(to, r, params, pkt)
		if before.pkt != nil {
			before.send()
		}
		if kept {
			return nil
		}
	}
	return to.WritePacket(r, params, pkt)
}

// take looks at a segment that is about to be sent and reports whether the hold
// keeps it. If not, an acknowledgement may have to be sent before it.
func (a *ackHold) take(to packetWriter, r *stack.Route, params stack.NetworkHeaderParams, pkt *stack.PacketBuffer) (kept bool, before heldAck) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.active && a.first == len(a.held) {
		return false, heldAck{}
	}
	tcp := header.TCP(pkt.TransportHeader().Slice())
	if len(tcp) < header.TCPMinimumSize || tcp.Flags()&header.TCPFlagAck == 0 {
		return false, heldAck{}
	}
	pure := isPureAck(tcp, pkt)
	number, window := tcp.AckNumber(), tcp.WindowSize()
	i := a.find(r)
	if i < 0 {
		if !pure || !a.active || len(a.held) >= ackHoldLimit && !a.compact() {
			return false, heldAck{}
		}
		r.Acquire()
		a.held = append(a.held, heldAck{route: r, number: number, window: window, first: number, round: a.round,
			to: to, params: params, pkt: pkt.IncRef()})
		return true, heldAck{}
	}
	h := &a.held[i]
	ahead := int32(number - h.number)
	switch {
	case !pure && ahead >= 0:
		a.remove(i).release()
		a.spared++
		return false, heldAck{}
	case pure && (ahead > 0 || ahead == 0 && window != h.window) && number-h.first < ackStride && a.active:
		h.pkt.DecRef()
		h.pkt, h.number, h.window = pkt.IncRef(), number, window
		a.spared++
		return true, heldAck{}
	}
	// A duplicate acknowledgement says that a segment is missing, and old
	// numbers that one is sent again: the order on the wire matters.
	return false, a.remove(i)
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

// find returns the index of the acknowledgement on hold for a connection, or
// -1.
func (a *ackHold) find(r *stack.Route) int {
	for i := a.first; i < len(a.held); i++ {
		if a.held[i].route == r {
			return i
		}
	}
	return -1
}

// remove takes entry i out. The first takes its place.
func (a *ackHold) remove(i int) heldAck {
	h := a.held[i]
	a.held[i] = a.held[a.first]
	a.held[a.first] = heldAck{}
	if a.first++; a.first == len(a.held) {
		a.held, a.first = a.held[:0], 0
	}
	return h
}

// compact moves the entries to the front, and reports whether that made room.
func (a *ackHold) compact() bool {
	if a.first == 0 {
		return false
	}
	n := copy(a.held, a.held[a.first:])
	clear(a.held[n:])
	a.held, a.first = a.held[:n], 0
	return true
}

// begin says that the receive loop has something and will call turn.
func (a *ackHold) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active = true
}

// turn begins the receive loop's next round: what was held before this one is
// sent. more says that the loop will come round again; without it all is sent.
func (a *ackHold) turn(more bool) {
	for _, h := range a.due(more) {
		h.send()
	}
}

// due begins the next round and takes out what has waited long enough.
func (a *ackHold) due(more bool) (due []heldAck) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := a.first; i < len(a.held); i++ {
		if !more || a.held[i].round != a.round {
			due = append(due, a.remove(i))
		}
	}
	a.round++
	a.active = more
	return due
}
