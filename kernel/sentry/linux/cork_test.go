package linux

import (
	"testing"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/usermem"
)

// fakeSocket takes a few bytes of each write.
type fakeSocket struct{ socket.Socket }

const fakeRoom = 5

func (fakeSocket) Write(context.Context, usermem.IOSequence, vfs.WriteOptions) (int64, error) {
	return fakeRoom, nil
}

func (fakeSocket) SendMsg(*kernel.Task, usermem.IOSequence, []byte, int, bool, ktime.Time, socket.ControlMessages) (int, *syserr.Error) {
	return fakeRoom, nil
}

// TestOnTCPWrite: every write to a TCP socket is told, with what the socket took.
func TestOnTCPWrite(t *testing.T) {
	defer OnTCPWrite(onTCPWrite)
	type write struct {
		ep *tcp.Endpoint
		n  int
	}
	var told []write
	OnTCPWrite(func(ep *tcp.Endpoint, n int) { told = append(told, write{ep, n}) })
	s := &tcpSocket{Socket: fakeSocket{}, ep: new(tcp.Endpoint), options: new(tcpip.SocketOptions)}
	src := usermem.BytesIOSequence(make([]byte, 10))
	s.Write(context.Background(), src, vfs.WriteOptions{})
	s.SendMsg(nil, src, nil, 0, false, ktime.Time{}, socket.ControlMessages{})
	s.SendMsg(nil, src, nil, linux.MSG_EOR, false, ktime.Time{}, socket.ControlMessages{})
	if want := (write{s.ep, fakeRoom}); len(told) != 3 || told[0] != want || told[1] != want || told[2] != want {
		t.Errorf("told of %v, want three times %v", told, want)
	}
}
