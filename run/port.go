package run

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Port is a port of the host that leads to one of the guest.
type Port struct {
	Proto string // "tcp" or "udp"
	IP    netip.Addr
	Host  uint16
	Guest uint16
}

// defaultHostIP is where a port is published unless the user says otherwise:
// an image's service is for this machine until its owner opens it to others.
var defaultHostIP = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ParsePort reads [HOSTIP:]HOST:GUEST[/tcp|/udp].
func ParsePort(s string) (Port, error) {
	p := Port{Proto: "tcp", IP: defaultHostIP}
	bad := func(why string) (Port, error) {
		return Port{}, inputError(fmt.Sprintf("port %q: %s", s, why), "write [HOSTIP:]HOST:GUEST[/udp], such as 8080:80")
	}
	text, proto, ok := strings.Cut(s, "/")
	if ok {
		if proto != "tcp" && proto != "udp" {
			return bad(fmt.Sprintf("%q is neither tcp nor udp", proto))
		}
		p.Proto = proto
	}
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return bad("there is no port of the guest")
	}
	var err error
	if p.Guest, err = portNumber(text[i+1:]); err != nil {
		return bad(err.Error())
	}
	host := text[:i]
	if j := strings.LastIndexByte(host, ':'); j >= 0 {
		if p.IP, err = netip.ParseAddr(host[:j]); err != nil || !p.IP.Is4() {
			return bad(fmt.Sprintf("%q is not an IPv4 address", host[:j]))
		}
		host = host[j+1:]
	}
	if p.Host, err = portNumber(host); err != nil {
		return bad(err.Error())
	}
	return p, nil
}

func portNumber(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// String returns p as ParsePort reads it.
func (p Port) String() string {
	return fmt.Sprintf("%v:%d:%d/%s", p.IP, p.Host, p.Guest, p.Proto)
}

// hostfwd returns p as an option of QEMU's user backend.
func (p Port) hostfwd() string {
	return fmt.Sprintf("hostfwd=%s:%v:%d-:%d", p.Proto, p.IP, p.Host, p.Guest)
}

// check reports whether the host's port can be had, by listening on it.
func (p Port) check() error {
	addr := netip.AddrPortFrom(p.IP, p.Host).String()
	var l interface{ Close() error }
	var err error
	if p.Proto == "udp" {
		l, err = net.ListenPacket("udp4", addr)
	} else {
		l, err = net.Listen("tcp4", addr)
	}
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, unix.EADDRINUSE):
		return inputError(fmt.Sprintf("port %d/%s of %v is already in use", p.Host, p.Proto, p.IP),
			fmt.Sprintf("publish on another port: -p OTHER:%d", p.Guest))
	case errors.Is(err, fs.ErrPermission):
		return inputError(fmt.Sprintf("port %d/%s of %v needs privilege", p.Host, p.Proto, p.IP),
			fmt.Sprintf("publish on a port above 1023: -p OTHER:%d", p.Guest))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return inputError(fmt.Sprintf("%v is no address of this machine", p.IP), "")
	}
	return inputError(fmt.Sprintf("port %v: %v", p, err), "")
}
