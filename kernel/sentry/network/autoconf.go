package network

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Router solicitations, RFC 4861 §10, but without the random delay before the
// first: it keeps machines that start together apart, and would cost each
// program up to a second.
const (
	solicitations        = 3
	solicitationInterval = 4 * time.Second
)

// configureIPv6 prepares an interface that is not yet enabled for its mode.
func (s *Stack) configureIPv6(id tcpip.NICID, c Interface) error {
	if c.IPv6.Mode != ModeAuto {
		return nil
	}
	ep, terr := s.ip.GetNetworkEndpoint(id, ipv6.ProtocolNumber)
	if terr != nil {
		return fmt.Errorf("IPv6: %v", terr)
	}
	ndp, ok := ep.(ipv6.NDPEndpoint)
	dad, ok2 := ep.(stack.DuplicateAddressDetector)
	if !ok || !ok2 {
		return fmt.Errorf("IPv6: %T has no neighbour discovery", ep)
	}
	ndp.SetNDPConfigurations(ipv6.NDPConfigurations{
		MaxRtrSolicitations:     solicitations,
		RtrSolicitationInterval: solicitationInterval,
		HandleRAs:               ipv6.HandlingRAsEnabledWhenForwardingDisabled,
		DiscoverDefaultRouters:  true,
		DiscoverOnLinkPrefixes:  true,
		AutoGenGlobalAddresses:  true,
	})
	// An address that nobody assigned to us must be shown to be free
	// (RFC 4862 §5.4).
	dad.SetDADConfigurations(stack.DefaultDADConfigurations())
	// It takes a second or more, for which a program that has an IPv4
	// address, or will get one, need not wait.
	if c.IPv4.Mode == ModeNone {
		s.await(id, c.Name+" (IPv6 autoconfiguration)")
	}
	return nil
}

// routers acts on what routers advertise. It implements ipv6.NDPDispatcher,
// whose methods must not call into the stack: they post what is to be done.
type routers struct {
	s *Stack

	mu      sync.Mutex
	queue   []func() // guarded by mu
	running bool     // a goroutine works on queue; guarded by mu
}

var _ ipv6.NDPDispatcher = (*routers)(nil)

// post has f run after what was posted before.
func (r *routers) post(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, f)
	if !r.running {
		r.running = true
		go r.work()
	}
}

func (r *routers) work() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		f := r.queue[0]
		r.queue = r.queue[1:]
		r.mu.Unlock()
		f()
	}
}

// OnOffLinkRouteUpdated implements ipv6.NDPDispatcher: a router appears.
func (r *routers) OnOffLinkRouteUpdated(id tcpip.NICID, dest tcpip.Subnet, router tcpip.Address, _ header.NDPRoutePreference) {
	r.post(func() {
		r.removeRoute(id, dest, router)
		r.s.ip.AddRoute(tcpip.Route{Destination: dest, Gateway: router, NIC: id})
	})
}

// OnOffLinkRouteInvalidated implements ipv6.NDPDispatcher: a router is gone.
func (r *routers) OnOffLinkRouteInvalidated(id tcpip.NICID, dest tcpip.Subnet, router tcpip.Address) {
	r.post(func() { r.removeRoute(id, dest, router) })
}

// OnOnLinkPrefixDiscovered implements ipv6.NDPDispatcher.
func (r *routers) OnOnLinkPrefixDiscovered(id tcpip.NICID, prefix tcpip.Subnet) {
	r.post(func() {
		r.removeRoute(id, prefix, tcpip.Address{})
		r.s.ip.AddRoute(tcpip.Route{Destination: prefix, NIC: id})
	})
}

// OnOnLinkPrefixInvalidated implements ipv6.NDPDispatcher.
func (r *routers) OnOnLinkPrefixInvalidated(id tcpip.NICID, prefix tcpip.Subnet) {
	r.post(func() { r.removeRoute(id, prefix, tcpip.Address{}) })
}

func (r *routers) removeRoute(id tcpip.NICID, dest tcpip.Subnet, gw tcpip.Address) {
	r.s.ip.RemoveRoutes(func(t tcpip.Route) bool {
		return t.NIC == id && t.Destination.Equal(dest) && t.Gateway == gw
	})
}

// OnAutoGenAddress implements ipv6.NDPDispatcher. The address counts once it
// is assigned, that is, shown to be free.
func (r *routers) OnAutoGenAddress(id tcpip.NICID, a tcpip.AddressWithPrefix) stack.AddressDispatcher {
	if header.IsV6LinkLocalUnicastAddress(a.Address) {
		return nil
	}
	return &assigned{func() { r.post(func() { r.s.configured(id) }) }}
}

// assigned calls a function when an address is assigned.
type assigned struct{ do func() }

// OnChanged implements stack.AddressDispatcher.
func (a *assigned) OnChanged(_ stack.AddressLifetimes, s stack.AddressAssignmentState) {
	if s == stack.AddressAssigned {
		a.do()
	}
}

// OnRemoved implements stack.AddressDispatcher.
func (a *assigned) OnRemoved(stack.AddressRemovalReason) {}

// OnRecursiveDNSServerOption implements ipv6.NDPDispatcher (RFC 8106).
func (r *routers) OnRecursiveDNSServerOption(id tcpip.NICID, servers []tcpip.Address, lifetime time.Duration) {
	r.post(func() {
		name := r.s.ip.FindNICNameFromID(id)
		r.s.updateNames(id, func(n *nameConfig) {
			for _, a := range servers {
				ip := addr(a)
				if ip.IsLinkLocalUnicast() {
					ip = ip.WithZone(name)
				}
				n.advertise(ip, lifetime)
			}
		})
	})
}

// advertise notes that a router tells of a name server for some time; 0 takes
// it back.
func (n *nameConfig) advertise(a netip.Addr, lifetime time.Duration) {
	for i, s := range n.router {
		if s.addr == a {
			n.router = append(n.router[:i:i], n.router[i+1:]...)
			break
		}
	}
	if lifetime == 0 {
		return
	}
	s := routerServer{addr: a}
	if lifetime < header.NDPInfiniteLifetime {
		s.until = time.Now().Add(lifetime)
	}
	n.router = append(n.router, s)
}

// The rest of ipv6.NDPDispatcher is of no consequence here: netstack itself
// removes addresses, and Kiln has neither DHCPv6 nor a use for search lists
// that anyone on the link may advertise.

func (*routers) OnDuplicateAddressDetectionResult(tcpip.NICID, tcpip.Address, stack.DADResult) {}
func (*routers) OnAutoGenAddressDeprecated(tcpip.NICID, tcpip.AddressWithPrefix)               {}
func (*routers) OnAutoGenAddressInvalidated(tcpip.NICID, tcpip.AddressWithPrefix)              {}
func (*routers) OnDNSSearchListOption(tcpip.NICID, []string, time.Duration)                    {}
func (*routers) OnDHCPv6Configuration(tcpip.NICID, ipv6.DHCPv6ConfigurationFromNDPRA)          {}
