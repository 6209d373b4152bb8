package linux

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/usermem"
	"gvisor.dev/gvisor/pkg/waiter"
)

// loopbackCorrection: what TCP sends to the machine itself has arrived when the
// call that sent it returns.
//
// Linux has a packet on the loopback interface received by the CPU that sends it,
// before the call returns (drivers/net/loopback.c, loopback_xmit; net/core/dev.c,
// netif_rx): after connect there is a connection to accept, after send data to
// read, after close an end. gVisor leaves segments to goroutines of its TCP, so a
// program that looks without waiting finds nothing.
//
// Calls that look and do not wait let those goroutines run first, if segments are on
// their way; those that read or accept only when they found nothing. Calls that send
// do not, so that many small messages still take few segments: one that follows the
// peer's reset at once may succeed where Linux says EPIPE. Without segments on their
// way it costs a load, and in read(2) not even that. test/linux/src/atonce.c.
//
// What is asked of a socket are methods of tcpSocket (socketfile.go).
var loopbackCorrection = correction{
	name: "loopback",
	calls: map[uintptr]Wrapper{
		unix.SYS_POLL:         lookingNow(func(t *kernel.Task, a arch.SyscallArguments) bool { return a[2].Int() == 0 }),
		unix.SYS_EPOLL_WAIT:   lookingNow(func(t *kernel.Task, a arch.SyscallArguments) bool { return a[3].Int() == 0 }),
		unix.SYS_EPOLL_PWAIT:  lookingNow(func(t *kernel.Task, a arch.SyscallArguments) bool { return a[3].Int() == 0 }),
		unix.SYS_PPOLL:        lookingNow(func(t *kernel.Task, a arch.SyscallArguments) bool { return noTime(t, a[2].Pointer()) }),
		unix.SYS_EPOLL_PWAIT2: lookingNow(func(t *kernel.Task, a arch.SyscallArguments) bool { return noTime(t, a[3].Pointer()) }),
		unix.SYS_SELECT:       lookingNow(func(t *kernel.Task, a arch.SyscallArguments) bool { return noTime(t, a[4].Pointer()) }),
		unix.SYS_PSELECT6:     lookingNow(func(t *kernel.Task, a arch.SyscallArguments) bool { return noTime(t, a[4].Pointer()) }),
	},
}

// onTheirWay is set when TCP segments went into a loopback link, and cleared by the
// next call that looks.
var onTheirWay atomic.Bool

// lookingNow returns a wrapper of a call that looks at many files, and may say how
// long it would wait.
func lookingNow(now func(*kernel.Task, arch.SyscallArguments) bool) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if onTheirWay.Load() && now(t, args) {
				arrive()
			}
			return next(t, nr, args)
		}
	}
}

// noTime reports whether a timeval or timespec of a program's is zero.
func noTime(t *kernel.Task, at hostarch.Addr) bool {
	var time [2]uint64
	if at == 0 {
		return false
	}
	_, err := primitive.CopyUint64SliceIn(t, at, time[:])
	return err == nil && time == [2]uint64{}
}

// arrive returns when TCP's goroutines have had their turn, and again for what they
// answered; not for ever, as others may be sending all the time.
func arrive() {
	for range 4 {
		if !onTheirWay.Load() {
			return
		}
		onTheirWay.Store(false)
		// Go's scheduler now and then prefers a goroutine that yields to those
		// that were woken before, but not twice in a row.
		runtime.Gosched()
		runtime.Gosched()
	}
}

// Read implements vfs.FileDescriptionImpl.
func (s *tcpSocket) Read(ctx context.Context, dst usermem.IOSequence, opts vfs.ReadOptions) (int64, error) {
	n, err := s.Socket.Read(ctx, dst, opts)
	if err == linuxerr.ErrWouldBlock && onTheirWay.Load() {
		arrive()
		return s.Socket.Read(ctx, dst, opts)
	}
	return n, err
}

// RecvMsg implements socket.Socket.
func (s *tcpSocket) RecvMsg(t *kernel.Task, dst usermem.IOSequence, flags int, haveDeadline bool, deadline ktime.Time, senderRequested bool, controlLen uint64) (int, int, linux.SockAddr, uint32, socket.ControlMessages, *syserr.Error) {
	if flags&linux.MSG_DONTWAIT != 0 && onTheirWay.Load() && s.Readiness(waiter.ReadableEvents) == 0 {
		arrive()
	}
	return s.Socket.RecvMsg(t, dst, flags, haveDeadline, deadline, senderRequested, controlLen)
}

// GetPeerName implements socket.Socket.
func (s *tcpSocket) GetPeerName(t *kernel.Task) (linux.SockAddr, uint32, *syserr.Error) {
	arrive()
	return s.Socket.GetPeerName(t)
}

// loopback notes what goes through a link.
type loopback struct{ stack.LinkEndpoint }

// Loopback returns a loopback link that the correction watches.
func Loopback(link stack.LinkEndpoint) stack.LinkEndpoint { return loopback{link} }

// WritePackets implements stack.LinkEndpoint.
//
// Context: whoever sends, with the sending endpoint's lock held.
func (l loopback) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	n, err := l.LinkEndpoint.WritePackets(packets)
	for _, p := range packets.AsSlice() {
		if p.TransportProtocolNumber == header.TCPProtocolNumber {
			onTheirWay.Store(true)
			break
		}
	}
	return n, err
}
