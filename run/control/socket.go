// Package control is how a tool enters a guest that runs: over a unix socket that
// the guest's kiln run serves, for as long as it runs.
//
// A connection carries one session with the guest, in the channel's own frames
// (package image/channel, docs/image.md), numbered as the console's. kiln run
// passes them on under a number of its own; credit goes from end to end, so that
// it keeps no more than a window of each stream. The tool's own descriptors stay
// with the tool: kiln run would be the wrong process to read a terminal, and would
// hold the files of a tool that was killed.
package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Listener is the socket. Only its own user and root may connect.
type Listener struct {
	net  *net.UnixListener
	path string
}

// Listen makes the socket at path, in place of one that nobody serves any more.
func Listen(path string) (*Listener, error) {
	l, err := listen(path)
	if errors.Is(err, unix.EADDRINUSE) && abandoned(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = listen(path)
	}
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, cause(err))
	}
	l.SetUnlinkOnClose(false) // its name is another one
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &Listener{l, path}, nil
}

func listen(path string) (l *net.UnixListener, err error) {
	err = short(path, func(name string) error {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		return err
	})
	return l, err
}

// abandoned reports whether path is a socket that nobody serves.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := dial(path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

func dial(path string) (c *net.UnixConn, err error) {
	err = short(path, func(name string) error {
		c, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
		return err
	})
	return c, err
}

// short calls f with a name of a socket's file that is short enough for an
// address (unix(7)): by way of its folder's descriptor.
func short(path string, f func(name string) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// cause returns what is behind an error of package net, whose text has a name that
// nobody knows.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// Accept waits for a tool.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.net.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if permitted(c) {
			return c, nil
		}
		c.Close()
	}
}

// permitted reports whether a connection is from our own user or root. The file's
// mode says so, too, but not from its first moment on.
func permitted(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		ok = err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Getuid())
	})
	return ok && err == nil
}

// Close removes the socket.
func (l *Listener) Close() error {
	if l == nil {
		return nil
	}
	return errors.Join(os.Remove(l.path), l.net.Close())
}

// Server returns the number of the process that serves a guest's socket.
func Server(path string) (pid int, err error) {
	c, err := dial(path)
	if notServed(err) {
		return 0, ErrNotServed
	}
	if err != nil {
		return 0, fmt.Errorf("connect to %s: %w", path, cause(err))
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		var peer *unix.Ucred
		if peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); peerErr == nil {
			pid = int(peer.Pid)
		}
	})
	return pid, errors.Join(err, peerErr)
}

// notServed reports whether an error of dial says that nobody serves.
func notServed(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}
