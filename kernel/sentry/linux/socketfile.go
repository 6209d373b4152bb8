package linux

import (
	"reflect"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/socket/netlink"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A program's socket is a file of ours around gVisor's, for corrections that need
// to stand between a file's users and gVisor. It has gVisor's socket embedded, whose
// methods answer what ours do not. That costs a call through an interface for
// each operation, and no allocation.

// aroundSockets wraps socket(2).
func aroundSockets(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		fd, ctrl, err := next(t, sysno, args)
		if err == nil {
			err = aroundSocket(t, int32(fd))
		}
		return fd, ctrl, err
	}
}

// outer is a socket's file of ours.
type outer interface {
	vfs.FileDescriptionImpl
	file() *vfs.FileDescription
}

// aroundSocket puts a file of ours in the place of the socket that the task has
// just got as fd. If another thread has meanwhile closed fd, that is left as it is.
func aroundSocket(t *kernel.Task, fd int32) error {
	file, flags := t.FDTable().Get(fd)
	if file == nil {
		return nil
	}
	defer file.DecRef(t)
	w := outerFor(file)
	if w == nil {
		return nil
	}
	err := w.file().Init(w, file.StatusFlags(), t.Credentials(), file.Mount(), file.Dentry(), &vfs.FileDescriptionOptions{
		DenyPRead:         true,
		DenyPWrite:        true,
		UseDentryMetadata: true,
		SpecialFile:       true,
	})
	if err != nil {
		return err
	}
	file.IncRef() // the outer file's
	displaced, err := t.NewFDAt(fd, w.file(), flags)
	if displaced != nil && displaced != file {
		_, err = t.NewFDAt(fd, displaced, flags)
	}
	if displaced != nil {
		displaced.DecRef(t)
	}
	w.file().DecRef(t)
	return err
}

// outerFor returns a file of ours for a socket, nil if it needs none.
func outerFor(file *vfs.FileDescription) outer {
	switch s := file.Impl().(type) {
	case outer:
	case *netlink.Socket:
		if s.Protocol() == linux.NETLINK_ROUTE {
			return &netlinkSocket{Socket: s, inner: file}
		}
	case *unix.Socket:
		return &unixSocket{Socket: s, inner: file}
	case socket.Socket:
		family, kind, _ := s.Type()
		if family != linux.AF_INET && family != linux.AF_INET6 {
			return nil
		}
		if kind != linux.SOCK_STREAM {
			return &packetSocket{Socket: s, inner: file}
		}
		if ep, ok := endpoint(s).(*tcp.Endpoint); ok {
			return &tcpSocket{Socket: s, inner: file, ep: ep, options: ep.SocketOptions()}
		}
	}
	return nil
}

// endpointField is where gVisor's socket, whose type it does not export, has its
// exported field Endpoint.
var endpointField atomic.Pointer[field]

type field struct {
	of    reflect.Type
	index []int
}

// endpoint returns what is behind a socket of gVisor's network stack, nil if it
// is none of these.
func endpoint(s socket.Socket) any {
	v := reflect.ValueOf(s)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	v = v.Elem()
	f := endpointField.Load()
	if f == nil || f.of != v.Type() {
		found, ok := v.Type().FieldByName("Endpoint")
		if !ok {
			return nil
		}
		f = &field{v.Type(), found.Index}
		endpointField.Store(f)
	}
	return v.FieldByIndex(f.index).Interface()
}
