package linux

import (
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// Queued returns how many bytes wait in a socket: what was received, and what is
// yet to be sent. gVisor's own answer, ioctl(2), goes to the memory of the task
// that asks.
func Queued(s socket.Socket) int {
	switch outer := s.(type) {
	case *unixSocket:
		s = outer.Socket
	case *packetSocket:
		s = outer.Socket
	case *tcpSocket:
		s = outer.Socket
	}
	switch gvisors := s.(type) {
	case *unix.Socket:
		// What it has sent waits in another one, which counts it.
		return queuedIn(gvisors.Endpoint(), tcpip.ReceiveQueueSizeOption)
	default:
		if ep, ok := endpoint(s).(tcpip.Endpoint); ok {
			return queuedIn(ep, tcpip.ReceiveQueueSizeOption) + queuedIn(ep, tcpip.SendQueueSizeOption)
		}
	}
	return 0
}

// queuedIn returns the size of an endpoint's queue, 0 if it has none.
func queuedIn(ep interface {
	GetSockOptInt(tcpip.SockOptInt) (int, tcpip.Error)
}, queue tcpip.SockOptInt) int {
	n, err := ep.GetSockOptInt(queue)
	if err != nil {
		return 0
	}
	return n
}
