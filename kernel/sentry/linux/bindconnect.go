package linux

import (
	"slices"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/ports"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// bindconnectCorrection: a TCP socket that is bound to any address, and then
// connects.
//
// In Linux it has its port at the address that it connects from, until it is
// closed (inet_hash_connect and inet_put_port in net/ipv4/inet_hashtables.c).
//
// gVisor reserves the port at any address when the socket is bound, and gives it
// back at the address that it connected from, where nothing is reserved: the port
// is lost, and after some thousand connections there is none left.
// test/linux/src/bindconnect.c.
//
// So the reservation moves to that address when the socket connects. Sockets are
// files of ours for the cork correction, whose Connect this is.
var bindconnectCorrection = correction{name: "bindconnect"}

// Connect implements socket.Socket.
func (s *tcpSocket) Connect(t *kernel.Task, sockaddr []byte, blocking bool) *syserr.Error {
	any := reservedAtAny(s.ep)
	err := s.Socket.Connect(t, sockaddr, blocking)
	if any != nil {
		any.move(s.ep)
	}
	return err
}

// anyPort is a port that a socket was given at any address.
type anyPort struct {
	ports.Reservation
	both bool // for IPv4 and IPv6
}

// reservedAtAny returns the port that an endpoint has at any address before it
// connects, nil if it has none.
func reservedAtAny(ep *tcp.Endpoint) *anyPort {
	ep.LockUser()
	defer ep.UnlockUser()
	id := ep.TransportEndpointInfo.ID
	if ep.EndpointState() != tcp.StateBound || !*portFields.reserved(ep) || id.LocalAddress.Len() != 0 {
		return nil
	}
	return &anyPort{portFields.reservation(ep), *portFields.both(ep)}
}

// move moves the reservation to the address that the endpoint has connected from,
// or has tried to. It may have ended since.
func (p *anyPort) move(ep *tcp.Endpoint) {
	ep.LockUser()
	defer ep.UnlockUser()
	if ep.TransportEndpointInfo.ID.LocalAddress.Len() == 0 {
		return // there was no route
	}
	st := *portFields.stack(ep)
	if p.both && ep.EndpointState() != tcp.StateBound {
		// gVisor has given IPv4's back.
		p.Networks = slices.DeleteFunc(p.Networks, func(n tcpip.NetworkProtocolNumber) bool { return n == header.IPv4ProtocolNumber })
	}
	st.ReleasePort(p.Reservation)
	if !*portFields.reserved(ep) {
		return
	}
	// The port was the socket's until now; who took it in between has it.
	if _, err := st.ReservePort(st.SecureRNG(), portFields.reservation(ep), nil); err != nil {
		*portFields.reserved(ep) = false
	}
}
