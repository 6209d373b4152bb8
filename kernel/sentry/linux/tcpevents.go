package linux

import "gvisor.dev/gvisor/pkg/waiter"

// tcpeventsCorrection: what poll, select and epoll say of a TCP connection that is
// over.
//
// Linux reports POLLERR for as long as there is an error that nobody has been told,
// and POLLPRI for urgent data only (tcp_poll in net/ipv4/tcp.c). gVisor reports all
// that was asked for once a connection was reset, refused, or closed by both sides:
// a program that looks at errors first takes an orderly end for one, and never reads
// what is there. test/linux/src/reset.c and atonce.c.
var tcpeventsCorrection = correction{name: "tcpevents"} // tcpSocket.Readiness

// Readiness implements waiter.Waitable.
//
// Context: also notifications, with locks of the endpoint's held.
func (s *tcpSocket) Readiness(mask waiter.EventMask) waiter.EventMask {
	ready := s.Socket.Readiness(mask)
	if ready&(waiter.EventErr|waiter.EventPri) == 0 {
		return ready
	}
	ready &^= waiter.EventPri // gVisor's TCP has no urgent data
	if !tcpFields.failed(s.ep) {
		ready &^= waiter.EventErr
	}
	return ready
}
