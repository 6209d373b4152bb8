package linux

import (
	sysunix "golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/safemem"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/socket/control"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/usermem"
)

// recvCorrection: what receiving calls return.
//
// In Linux, a message that fits into the mapped part of a buffer arrives, whatever
// follows that part (unix_stream_read_generic and __unix_dgram_recvmsg in
// net/unix/af_unix.c copy what there is). gVisor takes the message from the queue
// and returns EFAULT: it is lost.
//
// Linux sets MSG_CTRUNC in msg_flags when a control message did not fit (put_cmsg
// in net/core/scm.c), and MSG_CMSG_CLOEXEC when that was asked for (____sys_recvmsg
// in net/socket.c). gVisor sets the first for descriptors only, and the
// second never. test/linux/src/recv.c.
var recvCorrection = correction{
	name: "recv",
	calls: map[uintptr]Wrapper{
		sysunix.SYS_SOCKETPAIR: aroundPair,
		sysunix.SYS_RECVMSG:    reportCloexec,
		sysunix.SYS_RECVMMSG:   reportCloexecs,
	},
}

// aroundPair wraps socketpair(2).
func aroundPair(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, sysno, args)
		for i := hostarch.Addr(0); i < 2 && err == nil; i++ {
			var fd int32
			if _, err = primitive.CopyInt32In(t, args[3].Pointer()+4*i, &fd); err == nil {
				err = aroundSocket(t, fd)
			}
		}
		return n, ctrl, err
	}
}

// unixSocket is the file of a unix socket.
type unixSocket struct {
	outerFD vfs.FileDescription
	*unix.Socket
	inner *vfs.FileDescription // of Socket; holds a reference
}

func (s *unixSocket) file() *vfs.FileDescription { return &s.outerFD }

// Accept implements socket.Socket.
func (s *unixSocket) Accept(t *kernel.Task, peerRequested bool, flags int, blocking bool) (int32, linux.SockAddr, uint32, *syserr.Error) {
	fd, addr, n, err := s.Socket.Accept(t, peerRequested, flags, blocking)
	if err == nil {
		err = syserr.FromError(aroundSocket(t, fd))
	}
	return fd, addr, n, err
}

// RecvMsg implements socket.Socket. It returns EFAULT, as Linux does, if a
// message did not fit into what is mapped but would have fitted into dst.
func (s *unixSocket) RecvMsg(t *kernel.Task, dst usermem.IOSequence, flags int, haveDeadline bool, deadline ktime.Time, senderRequested bool, controlLen uint64) (int, int, linux.SockAddr, uint32, socket.ControlMessages, *syserr.Error) {
	io := partialIO{IO: dst.IO}
	dst.IO = &io
	n, msgFlags, from, fromLen, cms, err := s.Socket.RecvMsg(t, dst, flags, haveDeadline, deadline, senderRequested, controlLen)
	if err == nil && io.partial && msgFlags&linux.MSG_TRUNC != 0 {
		cms.Release(t)
		return 0, 0, nil, 0, socket.ControlMessages{}, syserr.ErrBadAddress
	}
	return n, msgFlags, from, fromLen, cms, err
}

// Release implements vfs.FileDescriptionImpl.
func (s *unixSocket) Release(ctx context.Context) { s.inner.DecRef(ctx) }

// partialIO is the memory of a program, where a copy to it that reaches an
// unmapped page is a success if it copied something.
type partialIO struct {
	usermem.IO
	partial bool // a copy was one
}

// CopyOutFrom implements usermem.IO.
func (p *partialIO) CopyOutFrom(ctx context.Context, ars hostarch.AddrRangeSeq, src safemem.Reader, opts usermem.IOOpts) (int64, error) {
	n, err := p.IO.CopyOutFrom(ctx, ars, src, opts)
	if n > 0 && linuxerr.Equals(linuxerr.EFAULT, err) {
		p.partial = true
		return n, nil
	}
	return n, err
}

// packetSocket is the file of an IPv4 or IPv6 socket that is not TCP's.
type packetSocket struct {
	outerFD vfs.FileDescription
	socket.Socket
	inner *vfs.FileDescription // of Socket; holds a reference
}

func (s *packetSocket) file() *vfs.FileDescription { return &s.outerFD }

// RecvMsg implements socket.Socket.
func (s *packetSocket) RecvMsg(t *kernel.Task, dst usermem.IOSequence, flags int, haveDeadline bool, deadline ktime.Time, senderRequested bool, controlLen uint64) (int, int, linux.SockAddr, uint32, socket.ControlMessages, *syserr.Error) {
	n, msgFlags, from, fromLen, cms, err := s.Socket.RecvMsg(t, dst, flags, haveDeadline, deadline, senderRequested, controlLen)
	if err == nil && controlCut(t, cms, controlLen) {
		msgFlags |= linux.MSG_CTRUNC
	}
	return n, msgFlags, from, fromLen, cms, err
}

// Release implements vfs.FileDescriptionImpl.
func (s *packetSocket) Release(ctx context.Context) { s.inner.DecRef(ctx) }

// controlCut reports whether control messages do not fit into n bytes. The
// last needs no padding.
func controlCut(t *kernel.Task, cms socket.ControlMessages, n uint64) bool {
	space := control.CmsgsSpace(t, cms)
	if uint64(space) <= n {
		return false
	}
	packed := control.PackControlMessages(t, cms, make([]byte, 0, space))
	end := 0
	for next := 0; next+linux.SizeOfControlMessageHeader <= len(packed); {
		var h linux.ControlMessageHeader
		h.UnmarshalUnsafe(packed[next:])
		end = next + int(h.Length)
		next += (int(h.Length) + 7) &^ 7
	}
	return uint64(end) > n
}

// Offsets in struct msghdr and struct mmsghdr.
const (
	msgFlagsOffset = 48
	mmsghdrSize    = 64
)

// reportCloexec wraps recvmsg(2).
func reportCloexec(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, sysno, args)
		if err == nil && args[2].Int()&linux.MSG_CMSG_CLOEXEC != 0 {
			err = addCloexec(t, args[1].Pointer())
		}
		return n, ctrl, err
	}
}

// reportCloexecs wraps recvmmsg(2).
func reportCloexecs(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, sysno, args)
		if err == nil && args[3].Int()&linux.MSG_CMSG_CLOEXEC != 0 {
			for i := uintptr(0); i < n && err == nil; i++ {
				err = addCloexec(t, args[1].Pointer()+hostarch.Addr(i*mmsghdrSize))
			}
		}
		return n, ctrl, err
	}
}

// addCloexec adds MSG_CMSG_CLOEXEC to a struct msghdr that a call has filled in.
func addCloexec(t *kernel.Task, msg hostarch.Addr) error {
	var flags int32
	if _, err := primitive.CopyInt32In(t, msg+msgFlagsOffset, &flags); err != nil {
		return err
	}
	_, err := primitive.CopyInt32Out(t, msg+msgFlagsOffset, flags|linux.MSG_CMSG_CLOEXEC)
	return err
}
