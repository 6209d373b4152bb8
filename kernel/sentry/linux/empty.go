package linux

import (
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/safemem"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix"
	"gvisor.dev/gvisor/pkg/usermem"
)

// emptyCorrection: messages without data, by send(2) and its like on unix sockets.
//
// In Linux, datagrams and packets may be empty, and carry descriptors and
// credentials like others; streams check whether they can send before they find
// that there is nothing to (unix_dgram_sendmsg and unix_stream_sendmsg in
// net/unix/af_unix.c). gVisor copies no bytes, which succeeds, and does not ask
// the endpoint: the message and what it carries are lost. Its write(2) is right.
// test/linux/src/empty.c.
var emptyCorrection = correction{name: "empty"} // unixSocket.SendMsg

// askEndpoint returns src with emptyIO around its memory, if there is no data in it.
func askEndpoint(src usermem.IOSequence) usermem.IOSequence {
	if src.NumBytes() == 0 {
		src.IO = emptyIO{src.IO}
	}
	return src
}

// emptyIO is the memory of a program that sends a message without data.
type emptyIO struct{ usermem.IO }

// CopyInTo implements usermem.IO. It has the endpoint of a unix socket send the
// message, which gVisor's functions between them take for done.
func (e emptyIO) CopyInTo(ctx context.Context, ars hostarch.AddrRangeSeq, dst safemem.Writer, opts usermem.IOOpts) (int64, error) {
	w, ok := dst.(*unix.EndpointWriter)
	if !ok {
		return e.IO.CopyInTo(ctx, ars, dst, opts)
	}
	n, notify, err := w.Endpoint.SendMsg(w.Ctx, nil, w.Control, w.To)
	w.Notify = notify
	return n, err.ToError()
}
