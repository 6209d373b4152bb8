package network

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// sockets bounds what the sockets of a stack hold, all together. Netstack bounds
// each for itself.
//
// To add up what they hold takes a walk over all of them, a review. Between two
// reviews, sockets counts what comes in and what programs write, which is the
// most that can have been added, and reviews again when that could bring the sum
// over a limit. So a review comes once in many packets, none at all when idle.
type sockets struct {
	ip      *stack.Stack
	closing *closing
	limits  limits
	fields  endpointFields

	// What may come until the next review: bytes of memory for data, and
	// connections.
	bytesLeft atomic.Int64
	opensLeft atomic.Int64

	// The last review's findings. While any is true, the next review is not
	// only a matter of what comes, but also of time: what programs read and
	// peers acknowledge is not counted.
	tcpTight atomic.Bool // TCP's data takes more than it may
	udpTight atomic.Bool // UDP's does
	full     atomic.Bool // there are as many connections as may be
	cookies  atomic.Bool // there are as many half-open ones

	dropped   atomic.Uint64 // packets for sockets without room
	reviewing atomic.Bool   // a review is on its way, or WroteTo is
	reviewed  atomic.Int64  // when the last began, in ns of the stack's clock

	// Owned by who has set reviewing.
	shrunk map[*tcp.Endpoint]shrunkBuffers
	send   tcpip.TCPSendBufferSizeRangeOption    // before pressure; zero without
	recv   tcpip.TCPReceiveBufferSizeRangeOption // likewise
}

// shrunkBuffers are the sizes of an endpoint's buffers before they were shrunk,
// and after; 0 for what was not.
type shrunkBuffers struct{ send, sendNow, receive, receiveNow int64 }

const (
	// reviewShare bounds how often there are reviews near a limit: once for
	// each so great a share of it.
	reviewShare = 16
	// minOpens is the same for connections.
	minOpens = 16
	// sendMaxTight is how far a send buffer grows while there is pressure.
	sendMaxTight = 16 << 10
	// reviewInterval is the least time after which a packet leads to a review
	// where a limit is reached.
	reviewInterval = 10 * time.Millisecond
	// lookAgain is after what time there is a review in any case while a limit
	// is reached.
	lookAgain = 200 * time.Millisecond
)

// newSockets prepares for a stack, which is not used yet.
func newSockets(ip *stack.Stack, c *closing, l limits) (*sockets, error) {
	s := &sockets{ip: ip, closing: c, limits: l, shrunk: map[*tcp.Endpoint]shrunkBuffers{}}
	udp, err := udpEndpoint(ip)
	if err != nil {
		return nil, err
	}
	if s.fields, err = findEndpointFields(udp); err != nil {
		return nil, err
	}
	s.grant(census{})
	return s, nil
}

// opened notes that there may be one connection more.
func (s *sockets) opened() {
	if s.opensLeft.Add(-1) < 0 || (s.full.Load() || s.cookies.Load()) && s.due() {
		s.wantReview()
	}
}

// added notes that there may be n bytes more in sockets.
func (s *sockets) added(n int) {
	if s.bytesLeft.Add(-int64(n)) < 0 || (s.tcpTight.Load() || s.udpTight.Load()) && s.due() {
		s.wantReview()
	}
}

// Wrote notes that a program has written n bytes to a TCP socket. Where it returns
// true, memory is short, and WroteTo is to follow.
//
// Context: the program's system call. It may make a review, so that a program
// that writes and writes does not run ahead of one.
func (s *Stack) Wrote(n int) (tight bool) {
	if s.sockets.bytesLeft.Add(-int64(n+s.sockets.fields.segment)) < 0 {
		s.sockets.tryReview()
	}
	return s.sockets.tcpTight.Load()
}

// WroteTo takes from an endpoint the room for more.
func (s *Stack) WroteTo(ep *tcp.Endpoint) {
	if s.sockets.reviewing.CompareAndSwap(false, true) {
		defer s.sockets.reviewing.Store(false)
		if b := s.sockets.shrinkOne(ep, 0); b != (shrunkBuffers{}) {
			s.sockets.shrunk[ep] = b
		}
	}
}

// due reports whether the last review was some time ago.
func (s *sockets) due() bool {
	return s.now()-s.reviewed.Load() >= int64(reviewInterval)
}

// now returns the time in ns.
func (s *sockets) now() int64 {
	return s.ip.Clock().NowMonotonic().Sub(tcpip.MonotonicTime{}).Nanoseconds()
}

// wantReview begins a review, unless one is under way. It does not wait: who
// calls may hold an endpoint's lock.
func (s *sockets) wantReview() {
	if !s.reviewing.Load() {
		go s.tryReview()
	}
}

// tryReview makes a review, and reports false if somebody is about one, or has an
// endpoint's buffers changed.
func (s *sockets) tryReview() bool {
	if !s.reviewing.CompareAndSwap(false, true) {
		return false
	}
	defer s.reviewing.Store(false)
	s.review()
	return true
}

// census is what the sockets of a stack hold.
type census struct {
	tcp, udp int // bytes of memory
	open     int // connections that are not in closing
	halfOpen int // of these, how many wait for their peer's second segment
	orphans  int // how many the program has closed, without those aborted
}

// holder is a connection with what it holds.
type holder struct {
	*tcp.Endpoint
	tcpUse
}

// review adds up what the sockets hold and enforces the limits.
func (s *sockets) review() {
	s.reviewed.Store(s.now())
	c, all, orphans := s.count()
	// An orphan with much to send goes before one with little, and where
	// memory is short, all that have more than the least go.
	slices.SortFunc(orphans, func(a, b holder) int { return cmp.Compare(b.unsent, a.unsent) })
	for _, o := range orphans {
		if c.orphans <= s.limits.orphans && (c.tcp <= s.limits.tcp.most || o.unsent <= bufferMin) {
			break
		}
		o.Abort()
		c.orphans--
		c.open--
		c.tcp -= s.fields.total(o.tcpUse)
	}
	pressure := c.tcp > s.limits.tcp.pressure || s.pressed() && c.tcp > s.limits.tcp.low
	if pressure {
		s.shrink(all, c.tcp)
	} else {
		s.restore()
	}
	s.setDefaults(pressure)
	s.tcpTight.Store(c.tcp > s.limits.tcp.most)
	s.udpTight.Store(c.udp > s.limits.udp.most)
	s.full.Store(c.open >= s.limits.open)
	s.setCookies(c.halfOpen >= s.limits.halfOpen)
	s.grant(c)
	if s.limited() || s.pressed() || len(s.shrunk) > 0 {
		s.ip.Clock().AfterFunc(lookAgain, s.lookAgain)
	}
}

// limited reports whether something is refused since the last review.
func (s *sockets) limited() bool {
	return s.tcpTight.Load() || s.udpTight.Load() || s.full.Load() || s.cookies.Load()
}

// lookAgain makes a review if the last was a while ago: then no other timer is
// set. Where it cannot, as WroteTo makes none and sets no timer, it comes again.
func (s *sockets) lookAgain() {
	if s.now()-s.reviewed.Load() >= int64(lookAgain) && !s.tryReview() {
		s.ip.Clock().AfterFunc(lookAgain, s.lookAgain)
	}
}

// count looks at all sockets. all are the connections that data is in or can
// come into, orphans those of them that the program has closed.
func (s *sockets) count() (c census, all, orphans []holder) {
	seen := map[stack.TransportEndpoint]struct{}{} // those for IPv4 and IPv6 are there twice
	for _, e := range s.ip.RegisteredEndpoints() {
		if _, ok := seen[e]; ok {
			continue
		}
		seen[e] = struct{}{}
		ep, ok := e.(*tcp.Endpoint)
		if !ok {
			size, _ := s.fields.queuedAt(e, math.MaxInt)
			c.udp += size
			continue
		}
		state := ep.EndpointState()
		switch state {
		case tcp.StateListen, tcp.StateTimeWait, tcp.StateBound, tcp.StateInitial:
			continue
		case tcp.StateSynRecv:
			c.halfOpen++
		}
		h := holder{ep, s.fields.useOf(ep)}
		if h.closed && state == tcp.StateFinWait2 && !isOrphan(ep, state) {
			continue
		}
		c.open++
		c.tcp += s.fields.total(h.tcpUse)
		all = append(all, h)
		if h.closed && isOrphan(ep, state) {
			c.orphans++
			orphans = append(orphans, h)
		}
	}
	return c, all, orphans
}

// isOrphan reports whether a connection that the program has closed is to be
// counted as an orphan, and not in closing.
func isOrphan(ep *tcp.Endpoint, state tcp.EndpointState) bool {
	switch state {
	case tcp.StateFinWait1, tcp.StateClosing, tcp.StateLastAck:
		return true
	case tcp.StateFinWait2:
		// With a time of the program's (TCP_LINGER2), closing does not know it.
		var linger tcpip.TCPLingerTimeoutOption
		return ep.GetSockOpt(&linger) == nil && !isFinWait2(time.Duration(linger))
	}
	return false
}

// shrink takes from the connections the room that they do not use, but for an
// equal share of what is left.
func (s *sockets) shrink(all []holder, used int) {
	share := int64(max(s.limits.tcp.most-used, 0) / 2 / max(len(all), 1))
	still := make(map[*tcp.Endpoint]shrunkBuffers, len(all))
	for _, h := range all {
		if b := s.shrinkOne(h.Endpoint, share); b != (shrunkBuffers{}) {
			still[h.Endpoint] = b
		}
	}
	s.shrunk = still // without those that are gone
}

// shrinkOne takes from one connection the room that it does not use, but for the
// share, in bytes of memory, and returns what is to be given back one day. The
// peer keeps the window that it was offered: netstack drops what comes beyond the
// buffer's size, and the peer would have to repeat that.
//
// The endpoint's lock is held between a look at the use and the new size, as
// netstack holds it while it looks whether an acknowledgement makes room for
// writers (updateSndBufferUsage): else a writer that finds the new buffer full
// could be missed by an acknowledgement that saw the old.
func (s *sockets) shrinkOne(ep *tcp.Endpoint, share int64) shrunkBuffers {
	ep.LockUser()
	defer ep.UnlockUser()
	u := s.fields.useLocked(ep)
	b := s.shrunk[ep]
	o := ep.SocketOptions()
	// The size counts payload only.
	payload := func(memory int64) int64 {
		if u.unsent == 0 {
			return memory
		}
		return memory * int64(u.unsent) / int64(u.unsent+u.segments*s.fields.segment)
	}
	if size, want := o.GetSendBufferSize(), max(int64(u.unsent)+payload(share), payload(bufferMin)); size > want {
		b.send, b.sendNow = max(b.send, size), want
		o.SetSendBufferSize(want, false)
	}
	if size, want := o.GetReceiveBufferSize(), max(int64(u.received+max(u.promised, int(share))), bufferMin); size > want {
		b.receive, b.receiveNow = max(b.receive, size), want
		o.SetReceiveBufferSize(want, false)
	}
	return b
}

// restore gives back what shrink took.
func (s *sockets) restore() {
	for ep, b := range s.shrunk {
		if s.restoreOne(ep, b) {
			delete(s.shrunk, ep)
		}
		ep.WakeupWriters()
	}
}

// restoreOne gives back to one connection what shrink took, where nobody has set
// another size since. It reports false if that is to be tried again: netstack
// tells a peer whose window is closed when the program's reading makes room of
// half the buffer, and would not if that much came without reading.
func (s *sockets) restoreOne(ep *tcp.Endpoint, b shrunkBuffers) (done bool) {
	ep.LockUser()
	defer ep.UnlockUser()
	o := ep.SocketOptions()
	if b.send != 0 && o.GetSendBufferSize() == b.sendNow {
		o.SetSendBufferSize(b.send, false)
	}
	if state := ep.EndpointState(); state == tcp.StateClose || state == tcp.StateError {
		return true
	}
	if b.receive == 0 || o.GetReceiveBufferSize() != b.receiveNow {
		return true
	}
	if int64(s.fields.receivedBy(ep)) > b.receiveNow/2 {
		return false
	}
	o.SetReceiveBufferSize(b.receive, false)
	return true
}

// pressed reports whether there was pressure at the last review.
func (s *sockets) pressed() bool { return s.send.Default != 0 }

// setDefaults has new connections begin with the smallest buffers while there is
// pressure, and send buffers grow no further than a little. The greatest receive
// buffer stays: window scales come from it, for the whole of a connection. What a program sets meanwhile (net.ipv4.tcp_wmem, tcp_rmem) stays.
func (s *sockets) setDefaults(pressure bool) {
	if pressure == s.pressed() {
		return
	}
	var send tcpip.TCPSendBufferSizeRangeOption
	var recv tcpip.TCPReceiveBufferSizeRangeOption
	err := s.ip.TransportProtocolOption(tcp.ProtocolNumber, &send)
	if err == nil {
		err = s.ip.TransportProtocolOption(tcp.ProtocolNumber, &recv)
	}
	if err != nil {
		log.Warningf("network: sizes of buffers: %v", err)
		return
	}
	was, wasRecv := s.send, s.recv
	if pressure {
		s.send, s.recv = send, recv
		send.Default, recv.Default = min(send.Default, bufferMin), min(recv.Default, bufferMin)
		send.Max = min(send.Max, sendMaxTight)
	} else {
		s.send, s.recv = tcpip.TCPSendBufferSizeRangeOption{}, tcpip.TCPReceiveBufferSizeRangeOption{}
		if send.Default == min(was.Default, bufferMin) {
			send.Default = was.Default
		}
		if send.Max == min(was.Max, sendMaxTight) {
			send.Max = was.Max
		}
		if recv.Default == min(wasRecv.Default, bufferMin) {
			recv.Default = wasRecv.Default
		}
	}
	if err = s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &send); err == nil {
		err = s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &recv)
	}
	if err != nil {
		log.Warningf("network: sizes of buffers: %v", err)
	}
}

// setCookies has TCP answer SYNs by cookies, or no longer.
func (s *sockets) setCookies(on bool) {
	if s.cookies.Swap(on) == on {
		return
	}
	option := tcpip.TCPAlwaysUseSynCookies(on)
	if err := s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &option); err != nil {
		log.Warningf("network: SYN cookies: %v", err)
	}
}

// grant sets how much may come before the next review.
func (s *sockets) grant(c census) {
	l := &s.limits
	bytes := min(l.tcp.pressure-c.tcp, l.udp.pressure-c.udp) / 2
	s.bytesLeft.Store(int64(max(bytes, l.tcp.most/reviewShare)))
	opens := min(l.halfOpen-c.halfOpen, l.orphans-c.orphans, l.open-c.open)
	s.opensLeft.Store(int64(max(opens, minOpens)))
}

// udpEndpoint makes an endpoint of UDP and closes it: its type has no name
// outside of netstack.
func udpEndpoint(ip *stack.Stack) (tcpip.Endpoint, error) {
	ep, err := ip.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &waiter.Queue{})
	if err != nil {
		return nil, fmt.Errorf("network: an endpoint of UDP: %v", err)
	}
	ep.Close()
	return ep, nil
}
