// Package network is the Sentry's network: gVisor's netstack over Kiln's
// virtio devices, and the configuration of its interfaces.
//
// New makes a stack with a loopback interface. Attach adds a device as an
// interface and configures it: static addresses at once, DHCP and IPv6
// autoconfiguration in goroutines that keep leases up as long as the stack is
// used. WaitConfigured waits for the first outcome.
//
// Lock order: link's are described there; Stack.mu is taken last and no
// netstack function is called under it.
package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/sentry/socket/netfilter"
	"gvisor.dev/gvisor/pkg/sentry/socket/netstack"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/raw"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"kiln/kernel/sentry/linux"
	"kiln/kernel/virtio/net"
)

// Options are what a stack needs to know of its surroundings.
type Options struct {
	Clock  tcpip.Clock // nil: the Go runtime's
	ID     uint64      // unique among network stacks of the Sentry
	Memory uint64      // bytes of the machine's memory; 0: plenty
	// OnResolv is called when what Resolv returns has changed. It may call
	// Resolv, nothing else of this package.
	OnResolv func()
	// Hold has interfaces that can do so begin to send and receive with
	// Release.
	Hold bool
}

// Stack is a network stack with its configuration.
type Stack struct {
	// Inet is the stack as the Sentry takes it.
	Inet *netstack.Stack

	ip       *stack.Stack
	closing  *closing
	sockets  *sockets
	onResolv func()

	mu      sync.Mutex
	links   map[tcpip.NICID]*link       // of interfaces with a device; guarded by mu
	resolv  map[tcpip.NICID]*nameConfig // guarded by mu
	order   []tcpip.NICID               // of resolv; guarded by mu
	pending map[tcpip.NICID]*pending    // guarded by mu
	hold    bool                        // see Options; guarded by mu
	held    []tcpip.NICID               // begin with Release; guarded by mu
}

// pending is an interface that asks the network for its address.
type pending struct {
	what string
	done chan struct{} // closed once it has one
}

// New makes a network stack with a loopback interface.
func New(o Options) (*Stack, error) {
	limits := limitsFor(o.Memory)
	s := &Stack{
		closing:  &closing{limit: limits.closing},
		onResolv: o.OnResolv,
		links:    map[tcpip.NICID]*link{},
		resolv:   map[tcpip.NICID]*nameConfig{},
		pending:  map[tcpip.NICID]*pending{},
		hold:     o.Hold,
	}
	clock := o.Clock
	if clock == nil {
		clock = tcpip.NewStdClock()
	}
	s.ip = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			s.newIPv4,
			s.newIPv6,
			arp.NewProtocol,
		},
		TransportProtocols:       []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		Clock:                    closingClock{clock, s.closing},
		Stats:                    netstack.Metrics,
		HandleLocal:              true,
		RawFactory:               raw.EndpointFactory{},
		AllowPacketEndpointWrite: true, // DHCP; programs need CAP_NET_RAW
		DefaultIPTables:          netfilter.DefaultLinuxTables,
	})
	s.Inet = netstack.NewStack(s.ip, o.ID)
	var err error
	if s.sockets, err = newSockets(s.ip, s.closing, limits); err != nil {
		return nil, err
	}
	if err := s.tune(o.Memory); err != nil {
		return nil, err
	}
	if err := s.addLoopback(); err != nil {
		return nil, err
	}
	return s, nil
}

// TCP buffer sizes in bytes, as Linux has them (net.ipv4.tcp_wmem, tcp_rmem).
// Buffers grow by themselves from the default to the maximum, which is a share
// of the machine's memory: many sockets may reach it.
const (
	bufferMin     = 4 << 10
	sendDefault   = 64 << 10
	recvDefault   = 128 << 10
	bufferMax     = 4 << 20
	bufferMaxMin  = 256 << 10
	bufferDivisor = 64

	// otherBuffer is for sockets other than TCP's, which keep the size that a
	// program sets, at most this one.
	otherBuffer = 212992
)

// tune sets what netstack leaves to its user.
func (s *Stack) tune(memory uint64) error {
	limit := bufferMax
	if memory != 0 {
		limit = int(min(max(memory/bufferDivisor, bufferMaxMin), bufferMax))
	}
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	cubic := tcpip.CongestionControlOption("cubic")
	// The stack's default for Nagle's algorithm. gVisor leaves it off, and
	// sockets turn it on with TCP_NODELAY=0.
	delay := tcpip.TCPDelayEnabled(false)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: bufferMin, Default: sendDefault, Max: limit}
	recv := tcpip.TCPReceiveBufferSizeRangeOption{Min: bufferMin, Default: recvDefault, Max: limit}
	for _, opt := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &cubic, &delay, &send, &recv} {
		if err := s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, opt); err != nil {
			return fmt.Errorf("network: TCP option %T: %v", opt, err)
		}
	}
	// net.core.wmem_default, wmem_max, rmem_default, rmem_max.
	err := s.setBufferSizes(bufferSizes{
		send:    tcpip.SendBufferSizeOption{Min: bufferMin, Default: otherBuffer, Max: otherBuffer},
		receive: tcpip.ReceiveBufferSizeOption{Min: bufferMin, Default: otherBuffer, Max: otherBuffer},
	})
	if err != nil {
		return fmt.Errorf("network: sizes of buffers: %w", err)
	}
	if err := s.setTimeouts(); err != nil {
		return fmt.Errorf("network: timeouts of closed connections: %v", err)
	}
	ttl := tcpip.DefaultTTLOption(netstack.DefaultTTL)
	for _, p := range []tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber, ipv6.ProtocolNumber} {
		if err := s.ip.SetNetworkProtocolOption(p, &ttl); err != nil {
			return fmt.Errorf("network: TTL: %v", err)
		}
	}
	return nil
}

// addLoopback adds lo, which programs expect to be interface 1.
func (s *Stack) addLoopback() error {
	id := s.ip.NextNICID()
	if err := s.ip.CreateNICWithOptions(id, ethernet.New(linux.Loopback(loopback.New())), stack.NICOptions{Name: "lo", DeliverLinkPackets: true}); err != nil {
		return fmt.Errorf("network: lo: %v", err)
	}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")} {
		if err := s.addAddress(id, p); err != nil {
			return fmt.Errorf("network: lo: %w", err)
		}
		s.ip.AddRoute(tcpip.Route{Destination: subnet(p), NIC: id})
	}
	return nil
}

// Attach adds a device as an interface and configures it.
func (s *Stack) Attach(dev *net.Device, c Interface) error {
	if err := c.check(); err != nil {
		return err
	}
	id := s.ip.NextNICID()
	l := newLink(c.Name, dev)
	if c.MTU != 0 {
		l.SetMTU(uint32(c.MTU))
	}
	s.mu.Lock()
	s.links[id] = l
	s.mu.Unlock()
	// Disabled first, so that IPv6 comes up with the right configuration.
	opts := stack.NICOptions{Name: c.Name, DeliverLinkPackets: true, Disabled: true}
	if err := s.ip.CreateNICWithOptions(id, l, opts); err != nil {
		return fmt.Errorf("network: %s: %v", c.Name, err)
	}
	s.setNames(id, nameConfig{static: c.DNS, search: c.Search})
	if err := s.configureIPv6(id, c); err != nil {
		return fmt.Errorf("network: %s: %w", c.Name, err)
	}
	if !c.canBeginLate() || !s.holds(id) {
		if err := s.enable(id); err != nil {
			return err
		}
	}
	for _, f := range []Family{c.IPv4, c.IPv6} {
		if f.Mode != ModeStatic {
			continue
		}
		if err := s.addStatic(id, f); err != nil {
			return fmt.Errorf("network: %s: %w", c.Name, err)
		}
	}
	if c.IPv4.Mode == ModeDHCP {
		s.await(id, c.Name+" (DHCP)")
		go newDHCP(s, id, l, c.Name).run(context.Background())
	}
	return nil
}

// enable has an interface send and receive.
func (s *Stack) enable(id tcpip.NICID) error {
	l := s.linkOf(id)
	if err := s.ip.EnableNIC(id); err != nil {
		return fmt.Errorf("network: %s: %v", l.name, err)
	}
	go l.run()
	return nil
}

// holds reports whether a new interface is to begin with Release.
func (s *Stack) holds(id tcpip.NICID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold {
		s.held = append(s.held, id)
	}
	return s.hold
}

// Release ends Options.Hold. Until then the interfaces have their addresses
// and routes, but send nothing, and leave in the device what comes.
func (s *Stack) Release() error {
	s.mu.Lock()
	all := s.held
	s.hold, s.held = false, nil
	s.mu.Unlock()
	var errs []error
	for _, id := range all {
		errs = append(errs, s.enable(id))
	}
	return errors.Join(errs...)
}

// linkOf returns the link of an interface, nil for one without a device.
func (s *Stack) linkOf(id tcpip.NICID) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[id]
}

// addStatic adds an address with the routes that come with it.
func (s *Stack) addStatic(id tcpip.NICID, f Family) error {
	if err := s.addAddress(id, f.Address); err != nil {
		return err
	}
	s.ip.AddRoute(tcpip.Route{Destination: subnet(f.Address), NIC: id})
	if f.Gateway.IsValid() {
		s.addGateway(id, f.Gateway, f.Address)
	}
	return nil
}

// addGateway adds a default route, and one to the gateway itself if it is not
// on the interface's subnet.
func (s *Stack) addGateway(id tcpip.NICID, gw netip.Addr, on netip.Prefix) {
	if !on.Contains(gw) && !gw.IsLinkLocalUnicast() {
		s.ip.AddRoute(tcpip.Route{Destination: subnet(netip.PrefixFrom(gw, gw.BitLen())), NIC: id})
	}
	all := header.IPv4EmptySubnet
	if gw.Is6() {
		all = header.IPv6EmptySubnet
	}
	s.ip.AddRoute(tcpip.Route{Destination: all, Gateway: address(gw), NIC: id})
}

func (s *Stack) addAddress(id tcpip.NICID, p netip.Prefix) error {
	proto := ipv4.ProtocolNumber
	if p.Addr().Is6() {
		proto = ipv6.ProtocolNumber
	}
	if err := s.ip.AddProtocolAddress(id, tcpip.ProtocolAddress{
		Protocol:          proto,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()},
	}, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("address %v: %v", p, err)
	}
	return nil
}

// await notes that an interface asks the network for an address.
func (s *Stack) await(id tcpip.NICID, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[id] = &pending{what: what, done: make(chan struct{})}
}

// configured notes that the interface has got an address.
func (s *Stack) configured(id tcpip.NICID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pending[id]; p != nil {
		close(p.done)
		delete(s.pending, id)
	}
}

// WaitConfigured waits until every interface that asks the network for an
// address has got one, of either family. The error names those that have none
// when ctx ends.
func (s *Stack) WaitConfigured(ctx context.Context) error {
	s.mu.Lock()
	wait := slices.Collect(maps.Values(s.pending))
	s.mu.Unlock()
	var errs []error
	for _, p := range wait {
		select {
		case <-p.done:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("network: %s: no address yet: %w", p.what, context.Cause(ctx)))
		}
	}
	return errors.Join(errs...)
}

// address converts an address.
func address(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

// addr converts an address back; the zero Addr stands for none.
func addr(a tcpip.Address) netip.Addr {
	r, _ := netip.AddrFromSlice(a.AsSlice())
	return r
}

// subnet converts a prefix, whose host bits do not count.
func subnet(p netip.Prefix) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: address(p.Masked().Addr()), PrefixLen: p.Bits()}.Subnet()
}
