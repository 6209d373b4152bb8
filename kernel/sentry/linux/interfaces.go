package linux

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/inet"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket/netlink"
	"gvisor.dev/gvisor/pkg/sentry/socket/netlink/nlmsg"
	"gvisor.dev/gvisor/pkg/syserr"

	"golang.org/x/sys/unix"
)

// interfacesCorrection: flags and broadcast addresses of interfaces.
//
// An Ethernet interface of Linux has the flags IFF_BROADCAST and IFF_MULTICAST
// (ether_setup in net/ethernet/eth.c), and its IPv4 addresses have broadcast addresses
// (IFA_BROADCAST in rtnetlink(7), SIOCGIFBRDADDR in netdevice(7)), which programs
// derive what they send to. gVisor has neither, and leaves out the family of
// SIOCGIFADDR. test/linux/src/interfaces.c, also for eth0 where the host has one.
var interfacesCorrection = correction{
	name:  "interfaces",
	calls: map[uintptr]Wrapper{unix.SYS_IOCTL: interfaceIoctls},
}

// ethernetFlags are those that a device has beside gVisor's.
const ethernetFlags = linux.IFF_BROADCAST | linux.IFF_MULTICAST

// deviceFlags returns the flags of an interface.
func deviceFlags(flags uint32) uint32 {
	if flags&linux.IFF_LOOPBACK != 0 {
		return flags
	}
	return flags | ethernetFlags
}

// Offset of ifi_flags in a message with a struct ifinfomsg.
const linkFlagsOffset = linux.NetlinkMessageHeaderSize + 8

// correctLink corrects the flags in a message about a link.
func correctLink(m *nlmsg.Message) {
	if t := m.Header().Type; t != linux.RTM_NEWLINK && t != linux.RTM_DELLINK {
		return
	}
	if b := m.Buffer(); len(b) >= linkFlagsOffset+4 {
		flags := b[linkFlagsOffset:]
		hostarch.ByteOrder.PutUint32(flags, deviceFlags(hostarch.ByteOrder.Uint32(flags)))
	}
}

// AddNewLinkMessage implements netlink.RouteProtocol.
func (p *routeProtocol) AddNewLinkMessage(ms *nlmsg.MessageSet, index int32, i inet.Interface) {
	i.Flags = deviceFlags(i.Flags)
	p.gvisorRoute.AddNewLinkMessage(ms, index, i)
}

// AddDelLinkMessage implements netlink.RouteProtocol.
func (p *routeProtocol) AddDelLinkMessage(ms *nlmsg.MessageSet, index int32, i inet.Interface) {
	i.Flags = deviceFlags(i.Flags)
	p.gvisorRoute.AddDelLinkMessage(ms, index, i)
}

// broadcast returns an IPv4 address's broadcast address, nil if the interface or
// the network, of two addresses or one, has none (inet_insert_ifa and
// inet_set_ifa in net/ipv4/devinet.c).
func broadcast(i inet.Interface, a inet.InterfaceAddr) []byte {
	if i.Flags&linux.IFF_LOOPBACK != 0 || a.Family != linux.AF_INET || len(a.Addr) != 4 || a.PrefixLen > 30 {
		return nil
	}
	b := make([]byte, 4)
	for n := range b {
		host := byte(0xff)
		if kept := int(a.PrefixLen) - 8*n; kept > 0 {
			host = byte(0xff >> min(kept, 8))
		}
		b[n] = a.Addr[n] | host
	}
	return b
}

// dumpAddresses answers RTM_GETADDR.
func dumpAddresses(s *netlink.Socket, family uint8, ms *nlmsg.MessageSet) *syserr.Error {
	ms.Multi = true
	st := s.Stack()
	if st == nil {
		return nil
	}
	interfaces, addresses := st.Interfaces(), st.InterfaceAddrs()
	for _, id := range st.InterfaceIDs() {
		for _, a := range addresses[id] {
			if family == linux.AF_UNSPEC || family == a.Family {
				addAddress(ms, id, interfaces[id], a)
			}
		}
	}
	return nil
}

// ifaPermanent is IFA_F_PERMANENT.
const ifaPermanent = 0x80

func addAddress(ms *nlmsg.MessageSet, id int32, i inet.Interface, a inet.InterfaceAddr) {
	m := ms.AddMessage(linux.NetlinkMessageHeader{Type: linux.RTM_NEWADDR})
	m.Put(&linux.InterfaceAddrMessage{
		Family:    a.Family,
		PrefixLen: a.PrefixLen,
		Flags:     ifaPermanent,
		Scope:     scope(i, a),
		Index:     uint32(id),
	})
	m.PutAttr(linux.IFA_ADDRESS, primitive.AsByteSlice(a.Addr))
	if a.Family == linux.AF_INET {
		m.PutAttr(linux.IFA_LOCAL, primitive.AsByteSlice(a.Addr))
		if b := broadcast(i, a); b != nil {
			m.PutAttr(linux.IFA_BROADCAST, primitive.AsByteSlice(b))
		}
		m.PutAttrString(linux.IFA_LABEL, i.Name)
	}
	m.PutAttr(linux.IFA_FLAGS, primitive.AllocateUint32(ifaPermanent))
}

// scope returns the scope of an address.
func scope(i inet.Interface, a inet.InterfaceAddr) uint8 {
	switch {
	case i.Flags&linux.IFF_LOOPBACK != 0:
		return linux.RT_SCOPE_HOST
	case a.Family == linux.AF_INET6 && len(a.Addr) == 16 && a.Addr[0] == 0xfe && a.Addr[1]&0xc0 == 0x80:
		return linux.RT_SCOPE_LINK
	}
	return linux.RT_SCOPE_UNIVERSE
}

// interfaceIoctls wraps ioctl(2).
func interfaceIoctls(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, sysno, args)
		if err != nil {
			return n, ctrl, err
		}
		switch cmd := args[1].Uint(); cmd {
		case linux.SIOCGIFFLAGS, linux.SIOCGIFADDR, linux.SIOCGIFBRDADDR:
			err = correctIoctl(t, cmd, args[2].Pointer())
		}
		return n, ctrl, err
	}
}

// correctIoctl corrects the struct ifreq that gVisor has filled in, if the file
// was a socket; other drivers do not know these requests.
func correctIoctl(t *kernel.Task, cmd uint32, addr hostarch.Addr) error {
	var r linux.IFReq
	if _, err := r.CopyIn(t, addr); err != nil {
		return err
	}
	st := t.NetworkContext()
	for id, i := range st.Interfaces() {
		if i.Name != r.Name() {
			continue
		}
		switch cmd {
		case linux.SIOCGIFFLAGS:
			flags := uint32(hostarch.ByteOrder.Uint16(r.Data[:]))
			hostarch.ByteOrder.PutUint16(r.Data[:], uint16(deviceFlags(flags)))
		default:
			if err := putAddress(&r, cmd, i, st.InterfaceAddrs()[id]); err != nil {
				return err
			}
		}
	}
	_, err := r.CopyOut(t, addr)
	return err
}

// putAddress fills in the struct sockaddr_in of the first IPv4 address.
func putAddress(r *linux.IFReq, cmd uint32, i inet.Interface, all []inet.InterfaceAddr) error {
	for _, a := range all {
		if a.Family != linux.AF_INET {
			continue
		}
		clear(r.Data[:16])
		hostarch.ByteOrder.PutUint16(r.Data[:], linux.AF_INET)
		if cmd == linux.SIOCGIFADDR {
			copy(r.Data[4:8], a.Addr)
		} else {
			copy(r.Data[4:8], broadcast(i, a))
		}
		return nil
	}
	return unix.EADDRNOTAVAIL
}
