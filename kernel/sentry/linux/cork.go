package linux

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/usermem"
)

// corkCorrection: data of a TCP socket that waits for more.
//
// With TCP_CORK, with MSG_MORE, and by Nagle's algorithm, the last part of what
// was written waits until a segment is full. In Linux it goes at once when the
// socket is closed or shut down for writing (tcp_send_fin in
// net/ipv4/tcp_output.c), when TCP_CORK is cleared, and when TCP_NODELAY is set,
// also under TCP_CORK; and after 200 ms at the latest (tcp(7)).
//
// gVisor keeps it after a close and a shutdown, for 200 ms or until all before it
// is acknowledged; the 200 ms work once in a socket's life, later the data waits
// for ever; TCP_NODELAY sends nothing under TCP_CORK; MSG_MORE is ignored.
// test/linux/src/cork.c.
//
// A TCP socket's file is therefore one of ours around gVisor's (socketfile.go).
var corkCorrection = correction{
	name:  "cork",
	calls: map[uintptr]Wrapper{unix.SYS_SOCKET: aroundSockets},
}

// ceiling is how long data waits for more.
const ceiling = 200 * time.Millisecond

// tcpSocket is a TCP socket's file. What is not below, gVisor's answers.
type tcpSocket struct {
	outerFD vfs.FileDescription
	socket.Socket
	inner   *vfs.FileDescription // of Socket; holds a reference
	ep      *tcp.Endpoint        // behind Socket
	options *tcpip.SocketOptions

	// holding says that data may wait for more. It is the value of gVisor's
	// TCP_CORK, and changes under mu.
	holding atomic.Bool

	mu      sync.Mutex
	corked  bool        // guarded by mu; the program's TCP_CORK
	more    bool        // guarded by mu; the last data came with MSG_MORE
	timer   *time.Timer // guarded by mu; of ceiling, nil while none runs
	ended   bool        // guarded by mu; nothing more can be written
	nodelay bool        // guarded by mu; the program's TCP_NODELAY when it ended
}

func (s *tcpSocket) file() *vfs.FileDescription { return &s.outerFD }

// Accept implements socket.Socket: what it accepts is wrapped, too.
func (s *tcpSocket) Accept(t *kernel.Task, peerRequested bool, flags int, blocking bool) (int32, linux.SockAddr, uint32, *syserr.Error) {
	if !blocking {
		arrive()
	}
	fd, addr, n, err := s.Socket.Accept(t, peerRequested, flags, blocking)
	if err == nil {
		err = syserr.FromError(aroundSocket(t, fd))
	}
	return fd, addr, n, err
}

// Write implements vfs.FileDescriptionImpl.
func (s *tcpSocket) Write(ctx context.Context, src usermem.IOSequence, opts vfs.WriteOptions) (int64, error) {
	n, err := s.Socket.Write(ctx, src, opts)
	if s.holding.Load() {
		s.setMore(false)
	}
	onTCPWrite(s.ep, int(n))
	return n, err
}

// SendMsg implements socket.Socket.
func (s *tcpSocket) SendMsg(t *kernel.Task, src usermem.IOSequence, to []byte, flags int, haveDeadline bool, deadline ktime.Time, control socket.ControlMessages) (int, *syserr.Error) {
	more := flags&linux.MSG_MORE != 0
	if more {
		s.setMore(true)
	}
	n, err := s.Socket.SendMsg(t, src, to, flags, haveDeadline, deadline, control)
	if !more && s.holding.Load() {
		s.setMore(false)
	}
	onTCPWrite(s.ep, n)
	return n, err
}

// onTCPWrite is what OnTCPWrite was given.
var onTCPWrite = func(*tcp.Endpoint, int) {}

// OnTCPWrite has f told of each write of a program's to a TCP socket, with how
// many bytes it took. f runs in the program's call, without the socket's locks.
// No task may run yet.
func OnTCPWrite(f func(ep *tcp.Endpoint, n int)) { onTCPWrite = f }

// setMore says whether the data just written, or about to be, came with MSG_MORE.
func (s *tcpSocket) setMore(more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.more = more
	s.hold()
}

// hold has gVisor hold data back if there is a reason to, for ceiling at most,
// and send it if there is none.
//
// Preconditions: s.mu is locked.
func (s *tcpSocket) hold() {
	holding := (s.corked || s.more) && !s.ended
	if holding != s.holding.Load() {
		s.holding.Store(holding)
		s.options.SetCorkOption(holding)
	}
	if holding && s.timer == nil {
		s.timer = time.AfterFunc(ceiling, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.timer = nil
			s.push()
		})
	}
}

// push sends what is held back.
//
// Preconditions: s.mu is locked.
func (s *tcpSocket) push() {
	if s.holding.Load() {
		s.options.SetCorkOption(false)
		s.options.SetCorkOption(true)
	}
}

// end sends all there is, now or when the peer has room: no more will come.
func (s *tcpSocket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	s.nodelay = !s.options.GetDelayOption()
	s.hold()
	if !s.nodelay {
		s.options.SetDelayOption(false)
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// Shutdown implements socket.Socket.
func (s *tcpSocket) Shutdown(t *kernel.Task, how int) *syserr.Error {
	err := s.Socket.Shutdown(t, how)
	if err == nil && how != linux.SHUT_RD {
		s.end()
	}
	return err
}

// Release implements vfs.FileDescriptionImpl.
func (s *tcpSocket) Release(ctx context.Context) {
	// A linger time of zero throws away what was not sent.
	if l := s.options.GetLinger(); !l.Enabled || l.Timeout != 0 {
		s.end()
	}
	s.inner.DecRef(ctx)
}

// SetSockOpt implements socket.Socket.
func (s *tcpSocket) SetSockOpt(t *kernel.Task, level, name int, value []byte) *syserr.Error {
	if level != linux.SOL_TCP || name != linux.TCP_CORK && name != linux.TCP_NODELAY || len(value) < 4 {
		return s.Socket.SetSockOpt(t, level, name, value)
	}
	on := hostarch.ByteOrder.Uint32(value) != 0
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case name == linux.TCP_CORK:
		s.corked, s.more = on, false
		s.hold()
	case s.ended:
		s.nodelay = on
	default:
		s.options.SetDelayOption(!on)
		if on {
			s.push()
		}
	}
	return nil
}

// GetSockOpt implements socket.Socket.
func (s *tcpSocket) GetSockOpt(t *kernel.Task, level, name int, out hostarch.Addr, n int) (marshal.Marshallable, *syserr.Error) {
	arrive()
	if level != linux.SOL_TCP || name != linux.TCP_CORK && name != linux.TCP_NODELAY || n < 4 {
		return s.Socket.GetSockOpt(t, level, name, out, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	on := s.corked
	if name == linux.TCP_NODELAY {
		on = !s.options.GetDelayOption()
		if s.ended {
			on = s.nodelay
		}
	}
	v := primitive.Int32(0)
	if on {
		v = 1
	}
	return &v, nil
}
