package rumpconfig

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"kiln/image"
)

// networks collects what net says.
type networks struct {
	list     []image.Network // by index of the interface
	gateways []string
	dns      []string
}

// maxInterfaces bounds the number in an interface's name.
const maxInterfaces = 32

// address is an address or gateway of either form.
type address struct {
	If     string `json:"if"`     // first form
	Cloner any    `json:"cloner"` // first form, without effect
	Type   string `json:"type"`
	Method string `json:"method"`
	Addr   string `json:"addr"` // second form: with /BITS
	Mask   any    `json:"mask"` // first form: bits
	Gw     string `json:"gw"`   // first form
}

// read reads a net member, of the first form if it names one interface.
func (n *networks) read(value json.RawMessage) error {
	members, err := readObject(value)
	if err != nil {
		return errorf("net", "it is no object")
	}
	for _, m := range members {
		if m.key == "if" {
			return n.readFlat(value)
		}
	}
	for _, m := range members {
		switch m.key {
		case "interfaces":
			err = n.readInterfaces(m.value)
		case "gateways":
			err = n.readGateways(m.value)
		case "dns":
			err = n.readDNS(m.value)
		default:
			err = errorf("net", "there is no key %q; there are interfaces, gateways and dns, or if, type, method, addr, mask and gw", m.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readFlat reads the first form.
func (n *networks) readFlat(value json.RawMessage) error {
	var a address
	if err := decode("net", value, &a); err != nil {
		return err
	}
	if a.Mask != nil {
		a.Addr += "/" + number(a.Mask)
	}
	return n.add("net: "+a.If, a.If, a)
}

// number returns the text of a number or string of JSON.
func number(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return "?"
}

// readInterfaces reads interfaces of the second form.
func (n *networks) readInterfaces(value json.RawMessage) error {
	members, err := readObject(value)
	if err != nil {
		return errorf("net", "interfaces is no object")
	}
	for _, m := range members {
		var entry struct {
			Create bool      `json:"create"` // without effect: the interface exists
			Addrs  []address `json:"addrs"`
		}
		key := "net: " + m.key
		if err := decode(key, m.value, &entry); err != nil {
			return err
		}
		if _, err := n.at(key, m.key); err != nil {
			return err
		}
		for _, a := range entry.Addrs {
			if err := n.add(key, m.key, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// at returns the configuration of the interface called name: the number at its
// end says which.
func (n *networks) at(key, name string) (*image.Network, error) {
	digits := name[len(strings.TrimRight(name, "0123456789")):]
	index, err := strconv.Atoi(digits)
	if err != nil || index >= maxInterfaces {
		return nil, errorf(key, "%q is not the name of an interface, such as vioif0", name)
	}
	for len(n.list) <= index {
		n.list = append(n.list, image.Network{})
	}
	n.list[index].Name = name
	return &n.list[index], nil
}

// add gives the interface called name an address.
func (n *networks) add(key, name string, a address) error {
	c, err := n.at(key, name)
	if err != nil {
		return err
	}
	mode, addr, gateway, automatic := &c.IPv4, &c.Address, &c.Gateway, "dhcp"
	switch a.Type {
	case "inet":
	case "inet6":
		mode, addr, gateway, automatic = &c.IPv6, &c.Addr6, &c.Gate6, "auto"
	default:
		return errorf(key, "type %q is neither inet nor inet6", a.Type)
	}
	if *mode != "" {
		return errorf(key, "there are two addresses of type %s; one is what it can have", a.Type)
	}
	*mode = a.Method
	switch a.Method {
	case automatic:
		return nil
	case "static":
	default:
		return errorf(key, "method %q is neither static nor %s", a.Method, automatic)
	}
	prefix, err := netip.ParsePrefix(a.Addr)
	if err != nil || prefix.Addr().Is4() != (a.Type == "inet") {
		return errorf(key, "%q is not an address of type %s with its prefix length", a.Addr, a.Type)
	}
	*addr = prefix.String()
	if a.Gw == "" {
		return nil
	}
	if gw, err := netip.ParseAddr(a.Gw); err != nil || gw.Is4() != (a.Type == "inet") {
		return errorf(key, "gateway %q is not an address of type %s", a.Gw, a.Type)
	}
	*gateway = a.Gw
	return nil
}

// readGateways reads gateways of the second form.
func (n *networks) readGateways(value json.RawMessage) error {
	var list []struct {
		Type string `json:"type"`
		Addr string `json:"addr"`
	}
	if err := decode("net: gateways", value, &list); err != nil {
		return err
	}
	for _, g := range list {
		a, err := netip.ParseAddr(g.Addr)
		if err != nil {
			return errorf("net: gateways", "%q is not an address", g.Addr)
		}
		// Rumprun's own documentation gives IPv6 gateways the type inet.
		if g.Type != "inet" && g.Type != "inet6" {
			return errorf("net: gateways", "type %q is neither inet nor inet6", g.Type)
		}
		n.gateways = append(n.gateways, a.String())
	}
	return nil
}

// readDNS reads the resolver's configuration.
func (n *networks) readDNS(value json.RawMessage) error {
	var d struct {
		NameServers []string `json:"nameservers"`
		Search      []string `json:"search"`
	}
	if err := decode("net: dns", value, &d); err != nil {
		return err
	}
	if len(d.Search) > 0 {
		return errorf("net: dns", "search is not supported: put it into the image's /etc/resolv.conf")
	}
	for _, s := range d.NameServers {
		if _, err := netip.ParseAddr(s); err != nil {
			return errorf("net: dns", "%q is not an address", s)
		}
	}
	n.dns = append(n.dns, d.NameServers...)
	return nil
}

// finish gives gateways and name servers to their interfaces, and families
// that nothing was said about the mode none.
func (n *networks) finish() ([]image.Network, error) {
	for _, text := range n.gateways {
		gateway, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		if !n.setGateway(gateway) {
			return nil, errorf("net: gateways", "no interface has an address in the network of %s", text)
		}
	}
	for i := range n.list {
		c := &n.list[i]
		if c.IPv4 == "" {
			c.IPv4 = "none"
		}
		if c.IPv6 == "" {
			c.IPv6 = "none"
		}
		if i == 0 {
			c.DNS = n.dns
		}
	}
	if len(n.list) == 0 && len(n.dns) > 0 {
		return nil, errorf("net: dns", "no interface is configured")
	}
	return n.list, nil
}

// setGateway gives a gateway to the interface whose network it is in.
func (n *networks) setGateway(gateway netip.Addr) bool {
	for i := range n.list {
		c := &n.list[i]
		addr, to := c.Address, &c.Gateway
		if gateway.Is6() {
			addr, to = c.Addr6, &c.Gate6
		}
		prefix, err := netip.ParsePrefix(addr)
		if err == nil && *to == "" && (prefix.Contains(gateway) || gateway.IsLinkLocalUnicast()) {
			*to = gateway.String()
			return true
		}
	}
	return false
}
