package sentry

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"

	"kiln/kernel/notice"
)

// request is one line of JSON from the host. Exactly one field is set, and
// Sent only with EOF.
type request struct {
	Shutdown bool     `json:"shutdown"` // end the program: SIGTERM, later SIGKILL
	Signal   string   `json:"signal"`   // a signal for what runs, by its name without "SIG" or its number
	Winsize  []uint16 `json:"winsize"`  // rows, columns of the terminal
	EOF      bool     `json:"eof"`      // standard input has ended
	Sent     int64    `json:"sent"`     // after that many bytes
}

// maxRequest bounds a line of the control channel, in bytes.
const maxRequest = 4096

// parseRequest reads one line.
func parseRequest(line []byte) (request, error) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return request{}, err
	}
	set := 0
	for _, b := range []bool{r.Shutdown, r.Signal != "", r.Winsize != nil, r.EOF} {
		if b {
			set++
		}
	}
	if set != 1 {
		return request{}, fmt.Errorf("%d requests in one line, want 1", set)
	}
	if r.Winsize != nil && len(r.Winsize) != 2 {
		return request{}, fmt.Errorf("window size with %d numbers, want 2", len(r.Winsize))
	}
	if r.Signal != "" && signalNumber(r.Signal) == 0 {
		return request{}, fmt.Errorf("unknown signal %q", r.Signal)
	}
	return r, nil
}

// signalNumber returns the signal called name, with or without "SIG", or of that
// number, or 0.
func signalNumber(name string) linux.Signal {
	if n, err := strconv.Atoi(name); err == nil && linux.Signal(n).IsValid() {
		return linux.Signal(n)
	}
	return linux.Signal(unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")))
}

// serveControl carries out the host's requests until the channel ends.
func (s *Sentry) serveControl(control io.Reader) {
	lines := bufio.NewScanner(control)
	lines.Buffer(nil, maxRequest)
	for lines.Scan() {
		r, err := parseRequest(lines.Bytes())
		if err == nil {
			err = s.carryOut(r)
		}
		if err != nil {
			notice.Printf("control request: %v", err)
		}
	}
	if err := lines.Err(); err != nil {
		notice.Printf("control channel: %v", err)
	}
}

// carryOut does what r asks.
func (s *Sentry) carryOut(r request) error {
	switch {
	case r.Shutdown:
		return s.shutdown()
	case r.Winsize != nil:
		s.console.resize(r.Winsize[0], r.Winsize[1])
		return nil
	case r.EOF:
		s.console.endInput(r.Sent)
		return nil
	default:
		return s.signal(signalNumber(r.Signal))
	}
}
