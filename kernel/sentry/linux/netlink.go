package linux

import (
	"slices"
	_ "unsafe" // for go:linkname

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/inet"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket/netlink"
	"gvisor.dev/gvisor/pkg/sentry/socket/netlink/nlmsg"
	"gvisor.dev/gvisor/pkg/sentry/socket/netlink/route"
	"gvisor.dev/gvisor/pkg/sentry/socket/netstack"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// netlinkCorrection: multicast groups and neighbours of NETLINK_ROUTE.
//
// Linux lets a socket join any group (rtnetlink(7); netlink_bind in
// net/netlink/af_netlink.c) and tells its members what programs change; gVisor
// knows the group of links only, so that dnsmasq does not start. Here the members
// of the other groups are told of addresses and routes that programs add or
// remove, not of what the machine's own configuration changes.
//
// RTM_GETNEIGH lists neighbours (neigh_dump_info in net/core/neighbour.c), and
// questions for queueing disciplines, of which there are none, have an empty
// answer. gVisor refuses both, and lists the routes and addresses of all families
// whichever was asked for. test/linux/src/netlink.c.
var netlinkCorrection = correction{name: "netlink", apply: replaceRoute}

// netlinkProtocols are gVisor's, by number.
//
//go:linkname netlinkProtocols gvisor.dev/gvisor/pkg/sentry/socket/netlink.protocols
var netlinkProtocols map[int]netlink.Provider

func replaceRoute(*kernel.Kernel) {
	netlinkProtocols[linux.NETLINK_ROUTE] = func(*kernel.Task) (netlink.Protocol, *syserr.Error) {
		return &routeProtocol{}, nil
	}
}

// netlinkSocket is the file of a NETLINK_ROUTE socket.
type netlinkSocket struct {
	outerFD vfs.FileDescription
	*netlink.Socket
	inner  *vfs.FileDescription // of Socket; holds a reference
	groups uint64               // bit n-1 for group n, without gVisor's; guarded by members.mu
}

// members are the sockets in groups that gVisor does not know.
var members struct {
	mu  sync.Mutex
	all map[*netlinkSocket]struct{} // guarded by mu
}

const (
	lastGroup  = 36 // RTNLGRP_MAX of Linux 6.1
	linkGroups = 1 << (linux.RTNLGRP_LINK - 1)
)

func (s *netlinkSocket) file() *vfs.FileDescription { return &s.outerFD }

// change sets the groups to what f makes of them.
func (s *netlinkSocket) change(f func(groups uint64) uint64) {
	members.mu.Lock()
	defer members.mu.Unlock()
	s.groups = f(s.groups) &^ linkGroups
	if s.groups == 0 {
		delete(members.all, s)
		return
	}
	if members.all == nil {
		members.all = map[*netlinkSocket]struct{}{}
	}
	members.all[s] = struct{}{}
}

// Bind implements socket.Socket.
func (s *netlinkSocket) Bind(t *kernel.Task, sockaddr []byte) *syserr.Error {
	a, err := netlink.ExtractSockAddr(sockaddr)
	if err != nil {
		return err
	}
	mine := *a
	mine.Groups &= linkGroups
	if err := s.Socket.Bind(t, marshal.Marshal(&mine)); err != nil {
		return err
	}
	s.change(func(uint64) uint64 { return uint64(a.Groups) })
	return nil
}

// GetSockName implements socket.Socket.
func (s *netlinkSocket) GetSockName(t *kernel.Task) (linux.SockAddr, uint32, *syserr.Error) {
	a, n, err := s.Socket.GetSockName(t)
	if nl, ok := a.(*linux.SockAddrNetlink); ok {
		nl.Groups = uint32(s.allGroups())
	}
	return a, n, err
}

// allGroups returns the groups with gVisor's.
func (s *netlinkSocket) allGroups() uint64 {
	members.mu.Lock()
	defer members.mu.Unlock()
	return s.groups | s.Socket.Groups()
}

// SetSockOpt implements socket.Socket.
func (s *netlinkSocket) SetSockOpt(t *kernel.Task, level, name int, value []byte) *syserr.Error {
	if level != linux.SOL_NETLINK || name != linux.NETLINK_ADD_MEMBERSHIP && name != linux.NETLINK_DROP_MEMBERSHIP || len(value) < 4 {
		return s.Socket.SetSockOpt(t, level, name, value)
	}
	group := hostarch.ByteOrder.Uint32(value)
	switch {
	case group == linux.RTNLGRP_LINK:
		return s.Socket.SetSockOpt(t, level, name, value)
	case group == 0 || group > lastGroup:
		return syserr.ErrInvalidArgument
	}
	bit := uint64(1) << (group - 1)
	s.change(func(groups uint64) uint64 {
		if name == linux.NETLINK_DROP_MEMBERSHIP {
			return groups &^ bit
		}
		return groups | bit
	})
	return nil
}

// GetSockOpt implements socket.Socket.
func (s *netlinkSocket) GetSockOpt(t *kernel.Task, level, name int, out hostarch.Addr, n int) (marshal.Marshallable, *syserr.Error) {
	if level == linux.SOL_NETLINK && name == linux.NETLINK_LIST_MEMBERSHIPS {
		return primitive.AllocateUint64(s.allGroups()), nil
	}
	return s.Socket.GetSockOpt(t, level, name, out, n)
}

// Release implements vfs.FileDescriptionImpl.
func (s *netlinkSocket) Release(ctx context.Context) {
	s.change(func(uint64) uint64 { return 0 })
	s.inner.DecRef(ctx)
}

// routeProtocol is NETLINK_ROUTE. What is not below, gVisor's answers.
type routeProtocol struct{ gvisorRoute }

type gvisorRoute = route.Protocol

// ProcessMessage implements netlink.Protocol.
func (p *routeProtocol) ProcessMessage(ctx context.Context, s *netlink.Socket, msg *nlmsg.Message, ms *nlmsg.MessageSet) *syserr.Error {
	h := msg.Header()
	var family primitive.Uint8
	if _, ok := msg.GetData(&family); ok && h.Flags&linux.NLM_F_DUMP == linux.NLM_F_DUMP {
		switch h.Type {
		case linux.RTM_GETNEIGH:
			return dumpNeighbors(s, uint8(family), ms)
		case linux.RTM_GETADDR:
			return dumpAddresses(s, uint8(family), ms)
		case linux.RTM_GETQDISC, linux.RTM_GETTCLASS, linux.RTM_GETTFILTER:
			ms.Multi = true
			return nil
		}
	}
	first := len(ms.Messages)
	if err := p.gvisorRoute.ProcessMessage(ctx, s, msg, ms); err != nil {
		return err
	}
	for _, m := range ms.Messages[first:] {
		correctLink(m)
	}
	if h.Type == linux.RTM_GETROUTE && h.Flags&linux.NLM_F_DUMP == linux.NLM_F_DUMP && family != linux.AF_UNSPEC {
		ms.Messages = slices.DeleteFunc(ms.Messages, func(m *nlmsg.Message) bool {
			b := m.Buffer()
			return len(b) > linux.NetlinkMessageHeaderSize && b[linux.NetlinkMessageHeaderSize] != uint8(family)
		})
	}
	announce(ctx, s.NetworkNamespace(), msg, uint8(family))
	return nil
}

// Groups of addresses and routes, by family (include/uapi/linux/rtnetlink.h).
var (
	addressGroups = map[uint8]int{linux.AF_INET: 5, linux.AF_INET6: 9}
	routeGroups   = map[uint8]int{linux.AF_INET: 7, linux.AF_INET6: 11}
)

// announce tells the members of its group of a change that a program has asked
// for. What they get is the request's body, as its own attributes.
func announce(ctx context.Context, ns *inet.Namespace, msg *nlmsg.Message, family uint8) {
	h := msg.Header()
	group := 0
	switch h.Type {
	case linux.RTM_NEWADDR, linux.RTM_DELADDR:
		group = addressGroups[family]
	case linux.RTM_NEWROUTE, linux.RTM_DELROUTE:
		group = routeGroups[family]
	}
	if group == 0 {
		return
	}
	for _, s := range membersOf(ns, group) {
		set := nlmsg.NewMessageSet(0, 0)
		body := primitive.ByteSlice(slices.Clone(msg.Buffer()[linux.NetlinkMessageHeaderSize:]))
		set.AddMessage(linux.NetlinkMessageHeader{Type: h.Type}).Put(&body)
		// A member whose buffer is full misses the message, as in Linux.
		s.SendResponse(ctx, set)
		s.inner.DecRef(ctx)
	}
}

// membersOf returns the sockets of a group, with a reference on each one's inner
// file.
func membersOf(ns *inet.Namespace, group int) []*netlinkSocket {
	members.mu.Lock()
	defer members.mu.Unlock()
	var all []*netlinkSocket
	for s := range members.all {
		if s.groups&(1<<(group-1)) != 0 && s.NetworkNamespace() == ns && s.inner.TryIncRef() {
			all = append(all, s)
		}
	}
	return all
}

// neighborMessage is struct ndmsg (include/uapi/linux/neighbour.h).
func neighborMessage(family uint8, index int32, state uint16) *primitive.ByteSlice {
	b := make(primitive.ByteSlice, 12)
	b[0] = family
	hostarch.ByteOrder.PutUint32(b[4:], uint32(index))
	hostarch.ByteOrder.PutUint16(b[8:], state)
	b[11] = rtnUnicast
	return &b
}

const (
	rtnUnicast = 1 // RTN_UNICAST
	ndaDst     = 1 // NDA_DST
	ndaLLAddr  = 2 // NDA_LLADDR
)

// neighborStates are NUD_* (include/uapi/linux/neighbour.h) by netstack's states.
var neighborStates = map[stack.NeighborState]uint16{
	stack.Incomplete:  0x01,
	stack.Reachable:   0x02,
	stack.Stale:       0x04,
	stack.Delay:       0x08,
	stack.Probe:       0x10,
	stack.Unreachable: 0x20,
	stack.Static:      0x80,
}

// dumpNeighbors answers RTM_GETNEIGH.
func dumpNeighbors(s *netlink.Socket, family uint8, ms *nlmsg.MessageSet) *syserr.Error {
	ms.Multi = true
	st, ok := s.Stack().(*netstack.Stack)
	if !ok {
		return nil
	}
	for _, p := range []struct {
		family uint8
		number tcpip.NetworkProtocolNumber
	}{{linux.AF_INET, ipv4.ProtocolNumber}, {linux.AF_INET6, ipv6.ProtocolNumber}} {
		if family != linux.AF_UNSPEC && family != p.family {
			continue
		}
		for _, id := range st.InterfaceIDs() {
			entries, err := st.Stack.Neighbors(tcpip.NICID(id), p.number)
			if err != nil {
				continue // an interface without neighbours
			}
			for _, e := range entries {
				addNeighbor(ms, p.family, id, e)
			}
		}
	}
	return nil
}

func addNeighbor(ms *nlmsg.MessageSet, family uint8, index int32, e stack.NeighborEntry) {
	m := ms.AddMessage(linux.NetlinkMessageHeader{Type: linux.RTM_NEWNEIGH})
	m.Put(neighborMessage(family, index, neighborStates[e.State]))
	m.PutAttr(ndaDst, primitive.AsByteSlice(e.Addr.AsSlice()))
	if len(e.LinkAddr) > 0 {
		m.PutAttr(ndaLLAddr, primitive.AsByteSlice([]byte(e.LinkAddr)))
	}
}
