package sentry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/inet"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	_ "gvisor.dev/gvisor/pkg/sentry/socket/netlink"       // AF_NETLINK
	_ "gvisor.dev/gvisor/pkg/sentry/socket/netlink/route" // NETLINK_ROUTE
	_ "gvisor.dev/gvisor/pkg/sentry/socket/unix"          // AF_UNIX
	"gvisor.dev/gvisor/pkg/sentry/uniqueid"
	"gvisor.dev/gvisor/pkg/tcpip"

	"kiln/kernel/notice"
	"kiln/kernel/sentry/network"
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
	})
	return n, err
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
	if err := s.writeResolv(); err != nil {
		return err
	}
	go func() {
		for range s.networks.resolv {
			if err := s.writeResolv(); err != nil {
				notice.Printf("%v", err)
			}
		}
	}()
	return nil
}

// writeResolv writes /etc/resolv.conf. While no name server is known, the
// image's own stays.
func (s *Sentry) writeResolv() error {
	content := s.networks.root.Resolv()
	if len(content) == 0 {
		return nil
	}
	return s.mounts.writeFile("/etc/resolv.conf", string(content))
}
