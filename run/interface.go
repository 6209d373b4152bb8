package run

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"kiln/image"
	"kiln/run/qemu"
)

// Networking of one run: Net, or Interfaces; Addresses and Ports with either.
type Networking struct {
	Net        string   // "user", "none", "tap:IF"; "" means user
	Interfaces []string // -I NAME,vioif,'-net BACKEND,…'
	Addresses  []string // -W NAME,inet,…
	Ports      []string // -p
	Exposed    bool     // -P: publish also what the image exposes, at free ports
}

// iface is one network interface, both sides of it.
type iface struct {
	nic    qemu.NIC
	config image.Network
}

// resolve returns the interfaces and the ports of the host that they publish.
// defaults are the image's own configuration and ports.
func (n Networking) resolve(defaults []image.Network, defaultPorts []string) ([]iface, []Port, error) {
	ifaces, err := n.devices()
	if err != nil {
		return nil, nil, err
	}
	if err := n.configure(ifaces, defaults); err != nil {
		return nil, nil, err
	}
	ports, err := n.publish(ifaces, defaultPorts)
	return ifaces, ports, err
}

// devices returns the interfaces without configuration.
func (n Networking) devices() ([]iface, error) {
	if len(n.Interfaces) == 0 {
		nic, err := parseNet(n.Net)
		if err != nil || nic == nil {
			return nil, err
		}
		return []iface{{nic: *nic}}, nil
	}
	if n.Net != "" {
		return nil, inputError("--net and -I exclude each other", "-I describes each interface")
	}
	var ifaces []iface
	for _, s := range n.Interfaces {
		name, nic, err := ParseInterface(s)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(ifaces, func(i iface) bool { return i.config.Name == name }) {
			return nil, inputError(fmt.Sprintf("-I %s: there is already an interface %q", s, name), "")
		}
		ifaces = append(ifaces, iface{nic, image.Network{Name: name}})
	}
	return ifaces, nil
}

// parseNet reads the value of --net. A nil NIC means none.
func parseNet(s string) (*qemu.NIC, error) {
	kind, name, _ := strings.Cut(s, ":")
	switch {
	case s == "" || s == "user":
		return &qemu.NIC{Backend: "user"}, nil
	case s == "none":
		return nil, nil
	case kind == "tap" && validName(name):
		nic := tapDefaults(qemu.NIC{Backend: "tap", Options: []string{"ifname=" + name}})
		return &nic, nil
	}
	return nil, inputError(fmt.Sprintf("--net %s: no such network", s), "there are user, none and tap:INTERFACE")
}

// backends are those of QEMU's that -I takes.
var backends = []string{"user", "tap", "bridge", "socket"}

// ParseInterface reads the value of -I:
//
//	NAME[,vioif[,[-net ]BACKEND[,OPTION=VALUE]…]]
//
// as Rumprun has it. Without a BACKEND it is user networking.
func ParseInterface(s string) (name string, nic qemu.NIC, err error) {
	bad := func(why string) (string, qemu.NIC, error) {
		return "", qemu.NIC{}, inputError(fmt.Sprintf("-I %s: %s", s, why),
			"write -I NAME,vioif,'-net tap,script=no,ifname=tap0'")
	}
	name, rest, _ := strings.Cut(s, ",")
	if !validName(name) {
		return bad(fmt.Sprintf("%q is not the name of an interface", name))
	}
	driver, backend, _ := strings.Cut(rest, ",")
	if driver != "" && driver != "vioif" && driver != "virtio" {
		return bad(fmt.Sprintf("there is no driver %q, only vioif", driver))
	}
	backend = strings.TrimSpace(backend)
	for _, prefix := range []string{"-netdev ", "-net "} {
		backend = strings.TrimSpace(strings.TrimPrefix(backend, prefix))
	}
	if backend == "" {
		backend = "user"
	}
	fields := strings.Split(backend, ",")
	nic = qemu.NIC{Backend: fields[0], Options: fields[1:]}
	if !slices.Contains(backends, nic.Backend) {
		return bad(fmt.Sprintf("backend %q is not one of %s", nic.Backend, strings.Join(backends, ", ")))
	}
	for _, o := range nic.Options {
		key, _, ok := strings.Cut(o, "=")
		if !ok || key == "" || key == "id" {
			return bad(fmt.Sprintf("option %q of the backend is not OPTION=VALUE, or not yours to set", o))
		}
	}
	if nic.Backend == "tap" {
		nic = tapDefaults(nic)
	}
	return name, nic, nil
}

// tapDefaults adds what a tap backend needs to run no script and ask for no
// kernel module, unless the options say otherwise.
func tapDefaults(nic qemu.NIC) qemu.NIC {
	for _, d := range []string{"script=no", "downscript=no", "vhost=off"} {
		key, _, _ := strings.Cut(d, "=")
		if nic.Option(key) == "" {
			nic.Options = append(nic.Options, d)
		}
	}
	return nic
}

// checkTap reports a tap interface that the host does not have. QEMU would
// make one if it may, but without an address, down, and for its lifetime.
func checkTap(nic qemu.NIC) error {
	name := nic.Option("ifname")
	if nic.Backend != "tap" || name == "" {
		return nil
	}
	if _, err := net.InterfaceByName(name); err != nil {
		return inputError(fmt.Sprintf("there is no network interface %s", name),
			fmt.Sprintf("make it: sudo ip tuntap add %s mode tap user $USER; sudo ip addr add HOSTADDRESS/BITS dev %s; sudo ip link set %s up", name, name, name))
	}
	return nil
}

// validName reports whether s can name an interface (Linux: dev_valid_name).
func validName(s string) bool {
	return s != "" && len(s) <= 15 && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == ',' || r > '~' })
}

// configure gives each interface its configuration: what -W says, else the
// image's, else the backend's default.
func (n Networking) configure(ifaces []iface, defaults []image.Network) error {
	configs, err := ParseAddresses(n.Addresses)
	if err != nil {
		return err
	}
	// An interface that no -I named goes by the name that -W uses.
	if len(n.Interfaces) == 0 && len(ifaces) == 1 && len(configs) == 1 {
		ifaces[0].config.Name = configs[0].Name
	}
	for i := range ifaces {
		f := &ifaces[i]
		name := f.config.Name
		f.config = defaultConfig(f.nic)
		if i < len(defaults) {
			f.config = defaults[i]
		}
		if name != "" {
			f.config.Name = name
		}
		j := slices.IndexFunc(configs, func(c image.Network) bool { return c.Name == name })
		if j >= 0 {
			f.config = complete(configs[j], f.nic)
			configs = slices.Delete(configs, j, j+1)
		}
	}
	if len(configs) > 0 {
		return inputError(fmt.Sprintf("-W %s,…: there is no interface %q", configs[0].Name, configs[0].Name),
			"declare it: -I "+configs[0].Name+",vioif,'-net tap,script=no,ifname=tap0'")
	}
	return nil
}

// defaultConfig is the configuration of an interface that nobody configured.
func defaultConfig(nic qemu.NIC) image.Network {
	if nic.Backend != "user" {
		return image.Network{IPv4: "dhcp", IPv6: "auto"}
	}
	// QEMU's user network hands out just this by DHCP; to know it saves the
	// boot a round trip.
	return image.Network{
		IPv4: "static", Address: "10.0.2.15/24", Gateway: "10.0.2.2", DNS: []string{"10.0.2.3"},
		IPv6: "auto",
	}
}

// complete fills in the families that -W left out.
func complete(c image.Network, nic qemu.NIC) image.Network {
	d := defaultConfig(nic)
	if c.IPv4 == "" {
		c.IPv4 = "none"
		if nic.Backend == "user" {
			c.IPv4, c.Address, c.Gateway = d.IPv4, d.Address, d.Gateway
		}
	}
	if c.IPv6 == "" {
		c.IPv6 = d.IPv6
	}
	if c.DNS == nil && c.IPv4 != "dhcp" {
		c.DNS = d.DNS
	}
	return c
}

// publish adds the ports to the first interface that can publish any.
func (n Networking) publish(ifaces []iface, defaults []string) ([]Port, error) {
	texts := n.Ports
	if len(texts) == 0 {
		texts = defaults
	}
	user := slices.IndexFunc(ifaces, func(i iface) bool { return i.nic.Backend == "user" })
	if user < 0 {
		if len(n.Ports) > 0 {
			return nil, inputError("-p publishes ports of user networking, and this machine has none",
				"with a tap, connect to the guest's own address")
		}
		return nil, nil // the image's defaults are for when there is one
	}
	var ports []Port
	for _, t := range texts {
		p, err := ParsePort(t)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(ports, func(q Port) bool { return p.Proto == q.Proto && p.IP == q.IP && p.Host == q.Host }) {
			return nil, inputError(fmt.Sprintf("port %d/%s of the host is published twice", p.Host, p.Proto), "")
		}
		ports = append(ports, p)
		nic := &ifaces[user].nic
		nic.Options = append(nic.Options, p.hostfwd())
	}
	return ports, nil
}

// ParseAddresses reads the values of -W into one configuration for each
// interface, in the order in which they first appear. A family that no value
// speaks of is left empty.
func ParseAddresses(values []string) ([]image.Network, error) {
	var configs []image.Network
	for _, v := range values {
		fields := strings.Split(v, ",")
		i := slices.IndexFunc(configs, func(c image.Network) bool { return c.Name == fields[0] })
		if i < 0 {
			if !validName(fields[0]) {
				return nil, addressError(v, fmt.Sprintf("%q is not the name of an interface", fields[0]))
			}
			configs = append(configs, image.Network{Name: fields[0]})
			i = len(configs) - 1
		}
		if why := parseAddress(&configs[i], fields[1:]); why != "" {
			return nil, addressError(v, why)
		}
	}
	return configs, nil
}

func addressError(value, why string) error {
	return inputError(fmt.Sprintf("-W %s: %s", value, why),
		"write NAME,inet,dhcp or NAME,inet,static,ADDRESS/BITS[,GATEWAY] or NAME,inet6,auto or NAME,inet6,static,ADDRESS/BITS[,GATEWAY] or NAME,dns,ADDRESS…")
}

// parseAddress adds what follows the name in a -W to c. It returns what is
// wrong, "" if nothing.
func parseAddress(c *image.Network, fields []string) string {
	if len(fields) < 2 {
		return "too short"
	}
	family, mode, rest := fields[0], fields[1], fields[2:]
	switch family {
	case "dns":
		for _, f := range fields[1:] {
			if _, err := netip.ParseAddr(f); err != nil {
				return fmt.Sprintf("%q is not an address", f)
			}
		}
		c.DNS = append(c.DNS, fields[1:]...)
		return ""
	case "inet":
		return parseFamily(&c.IPv4, &c.Address, &c.Gateway, "dhcp", mode, rest, netip.Addr.Is4)
	case "inet6":
		is6 := func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }
		return parseFamily(&c.IPv6, &c.Addr6, &c.Gate6, "auto", mode, rest, is6)
	}
	return fmt.Sprintf("%q is none of inet, inet6 and dns", family)
}

// parseFamily reads MODE[,ADDRESS/BITS[,GATEWAY]]. automatic is the family's
// mode that needs no address.
func parseFamily(mode, address, gateway *string, automatic, value string, rest []string, is func(netip.Addr) bool) string {
	if *mode != "" {
		return "this family is already configured"
	}
	*mode = value
	switch value {
	case automatic, "none":
		if len(rest) != 0 {
			return fmt.Sprintf("nothing may follow %s", value)
		}
		return ""
	case "static":
	default:
		return fmt.Sprintf("%q is none of %s, static and none", value, automatic)
	}
	if len(rest) < 1 || len(rest) > 2 {
		return "static takes ADDRESS/BITS and perhaps a gateway"
	}
	prefix, err := netip.ParsePrefix(rest[0])
	if err != nil || !is(prefix.Addr()) || prefix.Addr().IsUnspecified() {
		return fmt.Sprintf("%q is not an address of this family with its prefix length", rest[0])
	}
	*address = prefix.String()
	if len(rest) == 1 {
		return ""
	}
	gw, err := netip.ParseAddr(rest[1])
	if err != nil || !is(gw) {
		return fmt.Sprintf("gateway %q is not an address of this family", rest[1])
	}
	if !prefix.Contains(gw) && !gw.IsLinkLocalUnicast() {
		return fmt.Sprintf("gateway %v is not in %v", gw, prefix.Masked())
	}
	*gateway = gw.String()
	return ""
}

// ParseDefaults reads the values of -W as what an image stores for later runs.
func ParseDefaults(values []string) ([]image.Network, error) {
	configs, err := ParseAddresses(values)
	for i := range configs {
		c := &configs[i]
		if c.IPv4 == "" {
			c.IPv4 = "none"
		}
		if c.IPv6 == "" {
			c.IPv6 = "auto"
		}
	}
	return configs, err
}
