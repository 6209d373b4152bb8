package uplink

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kiln/image/channel"
	"kiln/kernel/virtio/console"
)

// fakePort is a port with two buffers. What the host sends comes from in.
type fakePort struct {
	in    io.Reader
	space func()

	mu   sync.Mutex
	free int          // guarded by mu
	sent bytes.Buffer // guarded by mu
	held int          // buffers that were sent and not given back; guarded by mu
	hold bool         // the host takes nothing; guarded by mu
	err  error        // guarded by mu
}

func (p *fakePort) Read(b []byte) (int, error) { return p.in.Read(b) }

func (p *fakePort) Buffer() (*console.Buffer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.free == 0 {
		return nil, p.err
	}
	p.free--
	return &console.Buffer{Bytes: make([]byte, console.BufferSize)}, nil
}

func (p *fakePort) Send(b *console.Buffer, n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent.Write(b.Bytes[:n])
	if p.hold {
		p.held++
	} else {
		p.free++
	}
	return p.err
}

func (p *fakePort) Cancel(*console.Buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
}

func (p *fakePort) Flush(time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held == 0
}

// release lets the host take what was sent, and all from then on.
func (p *fakePort) release() {
	p.mu.Lock()
	p.free += p.held
	p.held, p.hold = 0, false
	p.mu.Unlock()
	p.space()
}

// frames returns what was sent, as a Handler is told it, and forgets it.
func (p *fakePort) frames(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var text told
	if err := channel.Serve(&p.sent, &text); err != nil {
		t.Errorf("what the guest sends: %v", err)
	}
	return text.String()
}

// told writes down what a Handler is told.
type told struct{ strings.Builder }

func (b *told) note(s ...string) error {
	b.WriteString(strings.Join(s, "") + "\n")
	return nil
}
func (b *told) Message(s channel.Session, m []byte) error {
	if s != channel.Console {
		return b.note("message of ", strconv.Itoa(int(s)), " ", string(m))
	}
	return b.note("message ", string(m))
}
func (b *told) Data(s channel.Stream, d []byte) error {
	return b.note("data ", strconv.Itoa(int(s)), ":", string(d))
}
func (b *told) End(s channel.Stream) error { return b.note("end ", strconv.Itoa(int(s)), ":") }
func (b *told) Credit(s channel.Stream, n int) error {
	return b.note("credit ", strconv.Itoa(int(s)), ":")
}

// testLink returns a link, its port, and where the host writes.
func testLink(t *testing.T) (*Link, *fakePort, io.WriteCloser) {
	r, w := io.Pipe()
	l := newLink()
	p := &fakePort{in: r, free: 2, space: l.room}
	l.port = p
	go l.serve()
	t.Cleanup(func() { w.Close() })
	return l, p, w
}

func copier(s string) func(b []byte) (int, error) {
	return func(b []byte) (int, error) { return copy(b, s), nil }
}

func TestOutput(t *testing.T) {
	l, p, host := testLink(t)
	if n, err := l.Stdout.Send(5, copier("hello")); n != 5 || err != nil {
		t.Errorf("Send = %d, %v", n, err)
	}
	if n, err := l.Stderr.Write([]byte("oops")); n != 4 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	failure := errors.New("bad address")
	if n, err := l.Stdout.Send(9, func(b []byte) (int, error) { return copy(b, "half"), failure }); n != 4 || err != failure {
		t.Errorf("Send of memory that is only half there = %d, %v", n, err)
	}
	if n, err := l.Stdout.Send(9, func([]byte) (int, error) { return 0, failure }); n != 0 || err != failure {
		t.Errorf("Send of memory that is not there = %d, %v", n, err)
	}
	if err := l.Exit(3); err != nil {
		t.Error(err)
	}
	if got, want := p.frames(t), "data 2:hello\ndata 3:oops\ndata 2:half\nmessage {\"exit\":3}\n"; got != want {
		t.Errorf("sent:\n%swant:\n%s", got, want)
	}
	// All but these 9 bytes of the window are left.
	if _, err := l.Stdout.Write(make([]byte, channel.Window-9)); err != nil {
		t.Error(err)
	}
	if n, err := l.Stdout.Send(1, copier("x")); err != ErrFull || l.Stdout.Room() {
		t.Errorf("Send without credit = %d, %v", n, err)
	}
	if n, err := l.Stderr.Send(1, copier("x")); n != 1 || err != nil {
		t.Errorf("Send on another stream = %d, %v", n, err)
	}
	told := make(chan struct{}, 8)
	l.Stdout.OnRoom(func() { told <- struct{}{} })
	done := make(chan error)
	go func() {
		_, err := l.Stdout.Write([]byte("late"))
		done <- err
	}()
	if _, err := host.Write(channel.AppendCredit(nil, channel.Stdout, 4)); err != nil {
		t.Fatal(err)
	}
	<-told
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNoBuffers(t *testing.T) {
	l, p, _ := testLink(t)
	p.hold = true
	for range 2 {
		if _, err := l.Stdout.Send(1, copier("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Stdout.Send(1, copier("x")); err != ErrFull || l.Stdout.Room() {
		t.Errorf("Send without buffers: %v", err)
	}
	done := make(chan error)
	go func() { done <- l.Report(channel.ReadyReport()) }()
	time.Sleep(5 * time.Millisecond)
	p.release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !l.Stdout.Room() {
		t.Error("no room though the host has taken all")
	}
}

func TestInput(t *testing.T) {
	l, p, host := testLink(t)
	b := channel.AppendFrame(nil, channel.KindData, channel.Stdin, []byte("one two"))
	b = channel.AppendFrame(b, channel.KindEnd, channel.Stdin, nil)
	b, err := channel.AppendRequest(b, channel.Console, channel.Request{Signal: "HUP"})
	if err != nil {
		t.Fatal(err)
	}
	go host.Write(b)
	if got, err := io.ReadAll(l.Stdin); string(got) != "one two" || err != nil {
		t.Errorf("input %q, %v", got, err)
	}
	if r := <-l.Requests(); r.Signal != "HUP" {
		t.Errorf("request %+v", r)
	}
	if got := p.frames(t); got != "" {
		t.Errorf("the guest has sent %q, want nothing", got)
	}
}

// TestInputUnread: requests come through though nobody reads the input, and
// credit is given as it is read.
func TestInputUnread(t *testing.T) {
	l, p, host := testLink(t)
	go func() {
		for sent := 0; sent < channel.Window; sent += 16 << 10 {
			host.Write(channel.AppendFrame(nil, channel.KindData, channel.Stdin, make([]byte, 16<<10)))
		}
		b, _ := channel.AppendRequest(nil, channel.Console, channel.Request{Shutdown: true})
		host.Write(b)
	}()
	if r := <-l.Requests(); !r.Shutdown {
		t.Errorf("request %+v", r)
	}
	if _, err := io.ReadFull(l.Stdin, make([]byte, channel.Window)); err != nil {
		t.Fatal(err)
	}
	if got := p.frames(t); !strings.HasPrefix(got, "credit 1:\n") {
		t.Errorf("the guest has sent %q, want credit", got)
	}
}

// TestHostBreaksRules: the link ends, and who waits is told.
func TestHostBreaksRules(t *testing.T) {
	for name, b := range map[string][]byte{
		"garbage":           []byte("GET / HTTP/1.1\r\n"),
		"data for stdout":   channel.AppendFrame(nil, channel.KindData, channel.Stdout, []byte("x")),
		"end of stdout":     channel.AppendFrame(nil, channel.KindEnd, channel.Stdout, nil),
		"two ends":          channel.AppendFrame(channel.AppendFrame(nil, channel.KindEnd, channel.Stdin, nil), channel.KindEnd, channel.Stdin, nil),
		"credit for nobody": channel.AppendCredit(nil, channel.Stdin, 1),
		"console begun":     request(t, channel.Console, channel.Request{Open: 7}),
		"console ended":     request(t, channel.Console, channel.Request{Hangup: true}),
		"shutdown by 3":     request(t, 3, channel.Request{Shutdown: true}),
		"begun twice":       append(request(t, 3, channel.Request{Open: 7}), request(t, 3, channel.Request{Open: 7})...),
		"output to guest":   channel.AppendFrame(nil, channel.KindData, channel.Session(9).Stream(channel.Stderr), []byte("x")),
		"credit unasked":    channel.AppendCredit(nil, channel.Stdout, 1),
		"no request":        channel.AppendFrame(nil, channel.KindMessage, 0, []byte("{}")),
	} {
		l, _, host := testLink(t)
		go host.Write(b)
		for range l.Requests() {
		}
		if err := l.Err(); !errors.Is(err, channel.ErrRule) {
			t.Errorf("%s: %v, want a broken rule", name, err)
		}
		if _, err := io.ReadAll(l.Stdin); err != nil {
			t.Errorf("%s: input ends with %v", name, err)
		}
		if _, err := l.Stdout.Write(make([]byte, 2*channel.Window)); !errors.Is(err, ErrLost) {
			t.Errorf("%s: Write without end = %v, want %v", name, err, ErrLost)
		}
	}
}

// request returns a request of a session's as a frame.
func request(t *testing.T, s channel.Session, r channel.Request) []byte {
	t.Helper()
	b, err := channel.AppendRequest(nil, s, r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open begins a session, which is for nothing in particular, and returns it.
func open(t *testing.T, l *Link, host io.Writer, number channel.Session) *Session {
	t.Helper()
	if _, err := host.Write(request(t, number, channel.Request{Open: 3})); err != nil {
		t.Fatal(err)
	}
	return <-l.Sessions()
}

// TestSession: streams of a session's own, which end with it.
func TestSession(t *testing.T) {
	l, p, host := testLink(t)
	s := open(t, l, host, 5)
	go func() {
		host.Write(channel.AppendFrame(nil, channel.KindData, channel.Session(5).Stream(channel.Stdin), []byte("{} input")))
		host.Write(channel.AppendFrame(nil, channel.KindData, channel.Session(6).Stream(channel.Stdin), []byte("nobody's")))
		host.Write(channel.AppendCredit(nil, channel.Session(6).Stream(channel.Stdout), 3))
		host.Write(request(t, 5, channel.Request{Signal: "HUP"}))
		host.Write(channel.AppendFrame(nil, channel.KindEnd, channel.Session(5).Stream(channel.Stdin), nil))
	}()
	if _, err := s.Opening(); err == nil {
		t.Error("a session for nothing has begun")
	}
	if in, err := io.ReadAll(s.Stdin); string(in) != "input" && string(in) != " input" || err != nil {
		t.Errorf("input %q, %v", in, err)
	}
	if r := <-s.Requests(); r.Signal != "HUP" {
		t.Errorf("request %+v", r)
	}
	// The console is out of credit, which does not hold the session up.
	if _, err := l.Stdout.Write(make([]byte, channel.Window)); err != nil {
		t.Fatal(err)
	}
	p.frames(t)
	if _, err := s.Stderr.Write([]byte("bad")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Notice("%d%%", 7), s.End(9)); err != nil {
		t.Error(err)
	}
	if got, want := p.frames(t), "data 23:bad\nmessage of 5 {\"notice\":\"7%\"}\nmessage of 5 {\"exit\":9}\n"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	// Its number may be used again.
	if s := open(t, l, host, 5); s == nil {
		t.Error("no second session of the number")
	}
}

// TestHangup: a session whose tool has gone loses what it writes, and reads the
// end of its input. The end of the channel is the end of all sessions.
func TestHangup(t *testing.T) {
	l, _, host := testLink(t)
	s, other := open(t, l, host, 1), open(t, l, host, 2)
	wrote := make(chan error)
	go func() {
		_, err := s.Stdout.Write(make([]byte, 2*channel.Window))
		wrote <- err
	}()
	if _, err := host.Write(request(t, 1, channel.Request{Hangup: true})); err != nil {
		t.Fatal(err)
	}
	<-s.Gone()
	if err := <-wrote; !errors.Is(err, ErrLost) {
		t.Errorf("Write = %v, want %v", err, ErrLost)
	}
	if b, err := io.ReadAll(s.Stdin); len(b) != 0 || err != nil {
		t.Errorf("input %q, %v", b, err)
	}
	select {
	case <-other.Gone():
		t.Error("both sessions have ended")
	default:
	}
	host.Close()
	<-other.Gone()
	if _, ok := <-l.Sessions(); ok {
		t.Error("a session begins though the channel has ended")
	}
}

// TestManySessions: a guest refuses what it has no room for.
func TestManySessions(t *testing.T) {
	l, p, host := testLink(t)
	for i := range channel.MaxSessions {
		open(t, l, host, channel.Session(i+1))
	}
	if _, err := host.Write(request(t, 100, channel.Request{Open: 3})); err != nil {
		t.Fatal(err)
	}
	sent := ""
	for end := time.Now().Add(10 * time.Second); !strings.Contains(sent, "exit") && time.Now().Before(end); time.Sleep(time.Millisecond) {
		sent += p.frames(t)
	}
	if !strings.HasPrefix(sent, "message of 100 {\"notice\"") || !strings.HasSuffix(sent, "message of 100 {\"exit\":125}\n") {
		t.Errorf("sent %q, want a notice and an exit", sent)
	}
}

// FuzzHost: whatever the host sends, the guest keeps no more of it than the
// window.
func FuzzHost(f *testing.F) {
	f.Add(channel.AppendFrame(channel.AppendCredit(nil, channel.Stdout, 1), channel.KindData, channel.Stdin, []byte("x")))
	f.Add([]byte(`......{"shutdown":true}`))
	if b, err := channel.AppendRequest(nil, 2, channel.Request{Open: 9}); err == nil {
		f.Add(channel.AppendFrame(b, channel.KindData, channel.Session(2).Stream(channel.Stdin), []byte(`{"exec":1`)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newLink()
		l.port = &fakePort{in: bytes.NewReader(in), free: 2}
		go func() {
			for range l.Requests() {
			}
		}()
		l.serve()
		if len(l.Stdin.queue) > channel.Window {
			t.Errorf("%d bytes of input are kept", len(l.Stdin.queue))
		}
		sessions := l.listSessions()
		for _, s := range sessions {
			if len(s.Stdin.queue) > channel.Window {
				t.Errorf("%d bytes of a session's input are kept", len(s.Stdin.queue))
			}
		}
		if len(sessions) > channel.MaxSessions {
			t.Errorf("%d sessions are open", len(sessions))
		}
	})
}
