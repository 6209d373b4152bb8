package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"kiln/image/channel"
	"kiln/run/output"
)

// orderTime is how long what comes on one stream waits for what came before it
// on another to be written: so lines of standard output and error come out in
// the order in which the program wrote them, unless one of the two is read
// slowly.
const orderTime = 20 * time.Millisecond

// link is our end of the channel. A machine without one has a link that nothing
// comes from.
type link struct {
	conn     io.ReadWriteCloser // nil: there is no channel
	out, err *output.Output     // where the program's output goes
	stdin    *channel.Sender

	requests chan channel.Request
	ready    chan struct{} // closed when the guest lives
	once     sync.Once     // for ready
	exited   chan struct{} // closed when the program has
	exit     *int          // guarded by exited, or by ended
	ended    chan struct{} // closed when no more comes
	broken   error         // what the guest did against the rules; guarded by ended

	last *output.Output // where the last data went; of read alone

	writeMu sync.Mutex // held for a frame

	tools     sync.WaitGroup // that are connected
	sessionMu sync.Mutex
	sessions  map[channel.Session]*relay // with the guest, of tools; guarded by sessionMu
	lastUsed  channel.Session            // the number of the newest; guarded by sessionMu
}

func newLink(conn io.ReadWriteCloser, out, err *output.Output) *link {
	return &link{
		conn: conn, out: out, err: err, stdin: channel.NewSender(),
		// Enough for what a user does in the time that a guest takes to
		// boot.
		requests: make(chan channel.Request, 64),
		ready:    make(chan struct{}),
		exited:   make(chan struct{}),
		ended:    make(chan struct{}),
		sessions: map[channel.Session]*relay{},
	}
}

// send queues a request. A guest that does not read loses the rest: what is
// asked of it then fails by other timeouts.
func (l *link) send(r channel.Request) {
	select {
	case l.requests <- r:
	default:
	}
}

// setReady says that the guest lives.
func (l *link) setReady() { l.once.Do(func() { close(l.ready) }) }

// serve carries the channel until it ends.
func (l *link) serve() {
	defer l.endSessions()
	defer close(l.ended)
	if l.conn == nil {
		return
	}
	for o, s := range map[*output.Output]channel.Stream{l.out: channel.Stdout, l.err: channel.Stderr} {
		o.Consumed = func(n int) {
			if credit := o.Window.Consume(n); credit > 0 {
				l.write(channel.AppendCredit(nil, s, credit))
			}
		}
	}
	go l.writeRequests()
	// Another error than of the rules is QEMU's end in the middle of a
	// frame, about which its exit status tells more.
	if err := channel.Serve(bufio.NewReaderSize(l.conn, 2*channel.MaxFrame), l); errors.Is(err, channel.ErrRule) {
		l.broken = err
	}
}

// write sends frames. That it cannot, the end of QEMU says.
func (l *link) write(frames []byte) bool {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	_, err := l.conn.Write(frames)
	return err == nil
}

// writeRequests passes requests to the guest until it is gone.
func (l *link) writeRequests() {
	for {
		select {
		case <-l.ended:
			return
		case r := <-l.requests:
			frame, err := channel.AppendRequest(nil, channel.Console, r)
			if err == nil && !l.write(frame) {
				return
			}
		}
	}
}

// Message implements channel.Handler.
func (l *link) Message(s channel.Session, b []byte) error {
	r, err := channel.ParseReport(b)
	if err != nil {
		return err
	}
	if s != channel.Console {
		return l.sessionReport(s, r, b)
	}
	if r.Ready {
		l.setReady()
	}
	if r.Notice != "" {
		l.settle(l.err)
		l.err.Note(fmt.Sprintf("kiln: %s\n", output.Printable(r.Notice)))
	}
	if r.Exit != nil && l.exit == nil {
		l.exit = r.Exit
		close(l.exited)
	}
	return nil
}

// Data implements channel.Handler.
func (l *link) Data(s channel.Stream, b []byte) error {
	if s.Session() != channel.Console {
		return l.sessionData(s, b)
	}
	o, err := l.streamOutput(s)
	if err == nil {
		err = o.Window.Receive(len(b))
	}
	if err != nil {
		return err
	}
	l.settle(o)
	o.Add(b)
	return nil
}

// settle waits, but not long, until what came before for another stream than o
// is written.
func (l *link) settle(o *output.Output) {
	if l.last != nil && l.last != o {
		l.last.Settle(orderTime)
	}
	l.last = o
}

// End implements channel.Handler. The guest's end ends all streams.
func (l *link) End(s channel.Stream) error {
	if s.Session() != channel.Console {
		return l.sessionEnd(s)
	}
	o, err := l.streamOutput(s)
	if err != nil {
		return err
	}
	return o.Window.End()
}

// Credit implements channel.Handler.
func (l *link) Credit(s channel.Stream, n int) error {
	if s.Session() != channel.Console {
		return l.sessionCredit(s, n)
	}
	if s != channel.Stdin {
		return noStream(s)
	}
	return l.stdin.Add(n)
}

func (l *link) streamOutput(s channel.Stream) (*output.Output, error) {
	switch s {
	case channel.Stdout:
		return l.out, nil
	case channel.Stderr:
		return l.err, nil
	}
	return nil, noStream(s)
}

func noStream(s channel.Stream) error { return ruleError("there is no stream %d", s) }

func ruleError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", channel.ErrRule, fmt.Sprintf(format, args...))
}
