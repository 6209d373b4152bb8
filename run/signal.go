package run

import (
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownSignals are about this process and none of the program's: a child of ours
// has ended, nobody reads our output, and what the Go runtime sends itself.
var ownSignals = []syscall.Signal{unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG}

// catchSignals lets all signals that can be caught come out of a channel, but
// those that are to do what they always do. terminal says that we use one: then
// TTIN and TTOU stop us while we are in the background, and if they were caught,
// we would try again at once, and for ever.
func catchSignals(terminal bool) chan os.Signal {
	signals := make(chan os.Signal, 64)
	// With SIGPIPE, which then does not end us: the write fails.
	signal.Notify(signals)
	signal.Reset(unix.SIGCHLD, unix.SIGURG)
	if terminal {
		signal.Reset(unix.SIGTTIN, unix.SIGTTOU)
	}
	return signals
}

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
	case slices.Contains(ownSignals, n):
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

// signalName returns how a request names a signal: as in signal(7) without
// "SIG", or by its number if it has no name.
func signalName(sig os.Signal) string {
	n := sig.(syscall.Signal)
	if name := unix.SignalName(n); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return strconv.Itoa(int(n))
}

// hurryCount INTs within hurryTime end the machine: somebody presses Ctrl-C and
// nothing happens.
const (
	hurryCount = 3
	hurryTime  = 2 * time.Second
)

// hurry remembers when the last INTs came.
type hurry []time.Time

// see notes sig, which came at now, and reports whether it completes the
// number.
func (h *hurry) see(sig os.Signal, now time.Time) bool {
	if sig != unix.SIGINT {
		return false
	}
	*h = append(*h, now)
	if len(*h) > hurryCount {
		*h = (*h)[1:]
	}
	return len(*h) == hurryCount && now.Sub((*h)[0]) <= hurryTime
}
