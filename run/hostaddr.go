package run

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"kiln/image"
)

// hostAddress is an address of the host on one of its interfaces.
type hostAddress struct {
	iface string
	addr  netip.Addr
}

// hostAddresses returns the addresses of the host's interfaces. Without a list
// no clash with the guest's can be found, and the guest finds out by itself.
func hostAddresses() []hostAddress {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []hostAddress
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface has just gone
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out = append(out, hostAddress{i.Name, p.Addr()})
			}
		}
	}
	return out
}

// avoidHost gives an interface that the host can reach another static address
// where the configured one is the host's own: two machines with one address on
// a link reach nobody. It returns a line for the user for each.
func (i *iface) avoidHost(own []hostAddress) ([]string, error) {
	if i.nic.Backend == "user" {
		return nil, nil // a network of its own
	}
	var notes []string
	for _, f := range []struct{ address, gateway *string }{
		{&i.config.Address, &i.config.Gateway}, {&i.config.Addr6, &i.config.Gate6},
	} {
		if *f.address == "" {
			continue
		}
		note, err := avoid(f.address, *f.gateway, own, i.config)
		if err != nil {
			return nil, err
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	return notes, nil
}

// avoid moves *address, ADDRESS/BITS, if it is one of own.
func avoid(address *string, gateway string, own []hostAddress, c image.Network) (string, error) {
	prefix, err := netip.ParsePrefix(*address)
	if err != nil {
		return "", inputError(fmt.Sprintf("interface %s: %v", c.Name, err), "")
	}
	taken := func(a netip.Addr) int {
		return slices.IndexFunc(own, func(h hostAddress) bool { return h.addr == a })
	}
	at := taken(prefix.Addr())
	if at < 0 {
		return "", nil
	}
	free, ok := nextFree(prefix, func(a netip.Addr) bool { return taken(a) >= 0 || a.String() == gateway })
	if !ok {
		return "", inputError(fmt.Sprintf("%v is this host's own address on %s, and %v has no other", prefix.Addr(), own[at].iface, prefix.Masked()),
			"give the guest an address of its own: -W "+c.Name+",inet,static,ADDRESS/BITS")
	}
	*address = netip.PrefixFrom(free, prefix.Bits()).String()
	return fmt.Sprintf("%v is this host's own address, on %s; the guest gets %v instead", prefix.Addr(), own[at].iface, free), nil
}

// searchLimit bounds the search for a free address: a host has fewer.
const searchLimit = 1 << 16

// nextFree returns the first address behind p's, around the end of its
// network, that is not taken and neither the network's own nor its broadcast
// address.
func nextFree(p netip.Prefix, taken func(netip.Addr) bool) (netip.Addr, bool) {
	network := p.Masked().Addr()
	a := p.Addr()
	for range searchLimit {
		if a = a.Next(); !a.IsValid() || !p.Contains(a) {
			a = network.Next()
		}
		if a == p.Addr() || !a.IsValid() || !p.Contains(a) {
			return netip.Addr{}, false
		}
		last := !p.Contains(a.Next()) && a.Is4() // broadcast
		if !taken(a) && !last {
			return a, true
		}
	}
	return netip.Addr{}, false
}
