package network

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Netstack counts what each endpoint holds, and shows it to nobody. The code
// below reads the counts out of netstack's structures, by reflection, with
// netstack's locks. Where a field is not what it is expected to be, New fails.

// endpointFields are where TCP's and UDP's endpoints have what is read.
type endpointFields struct {
	// Of tcp.Endpoint.
	received []int // bytes that received segments take, an atomic int32
	unsent   []int // bytes written and not yet acknowledged; guarded by the endpoint's lock
	sender   []int // a pointer, nil before the connection is made; guarded likewise
	closed   []int // by the program; guarded likewise
	writes   []int // of what sender points to: a map of unacknowledged segments
	receiver []int // a pointer, nil before the connection is made; guarded likewise
	next     []int // of what receiver points to: the number that comes next, a uint32
	accepted []int // likewise: the end of the window that the peer was offered

	// Of udp.endpoint.
	udp      reflect.Type
	udpLock  []int // a sync.Mutex that guards the other two
	udpBytes []int // payload in the queue
	udpFirst []int // pointer to the first packet in the queue, which has a field next
	udpNext  []int

	segment   int // bytes of memory beside the payload of a segment
	udpPacket int // the same of a datagram
}

// findEndpointFields looks the fields up. udp is an endpoint of UDP.
func findEndpointFields(udp any) (f endpointFields, err error) {
	find := func(t reflect.Type, kind reflect.Kind, names ...string) (path []int) {
		for _, name := range names {
			field, ok := t.FieldByName(name)
			if !ok {
				err = fmt.Errorf("network: %v has no field %s", t, name)
				return nil
			}
			path, t = append(path, field.Index...), field.Type
		}
		if t.Kind() != kind {
			err = fmt.Errorf("network: field %v is %v, not %v", names, t, kind)
		}
		return path
	}
	// at returns the type at a path.
	at := func(t reflect.Type, path []int) reflect.Type { return t.FieldByIndex(path).Type }

	ep := reflect.TypeFor[tcp.Endpoint]()
	f.received = find(ep, reflect.Int32, "rcvMemUsed", "value")
	f.unsent = find(ep, reflect.Int, "sndQueueInfo", "TCPSndBufState", "SndBufUsed")
	f.sender = find(ep, reflect.Pointer, "snd")
	f.closed = find(ep, reflect.Bool, "closed")
	f.receiver = find(ep, reflect.Pointer, "rcv")
	if err != nil {
		return f, err
	}
	sender := at(ep, f.sender).Elem()
	f.writes = find(sender, reflect.Map, "writeList", "set")
	receiver := at(ep, f.receiver).Elem()
	f.next = find(receiver, reflect.Uint32, "TCPReceiverState", "RcvNxt")
	f.accepted = find(receiver, reflect.Uint32, "TCPReceiverState", "RcvAcc")

	f.udp = reflect.TypeOf(udp).Elem()
	f.udpLock = find(f.udp, reflect.Struct, "rcvMu")
	f.udpBytes = find(f.udp, reflect.Int, "rcvBufSize")
	f.udpFirst = find(f.udp, reflect.Pointer, "rcvList", "head")
	if err != nil {
		return f, err
	}
	packet := at(f.udp, f.udpFirst).Elem()
	f.udpNext = find(packet, reflect.Pointer, "next")
	if lock := at(f.udp, f.udpLock); err == nil && lock != reflect.TypeFor[sync.Mutex]() {
		err = fmt.Errorf("network: UDP's lock is a %v", lock)
	}
	if err != nil {
		return f, err
	}
	f.segment = int(at(sender, f.writes).Key().Elem().Size()) + stack.PacketBufferStructSize
	f.udpPacket = int(packet.Size()) + stack.PacketBufferStructSize
	return f, nil
}

// receivedBy returns the bytes that the segments in an endpoint's receive queues
// take. It locks nothing.
func (f *endpointFields) receivedBy(ep *tcp.Endpoint) int {
	count := reflect.ValueOf(ep).Elem().FieldByIndex(f.received)
	return int(atomic.LoadInt32((*int32)(unsafe.Pointer(count.UnsafeAddr()))))
}

// tcpUse is what a TCP endpoint holds.
type tcpUse struct {
	received int  // bytes that received segments take
	unsent   int  // bytes of data that the peer has not acknowledged
	segments int  // that these are in
	promised int  // bytes that the peer may send before it hears of the program's reading
	closed   bool // by the program
}

// total returns what the endpoint's segments take, in bytes.
func (f *endpointFields) total(u tcpUse) int { return u.received + u.unsent + u.segments*f.segment }

// useOf returns what an endpoint holds. It locks the endpoint.
func (f *endpointFields) useOf(ep *tcp.Endpoint) tcpUse {
	ep.LockUser()
	defer ep.UnlockUser()
	return f.useLocked(ep)
}

// useLocked is useOf for who has locked the endpoint.
func (f *endpointFields) useLocked(ep *tcp.Endpoint) tcpUse {
	v := reflect.ValueOf(ep).Elem()
	u := tcpUse{
		received: f.receivedBy(ep),
		unsent:   int(v.FieldByIndex(f.unsent).Int()),
		closed:   v.FieldByIndex(f.closed).Bool(),
	}
	if snd := v.FieldByIndex(f.sender); !snd.IsNil() {
		u.segments = snd.Elem().FieldByIndex(f.writes).Len()
	}
	if rcv := v.FieldByIndex(f.receiver); !rcv.IsNil() {
		next, accepted := rcv.Elem().FieldByIndex(f.next), rcv.Elem().FieldByIndex(f.accepted)
		u.promised = max(0, int(int32(uint32(accepted.Uint())-uint32(next.Uint()))))
	}
	return u
}

// queuedAt returns the bytes that the datagrams in an endpoint's receive queue
// take, or at least enough if it is so many; ok is false if it is none of UDP's.
// It locks the endpoint.
func (f *endpointFields) queuedAt(ep stack.TransportEndpoint, enough int) (size int, ok bool) {
	p := reflect.ValueOf(ep)
	if p.Kind() != reflect.Pointer || p.Type().Elem() != f.udp {
		return 0, false
	}
	v := p.Elem()
	lock := (*sync.Mutex)(unsafe.Pointer(v.FieldByIndex(f.udpLock).UnsafeAddr()))
	lock.Lock()
	defer lock.Unlock()
	size = int(v.FieldByIndex(f.udpBytes).Int())
	for packet := v.FieldByIndex(f.udpFirst); !packet.IsNil() && size < enough; packet = packet.Elem().FieldByIndex(f.udpNext) {
		size += f.udpPacket
	}
	return size, true
}
