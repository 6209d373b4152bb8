// Package signals is about the signals that a tool gets and passes on to a program
// in a guest.
package signals

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Own are signals about this process and none of the program's: a child of ours
// has ended, nobody reads our output, and what the Go runtime sends itself.
var Own = []syscall.Signal{unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG}

// Catch lets all signals that can be caught come out of a channel, but
// those that are to do what they always do. terminal says that we use one: then
// TTIN and TTOU stop us while we are in the background, and if they were caught,
// we would try again at once, and for ever.
func Catch(terminal bool) chan os.Signal {
	signals := make(chan os.Signal, 64)
	// With SIGPIPE, which then does not end us: the write fails.
	signal.Notify(signals)
	signal.Reset(unix.SIGCHLD, unix.SIGURG)
	if terminal {
		signal.Reset(unix.SIGTTIN, unix.SIGTTOU)
	}
	return signals
}

// Name returns how a request names a signal: as in signal(7) without
// "SIG", or by its number if it has no name.
func Name(sig os.Signal) string {
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

// Hurry remembers when the last INTs came.
type Hurry []time.Time

// See notes sig, which came at now, and reports whether it completes the
// number.
func (h *Hurry) See(sig os.Signal, now time.Time) bool {
	if sig != unix.SIGINT {
		return false
	}
	*h = append(*h, now)
	if len(*h) > hurryCount {
		*h = (*h)[1:]
	}
	return len(*h) == hurryCount && now.Sub((*h)[0]) <= hurryTime
}
