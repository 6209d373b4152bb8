package run

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
)

// request is a message to the guest, one line of JSON. Exactly one of the
// fields but Sent is set.
type request struct {
	Shutdown bool     `json:"shutdown,omitempty"`
	Signal   string   `json:"signal,omitempty"`  // for the program, see signalName
	Winsize  []uint16 `json:"winsize,omitempty"` // rows, columns
	EOF      bool     `json:"eof,omitempty"`
	Sent     int64    `json:"sent,omitempty"` // with EOF: bytes of input there were in all
}

// report is a message of the guest.
type report struct {
	Ready bool `json:"ready"` // the guest can take input and requests
	Exit  *int `json:"exit"`  // the program's exit status
	// Notice is what the guest's kernel has to say to whoever runs it.
	Notice string `json:"notice"`
}

// maxReport bounds a report, in bytes.
const maxReport = 4096

// readyTimeout is after which time a guest that has said nothing, and is not
// kept from running, is taken to have set up its serial ports, which lose what
// comes before that. Only kernel programs of the user's own may be so silent;
// the others say that they are ready, but on a busy host not soon.
const readyTimeout = 15 * time.Second

// aliveTimeout is after which time a machine is said to have started if nothing
// else shows that it has.
const aliveTimeout = time.Second

// control is our end of the control channel.
type control struct {
	requests chan request
	ready    chan struct{} // closed when the guest can take input
	once     sync.Once     // for ready
	ended    chan struct{} // closed when the channel has ended
	exit     *int          // guarded by ended, or by exited
	exited   chan struct{} // closed when the program has
	notices  io.Writer     // where the kernel's notices go, a line each
}

func newControl(notices io.Writer) *control {
	return &control{
		notices: notices,
		// Enough for what a user does in the time that a guest takes to
		// boot.
		requests: make(chan request, 64),
		ready:    make(chan struct{}),
		ended:    make(chan struct{}),
		exited:   make(chan struct{}),
	}
}

// send queues a request. A guest that does not read loses the rest: what is
// asked of it then fails by other timeouts.
func (c *control) send(r request) {
	select {
	case c.requests <- r:
	default:
	}
}

// setReady lets input and requests go to the guest.
func (c *control) setReady() { c.once.Do(func() { close(c.ready) }) }

// write passes requests to the guest until it is gone.
func (c *control) write(w io.Writer) {
	select {
	case <-c.ready:
	case <-c.ended:
		return
	}
	for {
		select {
		case <-c.ended:
			return
		case r := <-c.requests:
			line, err := json.Marshal(r)
			if err == nil {
				_, err = w.Write(append(line, '\n'))
			}
			if err != nil {
				return // QEMU is gone, and says why by its exit status
			}
		}
	}
}

// read takes the guest's reports until the channel ends. What is no report is
// skipped: the guest's programs can write to no serial port, but its kernel
// may break off in the middle of a line.
func (c *control) read(r io.Reader) {
	defer close(c.ended)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		var m report
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue
		}
		if m.Ready {
			c.setReady()
		}
		if m.Notice != "" {
			fmt.Fprintf(c.notices, "kiln: %s\n", printable(m.Notice))
		}
		if m.Exit != nil && c.exit == nil {
			c.exit = m.Exit
			close(c.exited)
		}
	}
}

// printable replaces what would do more to a terminal than show a character:
// a notice may quote the guest.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
