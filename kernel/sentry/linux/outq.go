package linux

import (
	"math"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/usermem"
)

// outqCorrection: SIOCOUTQ and SIOCATMARK of TCP sockets, tcp(7).
//
// Linux says how many bytes the peer has not acknowledged, 0 while there is no
// connection yet, EINVAL of a socket that listens; and whether the next byte is
// behind urgent data (tcp_ioctl in net/ipv4/tcp.c). gVisor has neither. It has no
// urgent data, so sockatmark(3) is always false. test/linux/src/atonce.c.
var outqCorrection = correction{name: "outq"} // tcpSocket.Ioctl

// Ioctl implements vfs.FileDescriptionImpl.
func (s *tcpSocket) Ioctl(ctx context.Context, uio usermem.IO, sysno uintptr, args arch.SyscallArguments) (uintptr, error) {
	arrive()
	request := args[1].Uint()
	t := kernel.TaskFromContext(ctx)
	if t == nil || request != unix.SIOCOUTQ && request != unix.SIOCATMARK {
		return s.Socket.Ioctl(ctx, uio, sysno, args)
	}
	if s.ep.EndpointState() == tcp.StateListen {
		return 0, linuxerr.EINVAL
	}
	n := 0
	if request == unix.SIOCOUTQ {
		n = min(tcpFields.unacknowledged(s.ep), math.MaxInt32)
	}
	_, err := primitive.CopyInt32Out(t, args[2].Pointer(), int32(n))
	return 0, err
}
