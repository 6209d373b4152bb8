package network

import (
	"fmt"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// The types below are netstack's IPv4 and IPv6 with two differences: packets go
// through arrivals on their way to sockets, and on interfaces with a device
// through the link's ackHold on their way out. Netstack asks protocols and endpoints for more interfaces than the ones
// they are declared with, so all are named here.

// ipv4Protocol makes IPv4 endpoints.
type ipv4Protocol struct {
	ipv4All
	stack *Stack
}

type ipv4All interface {
	stack.MulticastForwardingNetworkProtocol
	stack.RejectIPv4WithHandler
}

// newIPv4 is a stack.NetworkProtocolFactory.
func (s *Stack) newIPv4(ip *stack.Stack) stack.NetworkProtocol {
	return ipv4Protocol{must[ipv4All](ipv4.NewProtocol(ip)), s}
}

// NewEndpoint implements stack.NetworkProtocol.
func (p ipv4Protocol) NewEndpoint(nic stack.NetworkInterface, d stack.TransportDispatcher) stack.NetworkEndpoint {
	ep := p.ipv4All.NewEndpoint(nic, p.stack.arrivals(d))
	if l := p.stack.linkOf(nic.ID()); l != nil {
		return ipv4Endpoint{must[ipv4EndpointAll](ep), &l.acks}
	}
	return ep
}

// ipv4Endpoint is IPv4 on an interface with a device.
type ipv4Endpoint struct {
	ipv4EndpointAll
	acks *ackHold
}

type ipv4EndpointAll interface {
	stack.AddressableEndpoint
	stack.ForwardingNetworkEndpoint
	stack.GroupAddressableEndpoint
	stack.LinkResolvableNetworkEndpoint
	stack.MulticastForwardingNetworkEndpoint
	ipv4.IGMPEndpoint
}

// WritePacket implements stack.NetworkEndpoint.
func (e ipv4Endpoint) WritePacket(r *stack.Route, params stack.NetworkHeaderParams, pkt *stack.PacketBuffer) tcpip.Error {
	return e.acks.write(e.ipv4EndpointAll, r, params, pkt)
}

// ipv6Protocol makes IPv6 endpoints.
type ipv6Protocol struct {
	ipv6All
	stack *Stack
}

type ipv6All interface {
	stack.MulticastForwardingNetworkProtocol
	stack.RejectIPv6WithHandler
}

// newIPv6 is a stack.NetworkProtocolFactory.
func (s *Stack) newIPv6(ip *stack.Stack) stack.NetworkProtocol {
	p := ipv6.NewProtocolWithOptions(ipv6.Options{AutoGenLinkLocal: true, NDPDisp: &routers{s: s}})(ip)
	return ipv6Protocol{must[ipv6All](p), s}
}

// NewEndpoint implements stack.NetworkProtocol.
func (p ipv6Protocol) NewEndpoint(nic stack.NetworkInterface, d stack.TransportDispatcher) stack.NetworkEndpoint {
	ep := p.ipv6All.NewEndpoint(nic, p.stack.arrivals(d))
	if l := p.stack.linkOf(nic.ID()); l != nil {
		return ipv6Endpoint{must[ipv6EndpointAll](ep), &l.acks}
	}
	return ep
}

// ipv6Endpoint is IPv6 on an interface with a device.
type ipv6Endpoint struct {
	ipv6EndpointAll
	acks *ackHold
}

type ipv6EndpointAll interface {
	stack.AddressableEndpoint
	stack.DuplicateAddressDetector
	stack.ForwardingNetworkEndpoint
	stack.GroupAddressableEndpoint
	stack.LinkAddressResolver
	stack.LinkResolvableNetworkEndpoint
	stack.MulticastForwardingNetworkEndpoint
	stack.NDPEndpoint
	ipv6.MLDEndpoint
	ipv6.NDPEndpoint
}

// WritePacket implements stack.NetworkEndpoint.
func (e ipv6Endpoint) WritePacket(r *stack.Route, params stack.NetworkHeaderParams, pkt *stack.PacketBuffer) tcpip.Error {
	return e.acks.write(e.ipv6EndpointAll, r, params, pkt)
}

// arrivals puts what counts between IP and d.
func (s *Stack) arrivals(d stack.TransportDispatcher) stack.TransportDispatcher {
	return arrivals{must[stack.TransportDispatcherWithDefaultHandlerResult](d), s.sockets}
}

// must converts to an interface that the pinned gVisor implements.
func must[T any](v any) T {
	t, ok := v.(T)
	if !ok {
		panic(fmt.Sprintf("network: %T is no %T", v, &t))
	}
	return t
}
