package linux

import (
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/ports"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// endpointPorts are where gVisor's TCP endpoints say which port they have. All is
// guarded by the endpoint's lock.
type endpointPorts struct {
	stackAt, reservedAt, bothAt, networksAt, flagsAt, deviceAt, destAt uintptr
}

// portFields is found when the program starts.
var portFields = findEndpointPorts()

// findEndpointPorts looks the fields up. It panics if gVisor has others: a kernel
// with such a gVisor does not start.
func findEndpointPorts() endpointPorts {
	at := func(name string, typ reflect.Type) uintptr {
		f, ok := reflect.TypeFor[tcp.Endpoint]().FieldByName(name)
		if !ok || f.Type != typ {
			panic(fmt.Sprintf("linux: tcp.Endpoint has no field %s of type %v", name, typ))
		}
		return f.Offset
	}
	return endpointPorts{
		stackAt:    at("stack", reflect.TypeFor[*stack.Stack]()),
		reservedAt: at("isPortReserved", reflect.TypeFor[bool]()),
		bothAt:     at("alsoBindToV4", reflect.TypeFor[bool]()),
		networksAt: at("effectiveNetProtos", reflect.TypeFor[[]tcpip.NetworkProtocolNumber]()),
		flagsAt:    at("boundPortFlags", reflect.TypeFor[ports.Flags]()),
		deviceAt:   at("boundBindToDevice", reflect.TypeFor[tcpip.NICID]()),
		destAt:     at("boundDest", reflect.TypeFor[tcpip.FullAddress]()),
	}
}

// fieldAt returns a field of an endpoint.
func fieldAt[T any](ep *tcp.Endpoint, offset uintptr) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(ep), offset))
}

func (f *endpointPorts) stack(ep *tcp.Endpoint) **stack.Stack {
	return fieldAt[*stack.Stack](ep, f.stackAt)
}
func (f *endpointPorts) reserved(ep *tcp.Endpoint) *bool { return fieldAt[bool](ep, f.reservedAt) }
func (f *endpointPorts) both(ep *tcp.Endpoint) *bool     { return fieldAt[bool](ep, f.bothAt) }

// reservation returns what gVisor gives back when the endpoint ends.
func (f *endpointPorts) reservation(ep *tcp.Endpoint) ports.Reservation {
	return ports.Reservation{
		Networks:     slices.Clone(*fieldAt[[]tcpip.NetworkProtocolNumber](ep, f.networksAt)),
		Transport:    tcp.ProtocolNumber,
		Addr:         ep.TransportEndpointInfo.ID.LocalAddress,
		Port:         ep.TransportEndpointInfo.ID.LocalPort,
		Flags:        *fieldAt[ports.Flags](ep, f.flagsAt),
		BindToDevice: *fieldAt[tcpip.NICID](ep, f.deviceAt),
		Dest:         *fieldAt[tcpip.FullAddress](ep, f.destAt),
	}
}
