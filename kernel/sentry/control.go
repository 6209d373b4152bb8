package sentry

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"

	"kiln/image/channel"
	"kiln/kernel/notice"
)

// signalNumber returns the signal called name, with or without "SIG", or of that
// number, or 0.
func signalNumber(name string) linux.Signal {
	if n, err := strconv.Atoi(name); err == nil && linux.Signal(n).IsValid() {
		return linux.Signal(n)
	}
	return linux.Signal(unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")))
}

// serveRequests carries out the host's requests until there are no more.
func (s *Sentry) serveRequests(requests <-chan channel.Request) {
	for r := range requests {
		if err := s.carryOut(r); err != nil {
			notice.Printf("request of the host: %v", err)
		}
	}
	notice.Printf("%v", s.config.Link.Err())
}

// carryOut does what r asks.
func (s *Sentry) carryOut(r channel.Request) error {
	switch {
	case r.Shutdown:
		return s.shutdown()
	case r.Winsize != nil:
		s.console.resize(r.Winsize[0], r.Winsize[1])
		return nil
	}
	sig := signalNumber(r.Signal)
	if sig == 0 {
		return fmt.Errorf("unknown signal %q", r.Signal)
	}
	return s.signal(sig)
}
