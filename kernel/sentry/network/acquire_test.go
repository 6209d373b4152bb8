package network

import (
	"context"
	stdnet "net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"kiln/kernel/virtio/net"
)

// dhcpServer serves 10.9.0.50 on a node and counts the requests.
type dhcpServer struct {
	discovers, requests, renewals atomic.Int64
	lease                         time.Duration
	nak                           atomic.Bool
}

func (d *dhcpServer) handle(conn stdnet.PacketConn, _ stdnet.Addr, m *dhcpv4.DHCPv4) {
	kind := dhcpv4.MessageTypeAck
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		d.discovers.Add(1)
		kind = dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeRequest:
		if m.ClientIPAddr.IsUnspecified() {
			d.requests.Add(1)
		} else {
			d.renewals.Add(1)
			if d.nak.Load() {
				kind = dhcpv4.MessageTypeNak
			}
		}
	default:
		return
	}
	reply, err := dhcpv4.NewReplyFromRequest(m,
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(stdnet.IPv4(10, 9, 0, 50)),
		dhcpv4.WithServerIP(stdnet.IPv4(10, 9, 0, 1)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(stdnet.IPv4(10, 9, 0, 1))),
		dhcpv4.WithNetmask(stdnet.CIDRMask(24, 32)),
		dhcpv4.WithRouter(stdnet.IPv4(10, 9, 0, 1)),
		dhcpv4.WithDNS(stdnet.IPv4(10, 9, 0, 3)),
		dhcpv4.WithOption(dhcpv4.OptDomainName("lan\nnameserver 6.6.6.6")),
		dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{1400 >> 8, 1400 & 255})),
		dhcpv4.WithLeaseTime(uint32(d.lease/time.Second)))
	if err == nil {
		_, err = conn.WriteTo(reply.ToBytes(), &stdnet.UDPAddr{IP: stdnet.IPv4bcast, Port: dhcpClientPort})
	}
	if err != nil {
		panic(err)
	}
}

// serve runs the library's server on a node until the test ends.
func (d *dhcpServer) serve(t *testing.T, n *node) {
	conn, err := newDHCPConn(n.ip, n.nic, tcpip.AddrFrom4([4]byte{10, 9, 0, 1}), dhcpServerPort)
	if err != nil {
		t.Fatal(err)
	}
	// So that the node's own UDP does not answer that the port is closed.
	quiet, err := gonet.DialUDP(n.ip, &tcpip.FullAddress{Port: dhcpServerPort}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server4.NewServer("", nil, d.handle, server4.WithConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve() // ends with an error when it is closed
	}()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
		quiet.Close()
	})
}

// hasAddress tells whether the node has an address on its interface.
func (n *node) hasAddress(a netip.Addr) bool {
	for _, p := range n.ip.NICInfo()[n.nic].ProtocolAddresses {
		if addr(p.AddressWithPrefix.Address) == a {
			return true
		}
	}
	return false
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("timed out waiting until %s", what)
}

func TestDHCP(t *testing.T) {
	server := newNode(t, net.Wanted, 1, static(1))
	d := &dhcpServer{lease: 2 * time.Second}
	d.serve(t, server)
	client := newNode(t, net.Wanted, 2, Interface{IPv4: Family{Mode: ModeDHCP}})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	wire(t, server, client)
	if err := client.WaitConfigured(ctx); err != nil {
		t.Fatal(err)
	}
	leased := netip.MustParseAddr("10.9.0.50")
	if !client.hasAddress(leased) {
		t.Errorf("no address %v", leased)
	}
	var routes []string
	for _, r := range client.ip.GetRouteTable() {
		if r.NIC == client.nic {
			routes = append(routes, r.String())
		}
	}
	if got, want := strings.Join(routes, ", "), "10.9.0.0/24 nic 2, 0.0.0.0/0 via 10.9.0.1 nic 2"; got != want {
		t.Errorf("routes %s, want %s", got, want)
	}
	if got, want := string(client.Resolv()), "nameserver 10.9.0.3\n"; got != want {
		t.Errorf("Resolv = %q, want %q (a domain with a line break is none)", got, want)
	}
	if got := client.link.MTU(); got != 1400 {
		t.Errorf("MTU = %d, want 1400", got)
	}
	eventually(t, "the lease is renewed twice", func() bool { return d.renewals.Load() >= 2 })
	if n := d.requests.Load(); n != 1 {
		t.Errorf("%d leases were requested, want 1", n)
	}
	transfer(t, server, client, ipv4.ProtocolNumber, address(leased), 1<<16)

	// A server that takes the lease back gets a new request.
	d.nak.Store(true)
	eventually(t, "there is a second lease", func() bool { return d.requests.Load() == 2 })
	eventually(t, "the address is back", func() bool { return client.hasAddress(leased) })
}

func TestDHCPSilence(t *testing.T) {
	client := newNode(t, net.Wanted, 2, Interface{IPv4: Family{Mode: ModeDHCP}})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := client.WaitConfigured(ctx); err == nil || !strings.Contains(err.Error(), "eth0 (DHCP): no address yet") {
		t.Errorf("WaitConfigured = %v", err)
	}
}

func TestLeaseTimes(t *testing.T) {
	sec := func(o dhcpv4.OptionCode, n uint32) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptGeneric(o, []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}))
	}
	for _, tt := range []struct {
		name               string
		with               []dhcpv4.Modifier
		renew, rebind, end time.Duration // seconds
	}{
		{"defaults", []dhcpv4.Modifier{sec(dhcpv4.OptionIPAddressLeaseTime, 800)}, 400, 700, 800},
		{"given", []dhcpv4.Modifier{sec(dhcpv4.OptionIPAddressLeaseTime, 800), sec(dhcpv4.OptionRenewTimeValue, 100), sec(dhcpv4.OptionRebindingTimeValue, 200)}, 100, 200, 800},
		{"nonsense", []dhcpv4.Modifier{sec(dhcpv4.OptionIPAddressLeaseTime, 10), sec(dhcpv4.OptionRenewTimeValue, 100), sec(dhcpv4.OptionRebindingTimeValue, 90)}, 10, 10, 10},
	} {
		m, err := dhcpv4.New(tt.with...)
		if err != nil {
			t.Fatal(err)
		}
		renew, rebind, end := times(m)
		if renew != tt.renew*time.Second || rebind != tt.rebind*time.Second || end != tt.end*time.Second {
			t.Errorf("%s: times = %v, %v, %v; want %d, %d, %d s", tt.name, renew, rebind, end, tt.renew, tt.rebind, tt.end)
		}
	}
}

// advertisement is a frame with a router's advertisement: prefix fd01::/64,
// name server fd01::53 (RFC 4861 §4.2, RFC 8106 §5.1).
func advertisement() []byte {
	router := netip.MustParseAddr("fe80::1").As16()
	all := netip.MustParseAddr("ff02::1").As16()
	body := []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	prefix := netip.MustParseAddr("fd01::").As16()
	body = append(body, 3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0)
	body = append(body, prefix[:]...)
	dns := netip.MustParseAddr("fd01::53").As16()
	body = append(body, 25, 3, 0, 0, 0, 0, 2, 0)
	body = append(body, dns[:]...)
	sum := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, tcpip.AddrFrom16(router), tcpip.AddrFrom16(all), uint16(len(body)))
	checksum.Put(body[2:], ^checksum.Checksum(body, sum))
	ip := make([]byte, header.IPv6MinimumSize)
	header.IPv6(ip).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(body)), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: 255,
		SrcAddr: tcpip.AddrFrom16(router), DstAddr: tcpip.AddrFrom16(all),
	})
	eth := []byte{0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd}
	return append(append(eth, ip...), body...)
}

func TestAutoconfiguration(t *testing.T) {
	n := newNode(t, net.Wanted, 2, Interface{IPv6: Family{Mode: ModeAuto}})
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	// Until the link-local address is shown to be free, netstack does not
	// listen to routers.
	for ctx.Err() == nil {
		if err := n.port.Inject(nil, advertisement()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		err := n.WaitConfigured(short)
		cancel()
		if err == nil {
			break
		}
	}
	// fd01:: with the modified EUI-64 of 02:00:00:00:00:02.
	if want := netip.MustParseAddr("fd01::ff:fe00:2"); !n.hasAddress(want) {
		t.Errorf("no address %v, only %v", want, n.ip.NICInfo()[n.nic].ProtocolAddresses)
	}
	var got []string
	for _, r := range n.ip.GetRouteTable() {
		if r.NIC == n.nic {
			got = append(got, r.String())
		}
	}
	if s, want := strings.Join(got, ", "), "fd01::/64 nic 2, ::/0 via fe80::1 nic 2"; s != want {
		t.Errorf("routes %s, want %s", s, want)
	}
	if got, want := string(n.Resolv()), "nameserver fd01::53\n"; got != want {
		t.Errorf("Resolv = %q, want %q", got, want)
	}
}

func TestLinkLocalWithoutConfiguration(t *testing.T) {
	n := newNode(t, net.Wanted, 2, Interface{})
	if want := netip.MustParseAddr("fe80::ff:fe00:2"); !n.hasAddress(want) {
		t.Errorf("no address %v, only %v", want, n.ip.NICInfo()[n.nic].ProtocolAddresses)
	}
	if err := n.WaitConfigured(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestStaticDoesNotWait: IPv6 autoconfiguration goes on beside an IPv4 address
// that is there already, and nothing waits for it.
func TestStaticDoesNotWait(t *testing.T) {
	n := newNode(t, net.Wanted, 2, Interface{
		IPv4: Family{Mode: ModeStatic, Address: netip.MustParsePrefix("192.0.2.2/24")},
		IPv6: Family{Mode: ModeAuto},
	})
	ended, cancel := context.WithCancel(context.Background())
	cancel() // whatever would be waited for is too late
	if err := n.WaitConfigured(ended); err != nil {
		t.Errorf("WaitConfigured = %v, want nothing to wait for", err)
	}
}

// TestHold: an interface that waits for nobody has its address at once, but
// sends nothing before Release. One that asks for an address does not wait.
func TestHold(t *testing.T) {
	a := newNodeWith(t, Options{Hold: true}, net.Wanted, 1, Interface{IPv4: static(1).IPv4, IPv6: Family{Mode: ModeAuto}})
	b := newNode(t, net.Wanted, 2, static(2))
	wire(t, a, b)
	received := func() uint64 { return b.ip.NICInfo()[b.nic].Stats.Rx.Packets.Value() }
	if want := static(1).IPv4.Address.Addr(); !a.hasAddress(want) {
		t.Errorf("no address %v, only %v", want, a.ip.NICInfo()[a.nic].ProtocolAddresses)
	}
	time.Sleep(50 * time.Millisecond)
	if n := received(); n != 0 {
		t.Errorf("%d packets were sent before Release, want none", n)
	}
	if err := a.Release(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the router is looked for", func() bool { return received() > 0 })
	transfer(t, a, b, header.IPv4ProtocolNumber, address(static(2).IPv4.Address.Addr()), 1000)

	for _, c := range []Interface{{IPv4: Family{Mode: ModeDHCP}}, {IPv6: Family{Mode: ModeAuto}}, static(3)} {
		n := newNodeWith(t, Options{Hold: true}, net.Wanted, 3, c)
		if !n.ip.CheckNIC(n.nic) {
			t.Errorf("an interface with %+v is held, want it to begin at once", c)
		}
	}
}
