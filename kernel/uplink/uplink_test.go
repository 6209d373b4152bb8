package uplink

import (
	"bytes"
	"errors"
	"io"
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
func (b *told) Message(m []byte) error { return b.note("message ", string(m)) }
func (b *told) Data(s channel.Stream, d []byte) error {
	return b.note("data ", string(rune('0'+s)), string(d))
}
func (b *told) End(s channel.Stream) error           { return b.note("end ", string(rune('0'+s))) }
func (b *told) Credit(s channel.Stream, n int) error { return b.note("credit ", string(rune('0'+s))) }

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
	if got, want := p.frames(t), "data 2hello\ndata 3oops\ndata 2half\nmessage {\"exit\":3}\n"; got != want {
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
	b, err := channel.AppendRequest(b, channel.Request{Signal: "HUP"})
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
		b, _ := channel.AppendRequest(nil, channel.Request{Shutdown: true})
		host.Write(b)
	}()
	if r := <-l.Requests(); !r.Shutdown {
		t.Errorf("request %+v", r)
	}
	if _, err := io.ReadFull(l.Stdin, make([]byte, channel.Window)); err != nil {
		t.Fatal(err)
	}
	if got := p.frames(t); !strings.HasPrefix(got, "credit 1\n") {
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
		"credit for nobody": channel.AppendCredit(nil, 7, 1),
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

// FuzzHost: whatever the host sends, the guest keeps no more of it than the
// window.
func FuzzHost(f *testing.F) {
	f.Add(channel.AppendFrame(channel.AppendCredit(nil, channel.Stdout, 1), channel.KindData, channel.Stdin, []byte("x")))
	f.Add([]byte(`......{"shutdown":true}`))
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
	})
}
