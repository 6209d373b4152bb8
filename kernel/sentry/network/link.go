package network

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"kiln/kernel/virtio/net"
)

const (
	// gsoMaxSize is the largest packet that netstack may hand down for
	// segmentation. IP's length field is the limit; netstack subtracts the
	// headers.
	gsoMaxSize = 65536

	// backlogLimit is how many packets wait for room in the device before
	// more are dropped. It is Linux's default txqueuelen for Ethernet.
	backlogLimit = 1000

	// maxView is the largest piece that a received packet is kept in. Pieces
	// come from pools of powers of two, so a large one wastes up to half.
	maxView = 16 << 10 // bytes

	// Under load, packets gather before the device is told of them: each
	// notification is a trip to the hypervisor. A frame out of gatherDivisor
	// that the receive loop's last round brought may wait, at most
	// gatherLimit.
	gatherDivisor = 4
	gatherLimit   = 8
)

// link is a netstack link endpoint over a virtio network device.
//
// Receiving: one goroutine runs the device's receive loop and hands each frame
// to netstack in place, so there is no hop between the interrupt and TCP's
// segment queue. Sending: the goroutine that produced a packet copies it into
// the device's memory. When the device is full, packets wait in the backlog,
// which the receive loop drains.
//
// Lock order: netstack's locks, then acks' or dev.Tx, which guards backlog.
type link struct {
	dev  *net.Device
	name string
	caps stack.LinkEndpointCapabilities
	gso  stack.SupportedGSO

	dispatcher atomic.Pointer[stack.NetworkDispatcher]
	mtu        atomic.Uint32
	addr       atomic.Pointer[tcpip.LinkAddress]

	acks    ackHold
	gather  int                   // packets that may wait for Idle; 0 when it will not be called; guarded by dev.Tx
	frames  int                   // delivered since the last Idle; the receive loop's
	backlog []*stack.PacketBuffer // guarded by dev.Tx; references are ours
	dropped atomic.Uint64         // packets that found the backlog full
	badSum  atomic.Uint64         // frames dropped for a wrong checksum
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
	_ net.Handler        = (*link)(nil)
)

func newLink(name string, dev *net.Device) *link {
	mac := dev.MAC()
	addr := tcpip.LinkAddress(mac[:])
	l := &link{dev: dev, name: name, caps: stack.CapabilityResolutionRequired}
	l.mtu.Store(uint32(dev.MTU()))
	l.addr.Store(&addr)
	// CapabilityTXChecksumOffload is not claimed: netstack would then leave
	// out the sums of UDP packets before it fragments them, when nobody can
	// make them any more. Large TCP sends need no such claim: their sums are
	// part of segmentation offload.
	if dev.Has(net.FeatureGuestChecksum) {
		l.caps |= stack.CapabilityRXChecksumOffload
	}
	if dev.Has(net.FeatureHostTSO4 | net.FeatureHostTSO6) {
		l.gso = stack.HostGSOSupported
	}
	return l
}

// Frame implements net.Handler: it delivers a frame to netstack.
func (l *link) Frame(h *net.Header, parts [][]byte, size int) {
	d := l.dispatcher.Load()
	if d == nil {
		return
	}
	if l.frames++; l.frames == 1 {
		l.acks.begin()
	}
	eth := header.Ethernet(parts[0])
	kind, ok := l.packetType(eth)
	if !ok {
		return
	}
	// Netstack trusts a link with RX checksum offload for all packets, the
	// device only vouches for some of them. It never does for IP headers.
	if l.caps&stack.CapabilityRXChecksumOffload != 0 {
		vouched := h.Flags&(net.FlagNeedsChecksum|net.FlagDataValid) != 0
		if !checksumsValid(parts, size, vouched) {
			l.badSum.Add(1)
			return
		}
	}
	proto := eth.Type()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: copyIn(parts, size)})
	if _, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize); ok {
		pkt.PktType = kind
		pkt.NetworkProtocolNumber = proto
		(*d).DeliverNetworkPacket(proto, pkt)
	}
	pkt.DecRef()
}

// packetType says whom a frame is for; ok is false if not for us. A device
// without a control queue lets every frame through.
func (l *link) packetType(eth header.Ethernet) (kind tcpip.PacketType, ok bool) {
	if eth[0]&1 != 0 { // group bit, IEEE 802-2014 §8.2.2
		if [6]byte(eth[:6]) == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} {
			return tcpip.PacketBroadcast, true
		}
		return tcpip.PacketMulticast, true
	}
	return tcpip.PacketHost, string(eth[:6]) == string(*l.addr.Load())
}

// copyIn copies a frame out of the device's buffers.
func copyIn(parts [][]byte, size int) buffer.Buffer {
	var b buffer.Buffer
	for size > 0 {
		v := buffer.NewView(min(size, maxView))
		for room := min(size, maxView); room > 0; {
			n := min(room, len(parts[0]))
			// The view has the room, so this only copies.
			_, _ = v.Write(parts[0][:n])
			room -= n
			size -= n
			if parts[0] = parts[0][n:]; len(parts[0]) == 0 {
				parts = parts[1:]
			}
		}
		// Append refuses only a view that is in a list already.
		if err := b.Append(v); err != nil {
			panic(err)
		}
	}
	return b
}

// Idle implements net.Handler: the receive loop has delivered what there was,
// and comes back after others have run if that was anything.
func (l *link) Idle() {
	l.acks.turn(l.frames > 0)
	tx := l.dev.Tx
	tx.Lock()
	defer tx.Unlock()
	l.gather = min(l.frames/gatherDivisor, gatherLimit)
	l.frames = 0
	tx.Kick()
}

// notify tells the device of what was committed, unless the receive loop will
// do so soon: it has seen enough frames lately that more packets will follow,
// and is sure to come round. The caller holds tx.
func (l *link) notify() {
	if tx := l.dev.Tx; tx.Unpublished() >= l.gather {
		tx.Kick()
	}
}

// Writable implements net.Handler: it sends what waited for room.
func (l *link) Writable() {
	tx := l.dev.Tx
	tx.Lock()
	defer tx.Unlock()
	l.drain()
}

// drain sends the backlog, as much as fits, and asks to be called again for
// the rest. The caller holds tx.
func (l *link) drain() {
	for {
		n := 0
		for n < len(l.backlog) && l.send(l.backlog[n]) {
			l.backlog[n].DecRef()
			l.backlog[n] = nil
			n++
		}
		l.backlog = append(l.backlog[:0], l.backlog[n:]...)
		l.dev.Tx.Kick()
		if len(l.backlog) == 0 || l.dev.Tx.WantRoom() {
			return
		}
		if l.dev.Tx.Err() != nil {
			l.clearBacklog()
			return
		}
	}
}

func (l *link) clearBacklog() {
	for _, pkt := range l.backlog {
		pkt.DecRef()
	}
	l.dropped.Add(uint64(len(l.backlog)))
	l.backlog = nil
}

// WritePackets implements stack.LinkEndpoint.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	tx := l.dev.Tx
	tx.Lock()
	defer tx.Unlock()
	if tx.Err() != nil {
		return 0, &tcpip.ErrClosedForSend{}
	}
	for n, pkt := range pkts.AsSlice() {
		// A packet that never fits would block the backlog for good. Only
		// packet sockets can make one.
		if size := pkt.Size(); size == 0 || size > net.MaxFrame {
			tx.Kick()
			return n, &tcpip.ErrMessageTooLong{}
		}
		if len(l.backlog) == 0 && l.send(pkt) {
			continue
		}
		if len(l.backlog) >= backlogLimit {
			tx.Kick()
			l.dropped.Add(1)
			return n, &tcpip.ErrNoBufferSpace{}
		}
		l.backlog = append(l.backlog, pkt.IncRef())
		if len(l.backlog) == 1 {
			// The first to wait: try once more with what the device has
			// finished meanwhile, else ask to be told.
			l.drain()
		}
	}
	l.notify()
	return pkts.Len(), nil
}

// send copies one packet to the device. It returns false if there is no room.
// The caller holds tx.
func (l *link) send(pkt *stack.PacketBuffer) bool {
	to := l.dev.Tx.Reserve(pkt.Size())
	if to == nil {
		return false
	}
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		s := v.AsSlice()
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		to = to[move(to, s[skip:]):]
		skip = 0
	}
	h := offload(pkt)
	l.dev.Tx.Commit(&h)
	return true
}

// shortMove is what the Go runtime copies through SSE registers at most. It copies more
// by the byte where the CPU has no AVX, if not both places are multiples of 8, and what
// a packet carries begins anywhere.
const shortMove = 2 << 10

// move is copy for what may be long and begin anywhere.
func move(to, from []byte) int {
	n := min(len(to), len(from))
	for done := 0; done < n; done += shortMove {
		copy(to[done:], from[done:min(done+shortMove, n)])
	}
	return n
}

// offload says what the device has to do for a packet: finish the checksum,
// which holds the pseudo header's sum, and cut what is longer than a segment.
func offload(pkt *stack.PacketBuffer) net.Header {
	var h net.Header
	gso := &pkt.GSOOptions
	if gso.Type == stack.GSONone || !gso.NeedsCsum {
		return h
	}
	h.Flags = net.FlagNeedsChecksum
	h.ChecksumStart = uint16(header.EthernetMinimumSize + len(pkt.NetworkHeader().Slice()))
	h.ChecksumOffset = gso.CsumOffset
	if pkt.Data().Size() <= int(gso.MSS) {
		return h
	}
	h.GSOSize = gso.MSS
	h.HeaderLen = uint16(pkt.HeaderSize())
	if gso.Type == stack.GSOTCPv6 {
		h.GSOType = net.GSOTCPv6
	} else {
		h.GSOType = net.GSOTCPv4
	}
	return h
}

// Attach implements stack.LinkEndpoint. Frames for a removed interface are
// dropped.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&d)
}

// run receives, for as long as the device works.
func (l *link) run() {
	if err := l.dev.Run(l); err != nil {
		log.Warningf("network: %s is out of order: %v", l.name, err)
	}
}

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// MTU implements stack.LinkEndpoint.
func (l *link) MTU() uint32 { return l.mtu.Load() }

// SetMTU implements stack.LinkEndpoint.
func (l *link) SetMTU(mtu uint32) { l.mtu.Store(min(mtu, uint32(l.dev.MTU()))) }

// MaxHeaderLength implements stack.LinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return header.EthernetMinimumSize }

// LinkAddress implements stack.LinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return *l.addr.Load() }

// SetLinkAddress implements stack.LinkEndpoint.
func (l *link) SetLinkAddress(a tcpip.LinkAddress) { l.addr.Store(&a) }

// Capabilities implements stack.LinkEndpoint.
func (l *link) Capabilities() stack.LinkEndpointCapabilities { return l.caps }

// Wait implements stack.LinkEndpoint: there is nothing that ends.
func (l *link) Wait() {}

// ARPHardwareType implements stack.LinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.LinkEndpoint.
func (l *link) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
		SrcAddr: pkt.EgressRoute.LocalLinkAddress,
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.LinkEndpoint.
func (l *link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize)
	return ok
}

// Close implements stack.LinkEndpoint.
func (l *link) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}

// GSOMaxSize implements stack.GSOEndpoint.
func (l *link) GSOMaxSize() uint32 { return gsoMaxSize }

// SupportedGSO implements stack.GSOEndpoint.
func (l *link) SupportedGSO() stack.SupportedGSO { return l.gso }
