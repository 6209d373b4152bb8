package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// nameConfig is what an interface knows of names.
type nameConfig struct {
	static []netip.Addr // from the configuration
	search []string
	dhcp   []netip.Addr
	domain []string // from DHCP
	router []routerServer
}

// routerServer is a name server that a router advertises.
type routerServer struct {
	addr  netip.Addr
	until time.Time // zero: for good
}

// current returns the advertised servers whose time has not run out.
func (n *nameConfig) current() []netip.Addr {
	var as []netip.Addr
	for _, s := range n.router {
		if s.until.IsZero() || time.Now().Before(s.until) {
			as = append(as, s.addr)
		}
	}
	return as
}

// resolvMaxServers is how many servers the resolver libraries use: MAXNS in
// resolv.h.
const resolvMaxServers = 3

// setNames sets an interface's configured servers.
func (s *Stack) setNames(id tcpip.NICID, n nameConfig) {
	s.mu.Lock()
	s.resolv[id] = &n
	s.order = append(s.order, id)
	s.mu.Unlock()
	s.resolvChanged()
}

// updateNames changes what an interface knows of names.
func (s *Stack) updateNames(id tcpip.NICID, change func(*nameConfig)) {
	s.mu.Lock()
	if n := s.resolv[id]; n != nil {
		change(n)
	}
	s.mu.Unlock()
	s.resolvChanged()
}

func (s *Stack) resolvChanged() {
	if s.onResolv != nil {
		s.onResolv()
	}
}

// Resolv returns the contents of /etc/resolv.conf. It is empty if no interface
// knows a name server.
func (s *Stack) Resolv() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var servers []netip.Addr
	var search []string
	for _, pick := range []func(*nameConfig) []netip.Addr{
		func(n *nameConfig) []netip.Addr { return n.static },
		func(n *nameConfig) []netip.Addr { return n.dhcp },
		(*nameConfig).current,
	} {
		for _, id := range s.order {
			servers = append(servers, pick(s.resolv[id])...)
		}
	}
	for _, id := range s.order {
		search = append(search, s.resolv[id].search...)
		search = append(search, s.resolv[id].domain...)
	}
	var b bytes.Buffer
	if len(search) > 0 {
		b.WriteString("search")
		for i, d := range search {
			if !slices.Contains(search[:i], d) {
				b.WriteString(" " + d)
			}
		}
		b.WriteByte('\n')
	}
	n := 0
	for i, a := range servers {
		if n < resolvMaxServers && !slices.Contains(servers[:i], a) {
			fmt.Fprintf(&b, "nameserver %v\n", a)
			n++
		}
	}
	return b.Bytes()
}
