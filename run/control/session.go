package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"kiln/image/channel"
	"kiln/run/output"
)

// ErrEnded says that the machine has ended before the session did.
var ErrEnded = errors.New("the machine has ended")

// ErrNotServed says that nobody serves a socket: the guest has ended, or there was
// none.
var ErrNotServed = errors.New("no guest runs there")

// Stdio is what a session's streams connect to.
type Stdio struct {
	In  io.Reader // nil: the guest reads none
	Out io.Writer
	Err io.Writer
}

// Session is a tool's session with a guest.
type Session struct {
	conn    net.Conn
	opening []byte // which is the start of its input

	writeMu sync.Mutex // held for a frame
}

// Dial connects to a guest's socket, and begins a session there, for what o says.
func Dial(path string, o channel.Opening) (*Session, error) {
	opening, err := o.JSON()
	if err != nil {
		return nil, err
	}
	conn, err := dial(path)
	if notServed(err) {
		return nil, ErrNotServed
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, cause(err))
	}
	s := &Session{conn: conn, opening: opening}
	s.request(channel.Request{Open: len(opening)})
	return s, nil
}

// Signal sends the guest's program a signal, by its name without "SIG" or its
// number. Resize tells it its terminal's size. A session that has ended takes
// neither; Run says so.
func (s *Session) Signal(name string) { s.request(channel.Request{Signal: name}) }

// Resize tells the guest's program the size of its terminal.
func (s *Session) Resize(rows, cols uint16) {
	s.request(channel.Request{Winsize: []uint16{rows, cols}})
}

// Close leaves the session, whatever the guest does.
func (s *Session) Close() error { return s.conn.Close() }

func (s *Session) request(r channel.Request) {
	if frame, err := channel.AppendRequest(nil, channel.Console, r); err == nil {
		s.write(frame)
	}
}

// write sends frames. It reports whether there is somebody to take them.
func (s *Session) write(frames []byte) bool {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	_, err := s.conn.Write(frames)
	return err == nil
}

// Run carries the session to its end. It returns its exit status, or ErrEnded, or
// why its output cannot be written. note is told each line that the guest's kernel
// has to say.
func (s *Session) Run(std Stdio, note func(line string)) (status int, err error) {
	defer s.conn.Close()
	failed := make(chan error, 2)
	h := &handler{session: s, stdin: channel.NewSender(), note: note, done: make(chan struct{})}
	for role, w := range map[channel.Stream]io.Writer{channel.Stdout: std.Out, channel.Stderr: std.Err} {
		o := output.New(w, failed, false)
		o.Consumed = func(n int) {
			if credit := o.Window.Consume(n); credit > 0 {
				s.write(channel.AppendCredit(nil, role, credit))
			}
		}
		h.outputs[role] = o
	}
	go h.copyInput(std.In)
	served := make(chan error, 1)
	go func() {
		served <- channel.Serve(bufio.NewReaderSize(s.conn, 2*channel.MaxFrame), h)
		for _, role := range []channel.Stream{channel.Stdout, channel.Stderr} {
			h.outputs[role].Close()
			<-h.outputs[role].Done()
		}
		close(h.done)
	}()
	select {
	case <-h.done:
	case err := <-failed:
		return 0, err
	}
	select {
	case err := <-failed:
		return 0, err
	default:
	}
	if h.exit != nil {
		return *h.exit, nil
	}
	if err := <-served; errors.Is(err, channel.ErrRule) {
		return 0, err
	}
	return 0, ErrEnded
}

// handler takes what comes from the guest.
type handler struct {
	session *Session
	outputs [4]*output.Output // by role
	stdin   *channel.Sender
	note    func(string)
	exit    *int          // guarded by done
	done    chan struct{} // closed when the session has ended
}

// copyInput sends the opening, and what in has, until either side ends. in may be
// nil.
func (h *handler) copyInput(in io.Reader) {
	opening := h.session.opening
	for len(opening) > 0 {
		n, ok := h.room()
		if !ok {
			return
		}
		b := opening[:min(n, len(opening))]
		h.stdin.Back(n - len(b))
		if !h.session.write(channel.AppendFrame(nil, channel.KindData, channel.Stdin, b)) {
			return
		}
		opening = opening[len(b):]
	}
	if in == nil {
		h.session.write(channel.AppendFrame(nil, channel.KindEnd, channel.Stdin, nil))
		return
	}
	b := make([]byte, channel.MaxPayload)
	for {
		room, ok := h.room()
		if !ok {
			return
		}
		n, err := in.Read(b[:room])
		h.stdin.Back(room - n)
		var frames []byte
		if n > 0 {
			frames = channel.AppendFrame(frames, channel.KindData, channel.Stdin, b[:n])
		}
		if err != nil { // for the guest an input that fails is one that ends
			frames = channel.AppendFrame(frames, channel.KindEnd, channel.Stdin, nil)
		}
		if !h.session.write(frames) || err != nil {
			return
		}
	}
}

// room waits until the guest takes input, and takes credit for it. It reports
// false if the session has ended.
func (h *handler) room() (int, bool) {
	for {
		if n := h.stdin.Take(channel.MaxPayload); n > 0 {
			return n, true
		}
		select {
		case <-h.stdin.More():
		case <-h.done:
			return 0, false
		}
	}
}

// Message implements channel.Handler.
func (h *handler) Message(s channel.Session, b []byte) error {
	r, err := channel.ParseReport(b)
	if err != nil {
		return err
	}
	if r.Notice != "" {
		h.note(r.Notice)
	}
	if r.Exit != nil {
		h.exit = r.Exit
	}
	return nil
}

// Data implements channel.Handler.
func (h *handler) Data(s channel.Stream, b []byte) error {
	if s != channel.Stdout && s != channel.Stderr {
		return noStream(s)
	}
	o := h.outputs[s]
	if err := o.Window.Receive(len(b)); err != nil {
		return err
	}
	o.Add(b)
	return nil
}

// End implements channel.Handler. The session's end ends all streams.
func (h *handler) End(s channel.Stream) error {
	if s != channel.Stdout && s != channel.Stderr {
		return noStream(s)
	}
	return h.outputs[s].Window.End()
}

// Credit implements channel.Handler.
func (h *handler) Credit(s channel.Stream, n int) error {
	if s != channel.Stdin {
		return noStream(s)
	}
	return h.stdin.Add(n)
}

func noStream(s channel.Stream) error {
	return fmt.Errorf("%w: there is no stream %d", channel.ErrRule, s)
}
