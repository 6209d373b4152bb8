package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kiln/image/channel"
	"kiln/run/control"
	"kiln/run/output"
)

// scriptedGuest is the guest's end of a channel.
type scriptedGuest struct {
	conn net.Conn
	got  chan string // what the host sends

	mu sync.Mutex // held for a frame
}

func (g *scriptedGuest) note(format string, args ...any) error {
	g.got <- fmt.Sprintf(format, args...)
	return nil
}
func (g *scriptedGuest) Message(s channel.Session, b []byte) error { return g.note("%d %s", s, b) }
func (g *scriptedGuest) Data(s channel.Stream, b []byte) error {
	return g.note("stream %d: %d bytes", s, len(b))
}
func (g *scriptedGuest) End(s channel.Stream) error { return g.note("stream %d ends", s) }
func (g *scriptedGuest) Credit(s channel.Stream, n int) error {
	return g.note("stream %d gets %d", s, n)
}

func (g *scriptedGuest) send(kind channel.Kind, s channel.Stream, payload string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn.Write(channel.AppendFrame(nil, kind, s, []byte(payload)))
}

// expect fails the test unless the host sends this next.
func (g *scriptedGuest) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-g.got:
		if got != want {
			t.Errorf("the guest got %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("the guest got nothing, want %q", want)
	}
}

// serveFake serves a socket for a guest that the test plays.
func serveFake(t *testing.T) (*scriptedGuest, *link, string) {
	t.Helper()
	host, guest := net.Pipe()
	g := &scriptedGuest{conn: guest, got: make(chan string, 1000)}
	go channel.Serve(guest, g)
	failed := make(chan error, 2)
	l := newLink(host, output.New(io.Discard, failed, false), output.New(io.Discard, failed, true))
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 20), "socket")
	if err := makeParent(path); err != nil {
		t.Fatal(err)
	}
	listener, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{link: l, left: make(chan struct{})}
	go l.serve()
	go s.serveControl(listener)
	t.Cleanup(func() {
		guest.Close()
		<-s.left
		if _, err := control.Dial(path, channel.Opening{}); !errors.Is(err, control.ErrNotServed) {
			t.Errorf("Dial when the guest has ended: %v", err)
		}
	})
	return g, l, path
}

// toolRun is how a tool's session went.
type toolRun struct {
	status           int
	err              error
	out, errs, notes string
}

// enter has a tool run a session.
func enter(t *testing.T, path string, in io.Reader) (*control.Session, chan toolRun) {
	t.Helper()
	s, err := control.Dial(path, channel.Opening{Exec: &channel.Exec{Args: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan toolRun, 1)
	go func() {
		var out, errs bytes.Buffer
		var r toolRun
		r.status, r.err = s.Run(control.Stdio{In: in, Out: &out, Err: &errs}, func(line string) { r.notes += line })
		r.out, r.errs = out.String(), errs.String()
		done <- r
	}()
	return s, done
}

const opening = `{"exec":{"args":["x"]}}`

func TestSession(t *testing.T) {
	g, l, path := serveFake(t)
	s, done := enter(t, path, strings.NewReader("input"))
	g.expect(t, fmt.Sprintf(`1 {"open":%d}`, len(opening)))
	g.expect(t, fmt.Sprintf("stream 5: %d bytes", len(opening)))
	g.expect(t, "stream 5: 5 bytes")
	g.expect(t, "stream 5 ends")
	s.Signal("HUP")
	g.expect(t, `1 {"signal":"HUP"}`)
	s.Resize(3, 4)
	g.expect(t, `1 {"winsize":[3,4]}`)
	g.send(channel.KindData, 6, "out")
	g.send(channel.KindData, 7, "err")
	g.send(channel.KindMessage, 4, `{"notice":"look"}`)
	g.send(channel.KindData, 6, "put")
	g.send(channel.KindMessage, 4, `{"exit":7}`)
	if r := <-done; r != (toolRun{7, nil, "output", "err", "look"}) {
		t.Errorf("Run = %+v", r)
	}
	// The next has another number; it is left, and the guest is told.
	s, done = enter(t, path, nil)
	g.expect(t, fmt.Sprintf(`2 {"open":%d}`, len(opening)))
	g.expect(t, fmt.Sprintf("stream 9: %d bytes", len(opening)))
	g.expect(t, "stream 9 ends")
	s.Close()
	g.expect(t, `2 {"hangup":true}`)
	<-done
	// Its number is its own until the guest says so.
	g.send(channel.KindData, 10, "late")
	l.sessionMu.Lock()
	kept := len(l.sessions)
	l.sessionMu.Unlock()
	g.send(channel.KindMessage, 8, `{"exit":0}`)
	if kept != 1 {
		t.Errorf("%d sessions are kept, want the one that was left", kept)
	}
	// The machine's end.
	_, done = enter(t, path, nil)
	g.expect(t, fmt.Sprintf(`3 {"open":%d}`, len(opening)))
	g.send(channel.KindData, 14, "last words")
	g.conn.Close()
	if r := <-done; !errors.Is(r.err, control.ErrEnded) || r.out != "last words" {
		t.Errorf("Run = %+v, want the machine's end", r)
	}
}

// TestSessionApart: a session whose output nobody reads holds up neither another
// nor the console, and no more of it is kept than its window.
func TestSessionApart(t *testing.T) {
	g, l, path := serveFake(t)
	stuck, err := control.Dial(path, channel.Opening{Exec: &channel.Exec{Args: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	r, w := io.Pipe() // nobody reads
	defer r.Close()
	go stuck.Run(control.Stdio{Out: w, Err: w}, func(string) {})
	g.expect(t, fmt.Sprintf(`1 {"open":%d}`, len(opening)))
	for range channel.Window / (16 << 10) {
		g.send(channel.KindData, 6, strings.Repeat("x", 16<<10))
	}
	g.expect(t, fmt.Sprintf("stream 5: %d bytes", len(opening)))
	g.expect(t, "stream 5 ends")
	_, done := enter(t, path, nil)
	g.expect(t, fmt.Sprintf(`2 {"open":%d}`, len(opening)))
	g.send(channel.KindData, 10, "other")
	g.send(channel.KindMessage, 8, `{"exit":0}`)
	if r := <-done; r.out != "other" || r.err != nil {
		t.Errorf("Run = %+v beside one that is not read", r)
	}
	g.send(channel.KindData, 6, "x")
	<-l.ended
	if !errors.Is(l.broken, channel.ErrRule) {
		t.Errorf("the guest sends without credit: %v", l.broken)
	}
}

// TestSessionRules: a guest that breaks the rules is ended.
func TestSessionRules(t *testing.T) {
	for name, send := range map[string]func(g *scriptedGuest){
		"unknown session": func(g *scriptedGuest) { g.send(channel.KindMessage, 8, `{"exit":0}`) },
		"data for no one": func(g *scriptedGuest) { g.send(channel.KindData, 10, "x") },
		"data on stdin":   func(g *scriptedGuest) { g.send(channel.KindData, 5, "x") },
		"credit on stdout": func(g *scriptedGuest) {
			g.send(channel.KindCredit, 6, "\x01\x00\x00\x00")
		},
		"credit unasked": func(g *scriptedGuest) { g.send(channel.KindCredit, 5, "\x00\x00\x04\x00") },
		"behind the end": func(g *scriptedGuest) {
			g.send(channel.KindEnd, 6, "")
			g.send(channel.KindData, 6, "x")
		},
		"two ends": func(g *scriptedGuest) {
			g.send(channel.KindEnd, 6, "")
			g.send(channel.KindEnd, 6, "")
		},
		"behind the exit": func(g *scriptedGuest) {
			g.send(channel.KindMessage, 4, `{"exit":0}`)
			g.send(channel.KindData, 6, "x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, l, path := serveFake(t)
			_, done := enter(t, path, nil)
			g.expect(t, fmt.Sprintf(`1 {"open":%d}`, len(opening)))
			send(g)
			<-l.ended
			if !errors.Is(l.broken, channel.ErrRule) {
				t.Errorf("broken = %v, want a rule", l.broken)
			}
			<-done
		})
	}
}

// TestToolRules: a tool that breaks the rules loses its session, and nobody else
// anything.
func TestToolRules(t *testing.T) {
	open, err := channel.AppendRequest(nil, channel.Console, channel.Request{Open: 3})
	if err != nil {
		t.Fatal(err)
	}
	request := func(s channel.Session, r channel.Request) []byte {
		b, err := channel.AppendRequest(nil, s, r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	data := channel.AppendFrame(nil, channel.KindData, channel.Stdin, make([]byte, channel.MaxPayload))
	for name, b := range map[string][]byte{
		"garbage":         []byte("GET / HTTP/1.0\r\n\r\n"),
		"not begun":       data,
		"begun twice":     bytes.Repeat(open, 2),
		"shutdown":        request(0, channel.Request{Shutdown: true}),
		"hangup":          append(open, request(0, channel.Request{Hangup: true})...),
		"another session": request(1, channel.Request{Open: 3}),
		"too much data":   append(open, bytes.Repeat(data, 10)...),
		"data on stdout":  append(open, channel.AppendFrame(nil, channel.KindData, channel.Stdout, []byte("x"))...),
		"credit unasked":  append(open, channel.AppendCredit(nil, channel.Stdout, 1)...),
	} {
		t.Run(name, func(t *testing.T) {
			g, l, path := serveFake(t)
			conn, err := net.Dial("unix", shortName(t, path))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go conn.Write(b)
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("the tool got %d bytes", n)
			}
			select {
			case <-l.ended:
				t.Error("the machine was ended")
			default:
			}
			_ = g
		})
	}
}

// FuzzRelay: whatever a guest and a tool send, kiln run keeps no more of it than
// the windows and some notices.
func FuzzRelay(f *testing.F) {
	open, err := channel.AppendRequest(nil, channel.Console, channel.Request{Open: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(channel.AppendFrame(channel.AppendCredit(nil, 5, 1), channel.KindData, 6, []byte("x")), channel.AppendFrame(open, channel.KindData, 1, []byte("{}x")))
	f.Add(channel.AppendFrame(nil, channel.KindMessage, 4, []byte(`{"exit":3}`)), open)
	f.Fuzz(func(t *testing.T, guest, tool []byte) {
		failed := make(chan error, 2)
		out, errs := output.New(io.Discard, failed, false), output.New(io.Discard, failed, true)
		l := newLink(&conversation{bytes.NewReader(guest)}, out, errs)
		r := l.newRelay(nil)
		if channel.Serve(bytes.NewReader(tool), toolHandler{r}) == nil {
			r.mu.Lock()
			begun := r.begun
			r.mu.Unlock()
			if !begun && len(tool) >= channel.HeaderSize {
				t.Error("a session without a beginning is taken")
			}
		}
		l.serve()
		if most := 2*channel.Window + 2*output.MaxNotes + 2*len(guest); len(r.queue) > most {
			t.Errorf("%d bytes are kept for a tool", len(r.queue))
		}
		for _, o := range []*output.Output{out, errs} {
			o.Close()
			<-o.Done()
		}
	})
}

// makeParent makes the folder of a file.
func makeParent(path string) error { return os.MkdirAll(filepath.Dir(path), 0o700) }

// shortName returns another name of a socket, short enough for net.Dial.
func shortName(t *testing.T, path string) string {
	t.Helper()
	short := filepath.Join(t.TempDir(), "s")
	if err := os.Symlink(filepath.Dir(path), short); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(short, filepath.Base(path))
}
