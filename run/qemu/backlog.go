package qemu

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// backlog is how many connections to a published port may wait for QEMU
	// to accept them. Linux bounds it by net.core.somaxconn.
	backlog = 4096

	// backlogPoll is the time between two looks for QEMU's sockets, which it
	// opens before it starts the machine.
	backlogPoll = 10 * time.Millisecond
)

// DeepenBacklog makes the TCP ports that QEMU listens at hold more than the
// one connection that its user network asks for. With so few, a client that
// opens several connections at once has some of them stall: its kernel takes
// them for established while QEMU's has dropped them.
//
// The length of a queue belongs to the socket, not to the descriptor, so a
// copy of QEMU's descriptor can set it (pidfd_getfd(2), Linux 5.6). It waits
// until QEMU listens at all ports, or has ended, which is no error.
func (p *Process) DeepenBacklog(ports []netip.AddrPort) error {
	if len(ports) == 0 {
		return nil
	}
	pidfd, err := unix.PidfdOpen(p.cmd.Process.Pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	missing := slices.Clone(ports)
	for len(missing) > 0 {
		select {
		case <-p.done:
			return nil
		case <-time.After(backlogPoll):
		}
		found, err := deepen(p.cmd.Process.Pid, pidfd, missing)
		if err != nil {
			select {
			case <-p.done: // the error is about what is gone
				return nil
			default:
				return err
			}
		}
		missing = slices.DeleteFunc(missing, func(a netip.AddrPort) bool { return slices.Contains(found, a) })
	}
	return nil
}

// deepen sets the queue of those sockets of a process that listen at one of
// the ports, and returns these ports.
func deepen(pid, pidfd int, ports []netip.AddrPort) (found []netip.AddrPort, err error) {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue // closed meanwhile, or something else
		}
		n, err := strconv.Atoi(filepath.Base(link))
		if err != nil {
			return found, err
		}
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if errors.Is(err, unix.EBADF) {
			continue
		}
		if err != nil {
			return found, os.NewSyscallError("pidfd_getfd", err)
		}
		at, ok := listensAt(fd)
		if ok && slices.Contains(ports, at) {
			err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
			found = append(found, at)
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return found, err
		}
	}
	return found, nil
}

// listensAt returns where an IPv4 socket listens; ok is false if it does not.
func listensAt(fd int) (at netip.AddrPort, ok bool) {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return at, false
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return at, false
	}
	in, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return at, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)), true
}
