package config

import (
	"fmt"
	"net/netip"

	"kiln/image"
	"kiln/kernel/sentry/network"
)

// Values of image.Network.IPv4 and IPv6.
const (
	byDHCP   = "dhcp"
	byAuto   = "auto"
	byStatic = "static"
	byNone   = "none"
)

// interfaces translates the configuration of network interfaces. Without any,
// the first device asks the network for everything.
func interfaces(networks []image.Network) ([]network.Interface, error) {
	if len(networks) == 0 {
		networks = []image.Network{{IPv4: byDHCP, IPv6: byAuto}}
	}
	var out []network.Interface
	for i, n := range networks {
		c, err := oneInterface(n)
		c.Name = fmt.Sprintf("eth%d", i) // as programs on Linux expect
		if err != nil {
			return nil, fmt.Errorf("network interface %s: %w", either(n.Name, c.Name), err)
		}
		out = append(out, c)
	}
	return out, nil
}

// oneInterface translates one.
func oneInterface(n image.Network) (c network.Interface, err error) {
	if c.IPv4, err = family(n.IPv4, n.Address, n.Gateway); err != nil {
		return c, err
	}
	if c.IPv6, err = family(n.IPv6, n.Addr6, n.Gate6); err != nil {
		return c, err
	}
	for _, text := range n.DNS {
		server, err := netip.ParseAddr(text)
		if err != nil {
			return c, fmt.Errorf("name server: %w", err)
		}
		c.DNS = append(c.DNS, server)
	}
	return c, nil
}

// family translates what concerns IPv4 or IPv6.
func family(mode, address, gateway string) (f network.Family, err error) {
	switch mode {
	case byDHCP:
		f.Mode = network.ModeDHCP
	case byAuto:
		f.Mode = network.ModeAuto
	case byNone, "":
		f.Mode = network.ModeNone
	case byStatic:
		f.Mode = network.ModeStatic
		if f.Address, err = netip.ParsePrefix(address); err != nil {
			return f, fmt.Errorf("address: %w", err)
		}
		if gateway == "" {
			return f, nil
		}
		if f.Gateway, err = netip.ParseAddr(gateway); err != nil {
			return f, fmt.Errorf("gateway: %w", err)
		}
	default:
		return f, fmt.Errorf("unknown mode %q", mode)
	}
	return f, nil
}
