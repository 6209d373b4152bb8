package network

import (
	"context"
	"io"
	stdnet "net"
	"runtime"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

var localhost = tcpip.AddrFrom4([4]byte{127, 0, 0, 1})

// newStack makes a stack without devices.
func newStack(t testing.TB, o Options) *Stack {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.ip.Close()
		s.ip.Wait()
	})
	return s
}

// pairs makes TCP connections between two stacks, or in one.
type pairs struct {
	t        testing.TB
	from     *Stack
	at       tcpip.FullAddress
	listener *gonet.TCPListener
}

func newPairs(t testing.TB, from, to *Stack, at tcpip.Address) *pairs {
	t.Helper()
	p := &pairs{t: t, from: from, at: tcpip.FullAddress{Addr: at, Port: 4000}}
	var err error
	if p.listener, err = gonet.ListenTCP(to.ip, p.at, ipv4.ProtocolNumber); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.listener.Close() })
	return p
}

// connect makes one from any port.
func (p *pairs) connect() (client, server *gonet.TCPConn) {
	p.t.Helper()
	return p.connectFrom(tcpip.FullAddress{})
}

// connectFrom makes one from an address.
func (p *pairs) connectFrom(a tcpip.FullAddress) (client, server *gonet.TCPConn) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := gonet.DialTCPWithBind(ctx, p.from.ip, a, p.at, ipv4.ProtocolNumber)
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := p.listener.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	return client, conn.(*gonet.TCPConn)
}

// closeInTurn closes both ends, the first before the second, which waits for it.
func closeInTurn(t testing.TB, first, second stdnet.Conn) {
	t.Helper()
	first.Close()
	second.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read from a connection whose peer closed: %v, want EOF", err)
	}
	// Else the deadline's timer keeps the connection.
	second.SetDeadline(time.Time{})
	second.Close()
}

// inState counts a stack's TCP endpoints in a state.
func (s *Stack) inState(state tcp.EndpointState) (n int) {
	for _, e := range s.ip.RegisteredEndpoints() {
		if ep, ok := e.(*tcp.Endpoint); ok && ep.EndpointState() == state {
			n++
		}
	}
	return n
}

// heapInUse returns the bytes of live objects.
func heapInUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools kept
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestTimeWaitBound closes many connections, either end first, and looks at what
// stays of them.
func TestTimeWaitBound(t *testing.T) {
	const limit = 128
	for _, tt := range []struct {
		name        string
		serverFirst bool
	}{{"client closes first", false}, {"server closes first", true}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStack(t, Options{Memory: 1})
			if s.closing.limit != limit {
				t.Fatalf("limit %d, want %d", s.closing.limit, limit)
			}
			p := newPairs(t, s, s, localhost)
			dangling := len(tcpip.GetDanglingEndpoints())
			// The Sentry's statistics are one for all stacks. On a busy machine a
			// FIN may be sent again, to a connection that is forgotten: a reset.
			stats := s.ip.Stats().TCP
			resets := func() int { return int(stats.ResetsSent.Value()) - int(stats.Retransmits.Value()) }
			resetsBefore := resets()
			run := func(n int) {
				for range n {
					client, server := p.connect()
					if tt.serverFirst {
						closeInTurn(t, server, client)
					} else {
						closeInTurn(t, client, server)
					}
				}
				// The listener is one, too.
				eventually(t, "all but the last connections are gone", func() bool {
					return len(s.ip.RegisteredEndpoints()) <= limit+1
				})
			}
			run(3 * limit)
			if got := s.inState(tcp.StateTimeWait); got != limit {
				t.Errorf("%d connections in TIME-WAIT, want %d", got, limit)
			}
			if got := s.closing.count(); got != limit {
				t.Errorf("%d connections counted, want %d", got, limit)
			}
			before := heapInUse()
			run(10 * limit)
			// Each would be 10 KB.
			// Unbounded it would be some 60,000 a connection of the
			// limit; some of the last are still on their way out.
			if grown := heapInUse() - before; grown > limit*5000 {
				t.Errorf("the heap grew by %d bytes after %d connections more", grown, 10*limit)
			}
			if n := len(tcpip.GetDanglingEndpoints()) - dangling; n > limit {
				t.Errorf("%d endpoints dangle, want %d", n, limit)
			}
			if n := resets() - resetsBefore; n > 0 {
				t.Errorf("%d resets sent more than segments were repeated", n)
			}
			held := heapInUse()
			if n := s.closing.forgetAll(); n != limit {
				t.Errorf("forgot %d connections, want %d", n, limit)
			}
			eventually(t, "all connections are gone", func() bool { return len(s.ip.RegisteredEndpoints()) == 1 })
			t.Logf("a connection in TIME-WAIT keeps %d bytes", (held-heapInUse())/limit)
			if n := resets() - resetsBefore; n > 0 {
				t.Errorf("%d resets sent more than segments were repeated", n)
			}
		})
	}
}

// TestTimeWaitSameAddresses opens a connection between the addresses of one that
// was just forgotten, or that is in TIME-WAIT, again and again.
func TestTimeWaitSameAddresses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		forget bool
	}{{"forgotten", true}, {"in TIME-WAIT", false}} {
		t.Run(tt.name, func(t *testing.T) {
			stack := newStack(t, Options{})
			p := newPairs(t, stack, stack, localhost)
			for range 20 {
				c, s := p.connectFrom(tcpip.FullAddress{Addr: localhost, Port: 5000})
				// The server's end is the one in TIME-WAIT; the
				// client's port is free.
				closeInTurn(t, s, c)
				eventually(t, "the client's end is gone", func() bool { return stack.inState(tcp.StateLastAck) == 0 })
				eventually(t, "the server's end waits", func() bool { return stack.closing.count() > 0 })
				if tt.forget {
					stack.closing.forgetAll()
				}
			}
		})
	}
}

// TestFinWait2Bound closes connections whose peers do not close theirs.
func TestFinWait2Bound(t *testing.T) {
	const limit = 128
	s := newStack(t, Options{Memory: 1})
	s.sockets.limits.open = 10_000 // the peers' ends stay open
	p := newPairs(t, s, s, localhost)
	var servers []*gonet.TCPConn
	for range 2 * limit {
		client, server := p.connect()
		client.Close()
		servers = append(servers, server)
	}
	eventually(t, "the oldest connections are gone", func() bool {
		return s.inState(tcp.StateFinWait2) == limit && s.inState(tcp.StateFinWait1) == 0
	})
	for _, c := range servers {
		c.Close()
	}
	eventually(t, "the peers' ends are gone", func() bool {
		return s.inState(tcp.StateLastAck) == 0 && s.inState(tcp.StateCloseWait) == 0
	})
	if n := s.closing.count(); n > limit {
		t.Errorf("%d connections counted, want %d at most", n, limit)
	}
}

func TestLimitsFor(t *testing.T) {
	for _, tt := range []struct {
		memory uint64
		want   int
	}{
		{0, 256 << 10},
		{1, 128},
		{64 << 20, 256},
		{61 << 20, 256}, // what is left of 64 MB
		{512 << 20, 2048},
		{1 << 40, 256 << 10},
	} {
		if got := limitsFor(tt.memory).closing; got != tt.want {
			t.Errorf("limitsFor(%d MB).closing = %d, want %d", tt.memory>>20, got, tt.want)
		}
	}
}
