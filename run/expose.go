package run

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// exposedPorts gives each port that an image exposes, PORT/tcp or PORT/udp, a
// free port of the host, as -p has it, and a note for the user that says which.
// Those that published has are left out.
func exposedPorts(exposed, published []string, free func(proto string) (uint16, error)) (ports, notes []string, err error) {
	if len(exposed) == 0 {
		return nil, []string{"-P publishes nothing: the image exposes no port"}, nil
	}
	var taken []Port
	for _, text := range published {
		p, err := ParsePort(text)
		if err != nil {
			return nil, nil, err
		}
		taken = append(taken, p)
	}
	for _, text := range exposed {
		guests, proto, err := parseExposed(text)
		if err != nil {
			return nil, nil, err
		}
		for _, guest := range guests {
			if slices.ContainsFunc(taken, func(p Port) bool { return p.Guest == guest && p.Proto == proto }) {
				continue
			}
			host, err := free(proto)
			if err != nil {
				return nil, nil, inputError(fmt.Sprintf("-P: this machine has no free port for %d/%s: %v", guest, proto, err), "")
			}
			p := Port{Proto: proto, IP: defaultHostIP, Host: host, Guest: guest}
			taken = append(taken, p)
			ports = append(ports, p.String())
			notes = append(notes, fmt.Sprintf("%v leads to port %d/%s", netip.AddrPortFrom(p.IP, p.Host), guest, proto))
		}
	}
	return ports, notes, nil
}

// parseExposed reads PORT[/PROTOCOL] or FIRST-LAST[/PROTOCOL] (OCI image-spec,
// config.md, "ExposedPorts").
func parseExposed(text string) (guests []uint16, proto string, err error) {
	numbers, proto, ok := strings.Cut(text, "/")
	if !ok {
		proto = "tcp"
	}
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || from > to || proto != "tcp" && proto != "udp" {
		return nil, "", inputError(fmt.Sprintf("-P: the image exposes %q, which is no PORT/tcp or PORT/udp", text), "publish with -p")
	}
	for n := from; n <= to; n++ {
		guests = append(guests, uint16(n))
	}
	return guests, proto, nil
}

// freePort returns a port of the host that nothing listens at now.
func freePort(proto string) (uint16, error) {
	at := netip.AddrPortFrom(defaultHostIP, 0).String()
	if proto == "udp" {
		l, err := net.ListenPacket("udp4", at)
		if err != nil {
			return 0, err
		}
		port := l.LocalAddr().(*net.UDPAddr).Port
		return uint16(port), l.Close()
	}
	l, err := net.Listen("tcp4", at)
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return uint16(port), l.Close()
}
