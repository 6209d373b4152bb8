package sentry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	gcontext "gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/inet"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	_ "gvisor.dev/gvisor/pkg/sentry/socket/netlink"       // AF_NETLINK
	_ "gvisor.dev/gvisor/pkg/sentry/socket/netlink/route" // NETLINK_ROUTE
	_ "gvisor.dev/gvisor/pkg/sentry/socket/unix"          // AF_UNIX
	"gvisor.dev/gvisor/pkg/sentry/uniqueid"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"kiln/kernel/notice"
	"kiln/kernel/sentry/linux"
	"kiln/kernel/sentry/network"
	"kiln/kernel/sentry/procfs"
	"kiln/kernel/virtio"
	"kiln/kernel/virtio/net"
)

// addressWait is how long the program's start waits for interfaces that ask
// the network for an address. Many programs look for it once, at their start.
const addressWait = 5 * time.Second

// networks makes the Sentry's network stacks: the root namespace's, with the
// machine's devices, and those of network namespaces that programs make. It
// implements inet.NetworkStackCreator.
type networks struct {
	clock  tcpip.Clock
	ids    uniqueid.Provider
	memory uint64 // bytes
	root   *network.Stack
	resolv chan struct{} // holds a token when root.Resolv has changed
}

// newNetworks makes the root namespace's stack, with a loopback interface.
func newNetworks(clock tcpip.Clock, ids uniqueid.Provider, memory uint64) (*networks, error) {
	n := &networks{clock: clock, ids: ids, memory: memory, resolv: make(chan struct{}, 1)}
	var err error
	n.root, err = network.New(network.Options{
		Clock:    clock,
		ID:       ids.UniqueID(),
		Memory:   memory,
		OnResolv: n.resolvChanged,
		Hold:     true,
	})
	return n, err
}

// files are those below /proc/sys/net. As gVisor's own, they are the root
// namespace's.
func (n *networks) files() []procfs.File {
	var all []procfs.File
	for _, s := range n.root.Settings() {
		f := procfs.File{Path: "sys/net/" + s.Name, Read: func(gcontext.Context) (string, error) { return s.Get() + "\n", nil }}
		if s.Set != nil {
			f.Write = func(_ gcontext.Context, text string) error { return s.Set(text) }
		}
		all = append(all, f)
	}
	return all
}

// namespace returns the root network namespace.
func (n *networks) namespace(userns *auth.UserNamespace) *inet.Namespace {
	return inet.NewRootNamespace(n.root.Inet, n, userns)
}

// CreateStack implements inet.NetworkStackCreator.
func (n *networks) CreateStack() (inet.Stack, error) {
	s, err := network.New(network.Options{Clock: n.clock, ID: n.ids.UniqueID(), Memory: n.memory})
	if err != nil {
		return nil, err
	}
	return s.Inet, nil
}

// releaseAfter is how long after the program's start the network begins, unless
// the program makes a socket.
const releaseAfter = 100 * time.Millisecond

// releaseLater has interfaces that nobody waits for begin with the program's
// first socket, or soon. For IPv6 that is a conversation with routers and
// neighbours, which would otherwise take place before the first output of a
// program that may need no network. The program must not run yet.
func (n *networks) releaseLater() {
	release := sync.OnceFunc(func() {
		if err := n.root.Release(); err != nil {
			notice.Printf("%v", err)
		}
	})
	time.AfterFunc(releaseAfter, release)
	linux.Wrap(map[uintptr]linux.Wrapper{unix.SYS_SOCKET: func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			release()
			return next(t, sysno, args)
		}
	}})
}

// countWrites tells the network what programs write to TCP sockets: a connection
// whose peer takes nothing has no other sign of it. No task may run yet.
func (n *networks) countWrites() {
	linux.OnTCPWrite(func(ep *tcp.Endpoint, bytes int) {
		if n.root.Wrote(bytes) {
			n.root.WroteTo(ep)
		}
	})
}

// reclaim is a memory.Reclaim: it ends what is left of closed connections. Their
// memory is garbage then, two pages each.
func (n *networks) reclaim(int) int {
	closed := n.root.ForgetClosed()
	if closed > 0 {
		time.Sleep(time.Millisecond) // they end in goroutines of their own
	}
	return 2 * closed
}

// resolvChanged is network.Options.OnResolv: it must not block.
func (n *networks) resolvChanged() {
	select {
	case n.resolv <- struct{}{}:
	default:
	}
}

// attach starts the network devices among those found and configures the first as the
// first of interfaces, and so on. A device without a configuration stays off.
// No device at all is no error: many programs need none.
func (n *networks) attach(found []virtio.Found, interfaces []network.Interface) error {
	var errs []error
	for _, f := range found {
		if f.ID != virtio.DeviceNet || len(interfaces) == 0 {
			continue
		}
		c := interfaces[0]
		interfaces = interfaces[1:]
		if err := n.attachDevice(f, c); err != nil {
			errs = append(errs, fmt.Errorf("interface %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}

// attachDevice makes one device the interface that c describes.
func (n *networks) attachDevice(f virtio.Found, c network.Interface) error {
	t, err := f.Open()
	if err != nil {
		return err
	}
	dev, err := net.Open(t, virtio.DMA{}, net.Options{})
	if err != nil {
		return err
	}
	return n.root.Attach(dev, c)
}

// awaitNetwork waits until the interfaces are configured, writes resolv.conf
// and keeps it up to date. What does not come in time is said and done without.
func (s *Sentry) awaitNetwork() error {
	ctx, cancel := context.WithTimeout(context.Background(), addressWait)
	defer cancel()
	if err := s.networks.root.WaitConfigured(ctx); err != nil {
		notice.Printf("%v", err)
	}
	if err := s.writeResolv(s.mounts); err != nil {
		return err
	}
	go func() {
		for range s.networks.resolv {
			if err := s.writeResolv(s.mounts); err != nil {
				notice.Printf("%v", err)
			}
		}
	}()
	return nil
}

// writeResolv writes /etc/resolv.conf in m if the name servers are others than
// when it last did. While none is known, the image's own file stays.
func (s *Sentry) writeResolv(m *mounter) error {
	content := string(s.networks.root.Resolv())
	if content == "" || content == s.nameServers {
		return nil
	}
	s.nameServers = content
	return m.writeFile("/etc/resolv.conf", content)
}
