package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	socket "gvisor.dev/gvisor/pkg/sentry/socket/unix"
	"gvisor.dev/gvisor/pkg/usermem"
)

// unixinqCorrection: FIONREAD of unix sockets.
//
// Linux says how long the first message is that waits for a datagram socket,
// connected or not, and 0 for streams and packet sockets that were never connected
// (unix_inq_len in net/unix/af_unix.c). gVisor adds up all messages, and returns
// ENOTCONN without a peer. test/linux/src/empty.c.
var unixinqCorrection = correction{name: "unixinq"} // unixSocket.Ioctl

// Ioctl implements vfs.FileDescriptionImpl.
func (s *unixSocket) Ioctl(ctx context.Context, uio usermem.IO, sysno uintptr, args arch.SyscallArguments) (uintptr, error) {
	if args[1].Uint() != unix.TIOCINQ {
		return s.Socket.Ioctl(ctx, uio, sysno, args)
	}
	t := kernel.TaskFromContext(ctx)
	if t == nil {
		return 0, linuxerr.ENOTTY
	}
	_, kind, _ := s.Type()
	if kind == unix.SOCK_DGRAM {
		_, err := primitive.CopyInt32Out(t, args[2].Pointer(), int32(s.firstMessage(ctx)))
		return 0, err
	}
	n, err := s.Socket.Ioctl(ctx, uio, sysno, args)
	if linuxerr.Equals(linuxerr.ENOTCONN, err) {
		if s.listens() {
			return 0, linuxerr.EINVAL
		}
		_, err = primitive.CopyInt32Out(t, args[2].Pointer(), 0)
	}
	return n, err
}

// firstMessage returns how long the message is that waits first, 0 if none waits.
func (s *unixSocket) firstMessage(ctx context.Context) int64 {
	r := socket.EndpointReader{Ctx: ctx, Endpoint: s.Endpoint(), Peek: true}
	if r.Truncate() != nil {
		return 0
	}
	r.Control.Release(ctx) // a look takes references to the files in the message
	return r.MsgSize
}

// listens reports whether the socket is one that accepts.
func (s *unixSocket) listens() bool {
	ep, ok := s.Endpoint().(interface{ Listening() bool })
	return ok && ep.Listening()
}
