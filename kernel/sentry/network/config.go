package network

import (
	"fmt"
	"net/netip"
)

// Mode is how an interface gets addresses of a family.
type Mode int

const (
	ModeNone   Mode = iota // none; IPv6 keeps its link-local address
	ModeStatic             // as configured
	ModeDHCP               // IPv4: DHCP
	ModeAuto               // IPv6: stateless autoconfiguration
)

// Family is the configuration of IPv4 or IPv6 on an interface.
type Family struct {
	Mode    Mode
	Address netip.Prefix // ModeStatic
	Gateway netip.Addr   // ModeStatic; zero: no default route
}

// Interface is the configuration of a network interface.
type Interface struct {
	Name string // "eth0"
	IPv4 Family
	IPv6 Family
	MTU  int // 0: the device's
	// DNS are name servers, before those that DHCP or routers tell of.
	DNS    []netip.Addr
	Search []string // domains to look names up in
}

// canBeginLate reports whether the interface may begin late and nobody notices: it
// has its address, and others that it gets from the network take a second.
func (i Interface) canBeginLate() bool {
	return i.IPv4.Mode == ModeStatic && i.IPv6.Mode == ModeAuto
}

// check reports the first mistake in the configuration.
func (i Interface) check() error {
	if i.Name == "" || len(i.Name) > 15 {
		return fmt.Errorf("network: interface name %q is not 1 to 15 bytes long", i.Name)
	}
	if i.MTU != 0 && (i.MTU < 68 || i.MTU > 65535) {
		return fmt.Errorf("network: %s: MTU %d is not from 68 to 65535", i.Name, i.MTU)
	}
	if i.IPv4.Mode == ModeAuto {
		return fmt.Errorf("network: %s: IPv4 has no autoconfiguration; use DHCP", i.Name)
	}
	if i.IPv6.Mode == ModeDHCP {
		return fmt.Errorf("network: %s: DHCP for IPv6 is not supported; use autoconfiguration", i.Name)
	}
	for _, f := range []struct {
		Family
		what string
		is   func(netip.Addr) bool
	}{{i.IPv4, "IPv4", netip.Addr.Is4}, {i.IPv6, "IPv6", func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }}} {
		if f.Mode != ModeStatic {
			continue
		}
		if !f.Address.IsValid() || !f.is(f.Address.Addr()) {
			return fmt.Errorf("network: %s: %v is not an %s address with a prefix length", i.Name, f.Address, f.what)
		}
		if f.Gateway.IsValid() && !f.is(f.Gateway) {
			return fmt.Errorf("network: %s: gateway %v is not an %s address", i.Name, f.Gateway, f.what)
		}
	}
	return nil
}
