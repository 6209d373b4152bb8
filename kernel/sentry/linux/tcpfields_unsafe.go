package linux

import (
	"fmt"
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// endpointState are where gVisor's TCP endpoints keep what they tell nobody, or only
// by giving it away.
type endpointState struct {
	hardErrorAt, lastErrorAt uintptr // errors that nobody was told, until somebody is
	unacknowledgedAt         uintptr // bytes, sent or not
}

// tcpFields is found when the program starts.
var tcpFields = findEndpointState()

// findEndpointState looks the fields up. It panics if gVisor has others: a kernel
// with such a gVisor does not start.
func findEndpointState() endpointState {
	at := func(typ reflect.Type, names ...string) uintptr {
		at, in := uintptr(0), reflect.TypeFor[tcp.Endpoint]()
		for _, name := range names {
			f, ok := in.FieldByName(name)
			if !ok {
				panic(fmt.Sprintf("linux: %v has no field %s", in, name))
			}
			at, in = at+f.Offset, f.Type
		}
		if in != typ {
			panic(fmt.Sprintf("linux: tcp.Endpoint's field %v is a %v, not a %v", names, in, typ))
		}
		return at
	}
	return endpointState{
		hardErrorAt:      at(reflect.TypeFor[tcpip.Error](), "hardError"),
		lastErrorAt:      at(reflect.TypeFor[tcpip.Error](), "lastError"),
		unacknowledgedAt: at(reflect.TypeFor[int](), "sndQueueInfo", "TCPSndBufState", "SndBufUsed"),
	}
}

// failed reports whether an endpoint has an error that nobody was told. It takes no
// lock, so that notifications may ask: it only looks whether the interfaces have a
// type, which is one word, and answers as of before or after a change.
func (f *endpointState) failed(ep *tcp.Endpoint) bool {
	return *(*uintptr)(unsafe.Pointer(fieldAt[tcpip.Error](ep, f.hardErrorAt))) != 0 ||
		*(*uintptr)(unsafe.Pointer(fieldAt[tcpip.Error](ep, f.lastErrorAt))) != 0
}

// unacknowledged returns how many bytes written to an endpoint its peer has not
// acknowledged, as of before or after a change.
func (f *endpointState) unacknowledged(ep *tcp.Endpoint) int {
	return *fieldAt[int](ep, f.unacknowledgedAt)
}
