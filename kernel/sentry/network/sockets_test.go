package network

import (
	"context"
	"io"
	stdnet "net"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// hostile is a network on which a peer sends what it wants.
type hostile struct {
	t     testing.TB
	stack *Stack
	link  *channel.Endpoint

	mu      sync.Mutex
	answers map[uint16]uint32 // the number of the stack's SYN, by the peer's port; guarded by mu
}

var hostileAddress, ownAddress = tcpip.AddrFrom4([4]byte{10, 8, 0, 2}), tcpip.AddrFrom4([4]byte{10, 8, 0, 1})

// newHostile adds an interface with such a network to a stack.
func newHostile(t testing.TB, s *Stack) *hostile {
	t.Helper()
	h := &hostile{t: t, stack: s, link: channel.New(4096, 1500, ""), answers: map[uint16]uint32{}}
	id := s.ip.NextNICID()
	if err := s.ip.CreateNIC(id, h.link); err != nil {
		t.Fatal(err)
	}
	at := tcpip.AddressWithPrefix{Address: ownAddress, PrefixLen: 24}
	if err := s.ip.AddProtocolAddress(id, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: at}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	s.ip.AddRoute(tcpip.Route{Destination: at.Subnet(), NIC: id})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			pkt := h.link.ReadContext(ctx)
			if pkt == nil {
				return
			}
			h.take(pkt)
			pkt.DecRef()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

// take notes the number of a SYN.
func (h *hostile) take(pkt *stack.PacketBuffer) {
	if pkt.NetworkProtocolNumber != ipv4.ProtocolNumber || pkt.TransportProtocolNumber != header.TCPProtocolNumber {
		return
	}
	seg := header.TCP(pkt.TransportHeader().Slice())
	if seg.Flags()&header.TCPFlagSyn != 0 {
		h.mu.Lock()
		h.answers[seg.DestinationPort()] = seg.SequenceNumber()
		h.mu.Unlock()
	}
}

// send sends a segment to the stack's port 4000.
func (h *hostile) send(port uint16, flags header.TCPFlags, seq, ack uint32, data []byte) {
	b := make([]byte, header.IPv4MinimumSize+header.TCPMinimumSize+len(data))
	copy(b[header.IPv4MinimumSize+header.TCPMinimumSize:], data)
	seg := header.TCP(b[header.IPv4MinimumSize:])
	seg.Encode(&header.TCPFields{SrcPort: port, DstPort: 4000, SeqNum: seq, AckNum: ack, DataOffset: header.TCPMinimumSize, Flags: flags, WindowSize: 65535})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, hostileAddress, ownAddress, uint16(len(seg)))
	seg.SetChecksum(^seg.CalculateChecksum(checksum.Checksum(data, sum)))
	h.inject(b, header.TCPProtocolNumber)
}

// sendUDP sends a datagram to the stack's port 4000.
func (h *hostile) sendUDP(data []byte) {
	b := make([]byte, header.IPv4MinimumSize+header.UDPMinimumSize+len(data))
	copy(b[header.IPv4MinimumSize+header.UDPMinimumSize:], data)
	header.UDP(b[header.IPv4MinimumSize:]).Encode(&header.UDPFields{SrcPort: 5000, DstPort: 4000, Length: uint16(header.UDPMinimumSize + len(data))})
	h.inject(b, header.UDPProtocolNumber)
}

func (h *hostile) inject(b []byte, proto tcpip.TransportProtocolNumber) {
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(proto), SrcAddr: hostileAddress, DstAddr: ownAddress})
	ip.SetChecksum(^ip.CalculateChecksum())
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	h.link.InjectInbound(ipv4.ProtocolNumber, pkt)
	pkt.DecRef()
}

// connect makes a connection from a port and returns the numbers that the next
// segment has.
func (h *hostile) connect(port uint16) (seq, ack uint32) {
	h.t.Helper()
	h.send(port, header.TCPFlagSyn, 100, 0, nil)
	eventually(h.t, "the stack answers a SYN", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		n, ok := h.answers[port]
		ack = n + 1
		return ok
	})
	h.send(port, header.TCPFlagAck, 101, ack, nil)
	return 101, ack
}

// listen opens the stack's port 4000.
func (h *hostile) listen() *gonet.TCPListener {
	h.t.Helper()
	l, err := gonet.ListenTCP(h.stack.ip, tcpip.FullAddress{Port: 4000}, ipv4.ProtocolNumber)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { l.Close() })
	return l
}

// settle waits until no review is under way, makes one, and returns what it
// found.
func (s *Stack) settle(t testing.TB) census {
	t.Helper()
	eventually(t, "no review is under way", func() bool { return s.sockets.reviewing.CompareAndSwap(false, true) })
	defer s.sockets.reviewing.Store(false)
	s.sockets.review()
	c, _, _ := s.sockets.count()
	return c
}

func TestEndpointFields(t *testing.T) {
	s := newStack(t, Options{})
	p := newPairs(t, s, s, localhost)
	client, server := p.connect()
	defer client.Close()
	defer server.Close()
	const size = 1000
	if _, err := client.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	var c census
	eventually(t, "the data has arrived", func() bool {
		c = s.settle(t)
		return c.tcp >= size+s.sockets.fields.segment && c.tcp < 2*size+2*s.sockets.fields.segment
	})
	if c.open != 2 || c.halfOpen != 0 || c.orphans != 0 {
		t.Errorf("%+v, want 2 open connections", c)
	}
	if _, err := io.ReadFull(server, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left", func() bool { return s.settle(t).tcp == 0 })
	client.Close()
	eventually(t, "the connection is no orphan", func() bool { c = s.settle(t); return c.orphans == 0 && c.open == 1 })
}

// TestHalfOpen sends SYNs without end.
func TestHalfOpen(t *testing.T) {
	s := newStack(t, Options{Memory: 1})
	h := newHostile(t, s)
	h.listen()
	s.sockets.limits.open = 10_000
	limit := s.sockets.limits.halfOpen
	for i := range 20 * limit {
		h.send(uint16(10000+i), header.TCPFlagSyn, 1, 0, nil)
		if i%32 == 0 {
			time.Sleep(time.Millisecond) // as long as a receive loop needs
		}
	}
	if n := s.inState(tcp.StateSynRecv); n > 2*limit {
		t.Errorf("%d connections are half open, want %d", n, limit)
	}
	if n := s.settle(t); n.halfOpen < limit/2 {
		t.Errorf("%+v, want %d half-open connections", n, limit)
	}
	// Who means it gets through.
	h.connect(9000)
	eventually(t, "a connection is made", func() bool { return s.inState(tcp.StateEstablished) == 1 })
	// Once the others are gone, so are the cookies.
	for _, e := range s.ip.RegisteredEndpoints() {
		if ep, ok := e.(*tcp.Endpoint); ok && ep.EndpointState() == tcp.StateSynRecv {
			ep.Abort()
		}
	}
	eventually(t, "SYNs are answered without cookies", func() bool { return !s.sockets.cookies.Load() })
}

// TestOpenLimit makes connections that stay, more than there may be.
func TestOpenLimit(t *testing.T) {
	s := newStack(t, Options{Memory: 1})
	h := newHostile(t, s)
	l := h.listen()
	limit := s.sockets.limits.open
	var conns []stdnet.Conn
	for i := range limit {
		h.connect(uint16(10000 + i))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	s.settle(t)
	for i := range 100 {
		h.send(uint16(20000+i), header.TCPFlagSyn, 1, 0, nil)
	}
	time.Sleep(50 * time.Millisecond)
	if n := s.settle(t).open; n > limit {
		t.Errorf("%d connections, want %d", n, limit)
	}
	// When some have ended, others are taken.
	for _, c := range conns[:10] {
		c.(*gonet.TCPConn).CloseWrite()
		c.Close()
	}
	for _, e := range s.ip.RegisteredEndpoints() {
		if ep, ok := e.(*tcp.Endpoint); ok && ep.EndpointState() == tcp.StateFinWait1 {
			ep.Abort()
		}
	}
	// No SYN is needed to find that out, so the first is taken.
	eventually(t, "there is room", func() bool { return !s.sockets.full.Load() })
	h.connect(9000)
}

// TestLookAgain has the time for a review come while a program's write changes
// buffers: there must be another time.
func TestLookAgain(t *testing.T) {
	s := newStack(t, Options{}).sockets
	s.full.Store(true)
	s.reviewed.Store(s.now() - int64(lookAgain))
	s.reviewing.Store(true)
	s.lookAgain()
	s.reviewing.Store(false)
	eventually(t, "there is a review", func() bool { return !s.full.Load() })
}

// TestOrphans closes connections with data that the peer never acknowledges.
func TestOrphans(t *testing.T) {
	s := newStack(t, Options{Memory: 1})
	h := newHostile(t, s)
	l := h.listen()
	s.sockets.limits.open = 10_000
	limit := s.sockets.limits.orphans
	for i := range 3 * limit {
		h.connect(uint16(10000 + i))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("unheard")); err != nil {
			t.Fatal(err)
		}
		s.Wrote(7)
		c.Close()
	}
	if n := s.settle(t).orphans; n > limit {
		t.Errorf("%d orphans, want %d", n, limit)
	}
	if n := s.inState(tcp.StateFinWait1); n > limit || n < limit/2 {
		t.Errorf("%d connections in FIN-WAIT-1, want %d", n, limit)
	}
}

// TestUnread sends data to connections that nobody reads, then reads.
func TestUnread(t *testing.T) {
	s := newStack(t, Options{Memory: 1})
	p := newPairs(t, s, s, localhost)
	s.sockets.limits.open = 10_000
	limit := s.sockets.limits.tcp.most
	const count = 20
	const each = 64 << 10
	var wg sync.WaitGroup
	var servers []stdnet.Conn
	for range count {
		client, server := p.connect()
		defer client.Close() // closed sooner, it is an orphan
		servers = append(servers, server)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer client.CloseWrite()
			for data := make([]byte, each); len(data) > 0; {
				n, err := client.Write(data[:min(len(data), 2000)])
				if err != nil {
					t.Error(err)
					return
				}
				s.Wrote(n)
				data = data[n:]
			}
		}()
	}
	worst := 0
	for end := time.Now().Add(250 * time.Millisecond); time.Now().Before(end) || worst < limit/2 && time.Now().Before(end.Add(10*time.Second)); time.Sleep(5 * time.Millisecond) {
		worst = max(worst, s.settle(t).tcp)
	}
	// Each connection may have one segment more.
	if most := limit + limit/reviewShare + count*each; worst > most {
		t.Errorf("data takes %d bytes, want %d at most", worst, most)
	}
	if worst < limit/2 {
		t.Errorf("data takes %d bytes only: the test does not reach the limit of %d", worst, limit)
	}
	t.Logf("%d bytes of %d, %d packets dropped", worst, limit, s.sockets.dropped.Load())
	// All are read at once: a sender whose segments were dropped repeats them
	// the later the longer that lasted.
	for _, c := range servers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer c.Close()
			c.SetDeadline(time.Now().Add(60 * time.Second))
			if n, err := io.Copy(io.Discard, c); n != each || err != nil {
				t.Errorf("read %d bytes, %v; want %d", n, err, each)
			}
		}()
	}
	wg.Wait()
	eventually(t, "nothing is left", func() bool { return s.settle(t).tcp == 0 })
	eventually(t, "no connection keeps a shrunk buffer", func() bool { s.settle(t); return len(s.sockets.shrunk) == 0 })
}

// endpointOf returns the endpoint of a connection.
func endpointOf(c stdnet.Conn) tcpip.Endpoint {
	v := reflect.ValueOf(c).Elem().FieldByName("ep")
	return *(*tcpip.Endpoint)(unsafe.Pointer(v.UnsafeAddr()))
}

// TestUnheard writes to peers that acknowledge nothing, in small pieces.
func TestUnheard(t *testing.T) {
	s := newStack(t, Options{Memory: 1})
	h := newHostile(t, s)
	l := h.listen()
	s.sockets.limits.open = 10_000
	limit := s.sockets.limits.tcp.most
	const count = 100
	worst := 0
	for i := range count {
		h.connect(uint16(10000 + i))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			n, err := c.Write(make([]byte, 40))
			if err != nil {
				break
			}
			if s.Wrote(n) {
				s.WroteTo(endpointOf(c).(*tcp.Endpoint))
			}
		}
		worst = max(worst, s.settle(t).tcp)
	}
	// Each connection has the least.
	if most := limit + limit/reviewShare + count*(bufferMin+2*s.sockets.fields.segment); worst > most {
		t.Errorf("data takes %d bytes, want %d at most", worst, most)
	}
	t.Logf("%d bytes of %d", worst, limit)
}

// TestDatagrams sends datagrams to a socket that nobody reads: empty ones, which
// UDP's own limit does not count.
func TestDatagrams(t *testing.T) {
	s := newStack(t, Options{Memory: 1})
	h := newHostile(t, s)
	c, err := gonet.DialUDP(s.ip, &tcpip.FullAddress{Port: 4000}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	limit := s.sockets.limits.udp.most
	send := func(n int) {
		for i := range n {
			h.sendUDP(nil)
			if i%64 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	send(3 * limit / s.sockets.fields.udpPacket)
	got := s.settle(t).udp
	if got > limit+limit/4 || got < limit/2 {
		t.Errorf("datagrams take %d bytes, want %d", got, limit)
	}
	t.Logf("%d bytes of %d, %d dropped", got, limit, s.sockets.dropped.Load())
	for s.settle(t).udp > 0 {
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err := c.ReadFrom(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	send(10)
	if got, want := s.settle(t).udp, 10*s.sockets.fields.udpPacket; got != want {
		t.Errorf("datagrams take %d bytes after all were read, want %d", got, want)
	}
}

// TestShortConnections makes many connections, whose ends close them in every
// order. None may be counted after its end, or refused for those before.
func TestShortConnections(t *testing.T) {
	from := newStack(t, Options{})
	s := newStack(t, Options{Memory: 1})
	connectStacks(t, from, s)
	p := newPairs(t, from, s, ownAddress)
	ends := map[string]func(client, server *gonet.TCPConn){
		"client": func(client, server *gonet.TCPConn) { client.Close(); drain(server); server.Close() },
		"server": func(client, server *gonet.TCPConn) { server.Close(); drain(client); client.Close() },
		"both":   func(client, server *gonet.TCPConn) { client.Close(); server.Close() },
		"halves": func(client, server *gonet.TCPConn) {
			client.CloseWrite()
			drain(server)
			server.Close()
			client.Close()
		},
	}
	for how, end := range ends {
		for i := range 1500 {
			client, server := p.connect()
			if _, err := client.Write([]byte{'x'}); err != nil {
				t.Fatalf("%s %d: %v", how, i, err)
			}
			if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
				t.Fatalf("%s %d: %v", how, i, err)
			}
			end(client, server)
		}
		var c census
		eventually(t, how+": no connection is left", func() bool { c = s.settle(t); return c == census{} })
		if s.sockets.limited() || s.sockets.dropped.Load() != 0 {
			t.Errorf("%s: %d segments dropped, limited %t; want none", how, s.sockets.dropped.Load(), s.sockets.limited())
		}
	}
}

// drain reads until the peer has ended the connection.
func drain(c *gonet.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// connectStacks puts a cable between two stacks.
func connectStacks(t testing.TB, a, b *Stack) {
	t.Helper()
	left, right := pipe.New("\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02", 1500)
	for _, end := range []struct {
		s    *Stack
		link stack.LinkEndpoint
		ip   tcpip.Address
	}{{a, left, hostileAddress}, {b, right, ownAddress}} {
		id := end.s.ip.NextNICID()
		if err := end.s.ip.CreateNIC(id, end.link); err != nil {
			t.Fatal(err)
		}
		at := tcpip.AddressWithPrefix{Address: end.ip, PrefixLen: 24}
		if err := end.s.ip.AddProtocolAddress(id, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: at}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
		end.s.ip.AddRoute(tcpip.Route{Destination: at.Subnet(), NIC: id})
	}
}
