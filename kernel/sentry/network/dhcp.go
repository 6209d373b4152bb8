package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Retransmission, RFC 2131 §4.1 says 4, 8, … 64 s with a random part. A first
// frame that is lost, as when a bridge still learns, should not cost 4 s of a
// short life.
const (
	dhcpTimeout = time.Second // doubles with each try
	dhcpTries   = 5
	dhcpPause   = 10 * time.Second // between rounds
	// dhcpMinRetry is the least time between tries to renew, RFC 2131 §4.4.5.
	dhcpMinRetry = time.Minute
	// dhcpInfinite is a lease that never ends, RFC 2131 §3.3.
	dhcpInfinite = 0xffffffff * time.Second
)

// dhcp keeps an interface's lease (RFC 2131 §4.4). It is used by one goroutine.
type dhcp struct {
	s    *Stack
	nic  tcpip.NICID
	link *link
	name string

	lease *nclient4.Lease
	addr  netip.Prefix // assigned; zero if none
}

func newDHCP(s *Stack, nic tcpip.NICID, l *link, name string) *dhcp {
	return &dhcp{s: s, nic: nic, link: l, name: name}
}

// run gets a lease and keeps it up until ctx ends.
func (d *dhcp) run(ctx context.Context) {
	for ctx.Err() == nil {
		lease, err := d.acquire(ctx)
		if err == nil {
			err = d.apply(lease)
		}
		if err != nil {
			if ctx.Err() == nil {
				log.Warningf("network: %s: DHCP: %v", d.name, err)
			}
			sleep(ctx, dhcpPause)
			continue
		}
		d.s.configured(d.nic)
		if err := d.keep(ctx); err != nil && ctx.Err() == nil {
			log.Warningf("network: %s: DHCP: lease on %v is lost: %v", d.name, d.addr, err)
		}
		d.withdraw()
	}
}

// acquire discovers a server and takes its offer.
func (d *dhcp) acquire(ctx context.Context) (*nclient4.Lease, error) {
	c, err := d.broadcastClient(header.IPv4Any)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Request(ctx, dhcpv4.WithRequestedOptions(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
		dhcpv4.OptionDomainName, dhcpv4.OptionInterfaceMTU,
		dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionClasslessStaticRoute))
}

func (d *dhcp) broadcastClient(local tcpip.Address) (*nclient4.Client, error) {
	conn, err := newDHCPConn(d.s.ip, d.nic, local, dhcpClientPort)
	if err != nil {
		return nil, err
	}
	return nclient4.NewWithConn(conn, net.HardwareAddr(d.link.LinkAddress()),
		nclient4.WithTimeout(dhcpTimeout), nclient4.WithRetry(dhcpTries))
}

// unicastClient talks to the server that gave the lease.
func (d *dhcp) unicastClient() (*nclient4.Client, error) {
	server := d.lease.ACK.ServerIdentifier()
	if server == nil {
		server = d.lease.Offer.ServerIdentifier()
	}
	if server.To4() == nil {
		return nil, errors.New("the server did not say its address")
	}
	conn, err := gonet.DialUDP(d.s.ip, &tcpip.FullAddress{NIC: d.nic, Addr: address(d.addr.Addr()), Port: dhcpClientPort}, nil, header.IPv4ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return nclient4.NewWithConn(conn, net.HardwareAddr(d.link.LinkAddress()),
		nclient4.WithTimeout(dhcpTimeout), nclient4.WithRetry(dhcpTries),
		nclient4.WithServerAddr(&net.UDPAddr{IP: server, Port: dhcpServerPort}))
}

// times returns when a lease is to be renewed, when with any server, and when
// it ends, all counted from its start (RFC 2131 §4.4.5).
func times(ack *dhcpv4.DHCPv4) (renew, rebind, end time.Duration) {
	end = ack.IPAddressLeaseTime(dhcpInfinite)
	rebind = ack.IPAddressRebindingTime(end / 8 * 7)
	renew = ack.IPAddressRenewalTime(end / 2)
	// A server may send nonsense.
	rebind = min(rebind, end)
	renew = min(renew, rebind)
	return
}

// keep renews the lease until that fails for good.
func (d *dhcp) keep(ctx context.Context) error {
	for {
		renew, rebind, end := times(d.lease.ACK)
		if end >= dhcpInfinite {
			<-ctx.Done()
			return ctx.Err()
		}
		start := d.lease.CreationTime
		next := start.Add(renew)
		for {
			sleep(ctx, time.Until(next))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			now := time.Now()
			if !now.Before(start.Add(end)) {
				return errors.New("it has run out")
			}
			client, until := d.unicastClient, start.Add(rebind)
			if !now.Before(until) {
				client, until = func() (*nclient4.Client, error) { return d.broadcastClient(address(d.addr.Addr())) }, start.Add(end)
			}
			err := d.renew(ctx, client, until)
			if err == nil {
				break
			}
			var nak *nclient4.ErrNak
			if errors.As(err, &nak) {
				return err
			}
			// Half of what is left, RFC 2131 §4.4.5.
			next = time.Now().Add(max(time.Until(until)/2, dhcpMinRetry))
			if next.After(until) {
				next = until
			}
		}
	}
}

// renew renews the lease once.
func (d *dhcp) renew(ctx context.Context, client func() (*nclient4.Client, error), until time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	c, err := client()
	if err != nil {
		return err
	}
	defer c.Close()
	lease, err := c.Renew(ctx, d.lease)
	if err != nil {
		return err
	}
	return d.apply(lease)
}

// apply puts a lease into effect.
func (d *dhcp) apply(lease *nclient4.Lease) error {
	ack := lease.ACK
	ip, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || ip.IsUnspecified() {
		return fmt.Errorf("the server assigned the address %v", ack.YourIPAddr)
	}
	bits := 32
	if m := ack.SubnetMask(); m != nil {
		if bits, _ = m.Size(); bits == 0 {
			return fmt.Errorf("the server assigned the netmask %v", m)
		}
	} else {
		bits, _ = net.IP(ip.AsSlice()).DefaultMask().Size()
	}
	p := netip.PrefixFrom(ip, bits)
	if p != d.addr {
		d.withdraw()
		if err := d.s.addAddress(d.nic, p); err != nil {
			return err
		}
		d.addr = p
	}
	d.lease = lease
	d.routes(ack)
	if b := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
		if mtu := uint32(b[0])<<8 | uint32(b[1]); mtu >= header.IPv4MinimumMTU {
			d.link.SetMTU(mtu)
		}
	}
	d.s.updateNames(d.nic, func(n *nameConfig) {
		n.dhcp, n.domain = nil, nil
		for _, ip := range ack.DNS() {
			if a, ok := netip.AddrFromSlice(ip.To4()); ok {
				n.dhcp = append(n.dhcp, a)
			}
		}
		if l := ack.DomainSearch(); l != nil {
			n.domain = l.Labels
		} else if name := ack.DomainName(); name != "" {
			n.domain = []string{name}
		}
		n.domain = validDomains(n.domain)
	})
	return nil
}

// validDomains leaves out what would not be one word of resolv.conf.
func validDomains(domains []string) []string {
	var valid []string
	for _, d := range domains {
		ok := len(d) > 0 && len(d) < 254
		for _, c := range []byte(d) {
			ok = ok && (c == '.' || c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
		}
		if ok {
			valid = append(valid, d)
		}
	}
	return valid
}

// routes replaces the interface's IPv4 routes by a lease's. Classless routes
// take the place of the router option (RFC 3442).
func (d *dhcp) routes(ack *dhcpv4.DHCPv4) {
	d.removeRoutes()
	d.s.ip.AddRoute(tcpip.Route{Destination: subnet(d.addr), NIC: d.nic})
	classless := ack.ClasslessStaticRoute()
	for _, r := range classless {
		ones, _ := r.Dest.Mask.Size()
		dest, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		gw, ok2 := netip.AddrFromSlice(r.Router.To4())
		if !ok || !ok2 {
			continue
		}
		route := tcpip.Route{Destination: subnet(netip.PrefixFrom(dest, ones)), NIC: d.nic}
		if !gw.IsUnspecified() {
			route.Gateway = address(gw)
		}
		d.s.ip.AddRoute(route)
	}
	if len(classless) == 0 {
		for _, r := range ack.Router() {
			if gw, ok := netip.AddrFromSlice(r.To4()); ok {
				d.s.addGateway(d.nic, gw, d.addr)
				break // the first is the preferred one
			}
		}
	}
}

func (d *dhcp) removeRoutes() {
	d.s.ip.RemoveRoutes(func(r tcpip.Route) bool {
		id := r.Destination.ID()
		return r.NIC == d.nic && id.Len() == header.IPv4AddressSize
	})
}

// withdraw takes a lease out of effect.
func (d *dhcp) withdraw() {
	if !d.addr.IsValid() {
		return
	}
	d.removeRoutes()
	if err := d.s.ip.RemoveAddress(d.nic, address(d.addr.Addr())); err != nil {
		log.Warningf("network: %s: removing %v: %v", d.name, d.addr, err)
	}
	d.addr = netip.Prefix{}
	d.s.updateNames(d.nic, func(n *nameConfig) { n.dhcp, n.domain = nil, nil })
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, t time.Duration) {
	select {
	case <-time.After(t):
	case <-ctx.Done():
	}
}
