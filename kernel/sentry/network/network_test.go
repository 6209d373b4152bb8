package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	stdnet "net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/net"
	"kiln/kernel/virtio/virtiotest"
)

// node is a machine in a test: a stack with one interface.
type node struct {
	*Stack
	port *virtiotest.Port
	nic  tcpip.NICID
	link *link
}

// newNode makes a machine whose address ends in last.
func newNode(t testing.TB, features virtio.Features, last byte, c Interface) *node {
	t.Helper()
	return newNodeWith(t, Options{}, features, last, c)
}

// newNodeWith makes one with options.
func newNodeWith(t testing.TB, o Options, features virtio.Features, last byte, c Interface) *node {
	t.Helper()
	n := &node{port: virtiotest.NewPort(features, [6]byte{2, 0, 0, 0, 0, last}, 1500)}
	var err error
	o.ID = uint64(last)
	if n.Stack, err = New(o); err != nil {
		t.Fatal(err)
	}
	d, err := net.Open(n.port, n.port.Mem, net.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Name = "eth0"
	if err := n.Attach(d, c); err != nil {
		t.Fatal(err)
	}
	n.nic = 2
	nic, terr := n.ip.GetNICByID(n.nic)
	if terr != nil {
		t.Fatal(terr)
	}
	n.link = nic.NetworkLinkEndpoint.(*link)
	t.Cleanup(func() {
		n.ip.Close()
		if err := n.port.IRQ.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// static is a configuration with fixed addresses.
func static(last byte) Interface {
	return Interface{
		IPv4: Family{Mode: ModeStatic, Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, last}), 24)},
		IPv6: Family{Mode: ModeStatic, Address: netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("fd00::%d", last)), 64)},
	}
}

// wire joins two nodes until the test ends.
func wire(t testing.TB, a, b *node) {
	virtiotest.Connect(a.port, b.port)
	t.Cleanup(func() {
		if err := virtiotest.Stop(a.port, b.port); err != nil {
			t.Error(err)
		}
	})
}

// transfer sends n random bytes each way over one connection, and compares.
func transfer(t *testing.T, a, b *node, proto tcpip.NetworkProtocolNumber, at tcpip.Address, n int) {
	t.Helper()
	full := tcpip.FullAddress{Addr: at, Port: 4000}
	l, err := gonet.ListenTCP(b.ip, full, proto)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	accepted := make(chan stdnet.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	ca, err := gonet.DialContextTCP(ctx, a.ip, full, proto)
	if err != nil {
		t.Fatal(err)
	}
	cb := <-accepted
	if cb == nil {
		return
	}
	var wg sync.WaitGroup
	for i, dir := range []struct{ from, to stdnet.Conn }{{ca, cb}, {cb, ca}} {
		data := make([]byte, n)
		rand.NewChaCha8([32]byte{byte(i)}).Read(data)
		deadline := time.Now().Add(60 * time.Second)
		dir.from.SetDeadline(deadline)
		wg.Add(2)
		go func() {
			defer wg.Done()
			// Writes of all sizes, the odd ones included.
			for rest := data; len(rest) > 0; {
				k := min(len(rest), 1+(len(rest)*7919)%100_000)
				if _, err := dir.from.Write(rest[:k]); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				rest = rest[k:]
			}
		}()
		go func() {
			defer wg.Done()
			got := sha256.New()
			if k, err := io.CopyN(got, dir.to, int64(n)); err != nil {
				t.Errorf("read: %v after %d of %d bytes", err, k, n)
				return
			}
			if want := sha256.Sum256(data); !bytes.Equal(got.Sum(nil), want[:]) {
				t.Error("what arrived is not what was sent")
			}
		}()
	}
	wg.Wait()
	ca.Close()
	cb.Close()
}

func TestTransfer(t *testing.T) {
	const (
		guestTSO = net.FeatureGuestTSO4 | net.FeatureGuestTSO6
		hostTSO  = net.FeatureHostTSO4 | net.FeatureHostTSO6
	)
	for _, tt := range []struct {
		name string
		a, b virtio.Features
	}{
		{"all offloads", net.Wanted, net.Wanted},
		{"peer takes no large segments", net.Wanted, net.Wanted &^ guestTSO},
		{"peer takes no incomplete checksums", net.Wanted, net.Wanted &^ (guestTSO | net.FeatureGuestChecksum)},
		{"no segmentation", net.Wanted &^ hostTSO, net.Wanted &^ hostTSO},
		{"not mergeable", net.Wanted &^ net.FeatureMergeable, net.Wanted &^ net.FeatureMergeable},
		{"no offloads", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newNode(t, tt.a, 1, static(1)), newNode(t, tt.b, 2, static(2))
			wire(t, a, b)
			transfer(t, a, b, ipv4.ProtocolNumber, tcpip.AddrFrom4([4]byte{10, 9, 0, 2}), 3<<20)
			transfer(t, a, b, ipv6.ProtocolNumber, address(netip.MustParseAddr("fd00::2")), 3<<20)
			if n := a.link.badSum.Load() + b.link.badSum.Load(); n != 0 {
				t.Errorf("%d frames had a wrong checksum", n)
			}
		})
	}
}

func TestTransferWithLoss(t *testing.T) {
	a, b := newNode(t, net.Wanted, 1, static(1)), newNode(t, net.Wanted, 2, static(2))
	var n atomic.Int64
	a.port.Drop = func([]byte) bool { return n.Add(1)%50 == 49 }
	wire(t, a, b)
	transfer(t, a, b, ipv4.ProtocolNumber, tcpip.AddrFrom4([4]byte{10, 9, 0, 2}), 1<<20)
}

func TestSegmentationIsUsed(t *testing.T) {
	a, b := newNode(t, net.Wanted, 1, static(1)), newNode(t, net.Wanted, 2, static(2))
	var large, unsummed atomic.Int64
	a.port.Tap = func(h, f []byte) {
		if h[1] != 0 && len(f) > 2*1460 {
			large.Add(1)
		}
		// TCP segments with payload leave their checksum to the device.
		if f[12] == 8 && f[23] == 6 && len(f) > 100 && h[0] != net.FlagNeedsChecksum {
			unsummed.Add(1)
		}
	}
	wire(t, a, b)
	transfer(t, a, b, ipv4.ProtocolNumber, tcpip.AddrFrom4([4]byte{10, 9, 0, 2}), 4<<20)
	if large.Load() == 0 {
		t.Error("no large segments were sent")
	}
	if n := unsummed.Load(); n != 0 {
		t.Errorf("%d segments with a checksum of our own", n)
	}
}

// udpFrame is a frame with a datagram from 10.9.0.1 to node 2, port 5000.
func udpFrame(payload string) []byte {
	ip := buildUDP(tcpip.AddrFrom4([4]byte{10, 9, 0, 1}), tcpip.AddrFrom4([4]byte{10, 9, 0, 2}), 4000, 5000, []byte(payload))
	return append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}, ip...)
}

func TestReceiveChecksums(t *testing.T) {
	n := newNode(t, net.Wanted, 2, static(2))
	c, err := gonet.DialUDP(n.ip, &tcpip.FullAddress{Port: 5000}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	noSum := func(f []byte) { f[14+20+6], f[14+20+7] = 0, 0 }
	wrongSum := func(f []byte) { f[14+20+7] ^= 1 }
	wrongIP := func(f []byte) { f[14+11] ^= 1 }
	other := func(f []byte) { f[5] = 9 }
	tests := []struct {
		name   string
		flags  byte
		change func([]byte)
		want   bool
	}{
		{"good", 0, func([]byte) {}, true},
		{"wrong", 0, wrongSum, false},
		{"none", 0, noSum, true},
		{"wrong but vouched for", net.FlagDataValid, wrongSum, true},
		{"incomplete", net.FlagNeedsChecksum, wrongSum, true},
		{"wrong IP header", net.FlagDataValid, wrongIP, false},
		{"another machine's", 0, other, false},
	}
	for _, tt := range tests {
		f := udpFrame(tt.name + "\x01") // of odd and even lengths
		tt.change(f)
		if err := n.port.Inject([]byte{tt.flags}, f); err != nil {
			t.Fatal(err)
		}
		// A frame that is certain to arrive tells that the one before it did not.
		if err := n.port.Inject(nil, udpFrame("end")); err != nil {
			t.Fatal(err)
		}
		got := false
		for {
			b := make([]byte, 100)
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			k, err := c.Read(b)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if string(b[:k]) == "end" {
				break
			}
			got = true
		}
		if got != tt.want {
			t.Errorf("%s: delivered = %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := n.link.badSum.Load(); got != 2 {
		t.Errorf("%d frames counted with a wrong checksum, want 2", got)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(byte(0), udpFrame("hello"))
	f.Add(byte(1), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x86, 0xdd, 0x60})
	f.Add(byte(0), append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 8, 0, 0x4f}, make([]byte, 30)...))
	f.Fuzz(func(t *testing.T, flags byte, b []byte) {
		if len(b) < header.EthernetMinimumSize {
			return
		}
		// In one part and in two, as the device cuts frames.
		whole := checksumsValid([][]byte{b}, len(b), flags&1 != 0)
		if cut := header.EthernetMinimumSize + 60; len(b) > cut {
			if parts := checksumsValid([][]byte{b[:cut], b[cut:]}, len(b), flags&1 != 0); parts != whole {
				t.Errorf("checksum valid = %v in one part, %v in two", whole, parts)
			}
		}
		parseUDP(b[header.EthernetMinimumSize:], dhcpClientPort)
	})
}

func TestBacklog(t *testing.T) {
	a, b := newNode(t, net.Wanted, 1, static(1)), newNode(t, net.Wanted, 2, static(2))
	// So that nothing needs an answer.
	at := tcpip.AddrFrom4([4]byte{10, 9, 0, 2})
	if err := a.ip.AddStaticNeighbor(a.nic, ipv4.ProtocolNumber, at, "\x02\x00\x00\x00\x00\x02"); err != nil {
		t.Fatal(err)
	}
	recv, err := gonet.DialUDP(b.ip, &tcpip.FullAddress{Port: 5000}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer recv.Close()
	c, err := gonet.DialUDP(a.ip, nil, &tcpip.FullAddress{Addr: at, Port: 5000}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The wire is not there yet: the device's queue fills, then the backlog.
	// UDP hides from the program that a packet found no room.
	const tries, room = 1500, backlogLimit + 256
	for i := range tries {
		if _, err := c.Write(fmt.Appendf(nil, "%04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.link.dropped.Load(); got != tries-room {
		t.Errorf("%d of %d packets dropped, want %d", got, tries, tries-room)
	}
	wire(t, a, b)
	for i := range room {
		buf := make([]byte, 10)
		recv.SetReadDeadline(time.Now().Add(5 * time.Second))
		k, err := recv.Read(buf)
		if err != nil || string(buf[:k]) != fmt.Sprintf("%04d", i) {
			t.Fatalf("datagram %d of %d = %q, %v", i, room, buf[:k], err)
		}
	}
}

// TestImpossiblePackets: what never fits must not stand in the way of others.
func TestImpossiblePackets(t *testing.T) {
	n := newNode(t, net.Wanted, 1, static(1))
	for _, size := range []int{0, net.MaxFrame + 1} {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(make([]byte, size))})
		var list stack.PacketBufferList
		list.PushBack(pkt)
		if sent, err := n.link.WritePackets(list); sent != 0 || err == nil {
			t.Errorf("%d bytes: %d sent, %v", size, sent, err)
		}
		pkt.DecRef()
	}
	if len(n.link.backlog) != 0 {
		t.Errorf("%d packets in the backlog", len(n.link.backlog))
	}
}

func TestConfigErrors(t *testing.T) {
	v4 := netip.MustParsePrefix("10.0.2.15/24")
	for _, tt := range []struct {
		c    Interface
		want string
	}{
		{Interface{Name: ""}, "1 to 15 bytes"},
		{Interface{Name: "eth0", MTU: 10}, "MTU 10"},
		{Interface{Name: "eth0", IPv4: Family{Mode: ModeAuto}}, "use DHCP"},
		{Interface{Name: "eth0", IPv6: Family{Mode: ModeDHCP}}, "not supported"},
		{Interface{Name: "eth0", IPv4: Family{Mode: ModeStatic}}, "not an IPv4 address"},
		{Interface{Name: "eth0", IPv6: Family{Mode: ModeStatic, Address: v4}}, "not an IPv6 address"},
		{Interface{Name: "eth0", IPv4: Family{Mode: ModeStatic, Address: v4, Gateway: netip.MustParseAddr("::1")}}, "gateway ::1"},
	} {
		if err := tt.c.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("check(%+v) = %v, want %q", tt.c, err, tt.want)
		}
	}
}

func TestResolv(t *testing.T) {
	changes := 0
	s, err := New(Options{OnResolv: func() { changes++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.ip.Close()
	if got := string(s.Resolv()); got != "" {
		t.Errorf("Resolv without interfaces = %q", got)
	}
	ip := netip.MustParseAddr
	s.setNames(2, nameConfig{static: []netip.Addr{ip("10.0.2.3")}, search: []string{"example.org"}})
	s.setNames(3, nameConfig{})
	s.updateNames(3, func(n *nameConfig) {
		n.dhcp = []netip.Addr{ip("10.0.2.3"), ip("1.1.1.1")}
		n.domain = []string{"example.org", "lan"}
		n.advertise(ip("fe80::1%eth1"), header.NDPInfiniteLifetime)
		n.advertise(ip("fd00::53"), time.Hour)
		n.advertise(ip("fd00::54"), time.Nanosecond)
	})
	want := "search example.org lan\nnameserver 10.0.2.3\nnameserver 1.1.1.1\nnameserver fe80::1%eth1\n"
	if got := string(s.Resolv()); got != want {
		t.Errorf("Resolv = %q, want %q", got, want)
	}
	s.updateNames(3, func(n *nameConfig) { n.dhcp = nil; n.advertise(ip("fe80::1%eth1"), 0) })
	want = "search example.org lan\nnameserver 10.0.2.3\nnameserver fd00::53\n"
	if got := string(s.Resolv()); got != want {
		t.Errorf("Resolv = %q, want %q", got, want)
	}
	if changes != 4 {
		t.Errorf("OnResolv was called %d times, want 4", changes)
	}
}

func TestStaticRoutes(t *testing.T) {
	c := static(1)
	c.IPv4.Gateway = netip.MustParseAddr("10.9.0.254")
	c.IPv6.Gateway = netip.MustParseAddr("fe80::1")
	n := newNode(t, net.Wanted, 1, c)
	var got []string
	for _, r := range n.ip.GetRouteTable() {
		if r.NIC == n.nic {
			got = append(got, r.String())
		}
	}
	want := "fd00::/64 nic 2, 10.9.0.0/24 nic 2, 0.0.0.0/0 via 10.9.0.254 nic 2, ::/0 via fe80::1 nic 2"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("routes %s, want %s", s, want)
	}
}
