package run

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"kiln/run/signals"
)

// A signalMeaning is what a signal to this process asks for.
type signalMeaning int

const (
	signalNothing signalMeaning = iota
	signalPass                  // to pass it to the program
	signalResize                // to tell the guest the terminal's size
	signalEnd                   // to end the program in order, in time
	signalKill                  // to end the machine at once
)

// endSignals end a process that does not catch them, and are what people send
// for that.
var endSignals = []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}

// meaning returns what sig asks for. ending says that the program was asked to
// end before, hurried that somebody presses Ctrl-C again and again, terminal
// that the user has one.
//
// TERM is a request to end, in the image's own way (its stop signal) and within
// a time. The others are the program's, as docker has it: what it makes of them
// is its affair.
func (s *session) meaning(sig os.Signal, ending, hurried, terminal bool) signalMeaning {
	n := sig.(syscall.Signal)
	switch {
	case slices.Contains(signals.Own, n):
		return signalNothing
	case n == unix.SIGWINCH && terminal:
		return signalResize
	case hurried, ending && (n == unix.SIGTERM || n == unix.SIGINT):
		return signalKill
	case n == unix.SIGTERM, !s.proxy && slices.Contains(endSignals, n) && !ending:
		return signalEnd
	case s.proxy:
		return signalPass
	}
	return signalNothing
}
