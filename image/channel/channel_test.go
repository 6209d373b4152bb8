package channel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// record is a Handler that notes what it is told.
type record struct {
	got  []string
	fail error
}

func (r *record) note(format string, args ...any) error {
	r.got = append(r.got, fmt.Sprintf(format, args...))
	return r.fail
}

func (r *record) Message(s Session, b []byte) error {
	return r.note("message %d %s", s, b)
}

func (r *record) Data(s Stream, b []byte) error { return r.note("%d: %s", s, b) }
func (r *record) End(s Stream) error            { return r.note("%d ends", s) }
func (r *record) Credit(s Stream, n int) error  { return r.note("%d gets %d", s, n) }

func TestServe(t *testing.T) {
	frames, err := AppendRequest(nil, 3, Request{Signal: "HUP"})
	if err != nil {
		t.Fatal(err)
	}
	frames = AppendFrame(frames, KindData, Stdout, []byte("out"))
	frames = AppendFrame(frames, KindData, Stderr, []byte("err"))
	frames = AppendCredit(frames, Stdin, Window)
	frames = AppendFrame(frames, KindEnd, Stdout, nil)
	want := []string{`message 3 {"signal":"HUP"}`, "2: out", "3: err", "1 gets 262144", "2 ends"}
	for _, in := range []io.Reader{bytes.NewReader(frames), iotest.OneByteReader(bytes.NewReader(frames))} {
		r := &record{}
		if err := Serve(in, r); err != nil || fmt.Sprint(r.got) != fmt.Sprint(want) {
			t.Errorf("Serve: %v, told %q, want %q", err, r.got, want)
		}
	}
	if err := Serve(bytes.NewReader(frames[:len(frames)-3]), &record{}); !errors.Is(err, io.ErrUnexpectedEOF) && err != nil {
		t.Errorf("Serve of a cut frame: %v", err)
	}
	failure := errors.New("enough")
	if err := Serve(bytes.NewReader(frames), &record{fail: failure}); err != failure {
		t.Errorf("Serve = %v, want the handler's error", err)
	}
}

// TestRules: what breaks a rule is refused, without its payload being read.
func TestRules(t *testing.T) {
	header := func(kind, zero byte, stream uint16, size uint32) []byte {
		b := []byte{kind, zero, 0, 0, 0, 0, 0, 0}
		binary.LittleEndian.PutUint16(b[2:], stream)
		binary.LittleEndian.PutUint32(b[4:], size)
		return b
	}
	for name, b := range map[string][]byte{
		"unknown kind":       header(5, 0, 1, 1),
		"kind 0":             header(0, 0, 0, 0),
		"reserved byte":      header(2, 1, 2, 1),
		"large data":         header(2, 0, 2, MaxPayload+1),
		"huge data":          header(2, 0, 2, 1<<32-1),
		"no data":            header(2, 0, 2, 0),
		"large message":      header(1, 0, 0, MaxMessage+1),
		"empty message":      header(1, 0, 0, 0),
		"message in stream":  header(1, 0, 2, 2),
		"data in no stream":  header(2, 0, 0, 2),
		"data in session":    header(2, 0, 8, 2),
		"end with payload":   header(3, 0, 2, 1),
		"credit of 3 bytes":  header(4, 0, 2, 3),
		"credit for nothing": AppendCredit(nil, Stdin, 0),
		"credit too much":    AppendCredit(nil, Stdin, Window+1),
	} {
		if err := Serve(bytes.NewReader(b), &record{}); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v, want a broken rule", name, err)
		}
	}
}

func TestSender(t *testing.T) {
	s := NewSender()
	if n := s.Take(Window + 5); n != Window {
		t.Errorf("Take = %d, want %d", n, Window)
	}
	if s.Room() || s.Take(1) != 0 {
		t.Error("there is credit beyond the window")
	}
	if err := s.Add(10); err != nil {
		t.Error(err)
	}
	select {
	case <-s.More():
	default:
		t.Error("nobody is told of credit")
	}
	s.Back(5)
	if err := s.Add(Window - 14); !errors.Is(err, ErrRule) {
		t.Errorf("Add beyond the window: %v", err)
	}
	if n := s.Take(100); n != 15 {
		t.Errorf("Take = %d, want 15", n)
	}
}

func TestReceiver(t *testing.T) {
	var r Receiver
	if err := r.Receive(Window); err != nil {
		t.Fatal(err)
	}
	if err := r.Receive(1); !errors.Is(err, ErrRule) {
		t.Errorf("Receive beyond the window: %v", err)
	}
	if credit := r.Consume(Window/2 - 1); credit != 0 {
		t.Errorf("credit of %d, want none yet", credit)
	}
	if err := r.Receive(1); !errors.Is(err, ErrRule) {
		t.Errorf("Receive of what no credit was given for: %v", err)
	}
	if credit := r.Consume(1); credit != Window/2 {
		t.Errorf("credit of %d, want %d", credit, Window/2)
	}
	if err := r.Receive(Window / 2); err != nil {
		t.Error(err)
	}
	if err := r.End(); err != nil {
		t.Error(err)
	}
	if r.Receive(1) == nil || r.End() == nil {
		t.Error("a stream goes on behind its end")
	}
}

func TestMessages(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"shutdown":true}`: true, `{"winsize":[24,80]}`: true, `{"signal":"INT"}`: true, `{"signal":"INT","later":[1]}`: true,
		`{"open":100}`: true, `{"hangup":true}`: true, `{"open":-1}`: false, `{"open":1048577}`: false, `{"open":3,"hangup":true}`: false,
		`{}`: false, `{"shutdown":true,"signal":"HUP"}`: false, `{"winsize":[24]}`: false, `{"winsize":[24,70000]}`: false, `shutdown`: false, `[]`: false,
	} {
		if _, err := ParseRequest([]byte(text)); (err == nil) != ok || err != nil && !errors.Is(err, ErrRule) {
			t.Errorf("ParseRequest(%s) = %v, want success: %v", text, err, ok)
		}
	}
	for text, ok := range map[string]bool{
		string(ReadyReport()): true, string(ExitReport(0)): true, string(ExitReport(255)): true, `{"news":1}`: true,
		`{"exit":256}`: false, `{"exit":-1}`: false, `{"exit":"0"}`: false, `junk`: false,
	} {
		r, err := ParseReport([]byte(text))
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrRule) {
			t.Errorf("ParseReport(%s) = %v, want success: %v", text, err, ok)
		}
		if text == `{"exit":255}` && (r.Exit == nil || *r.Exit != 255) {
			t.Errorf("ParseReport(%s) = %+v", text, r)
		}
	}
	for _, text := range []string{"out of memory", "a\x1b\n\xff", strings.Repeat("\x00é", 9000)} {
		b := NoticeReport(text)
		r, err := ParseReport(b)
		if err != nil || len(b) > MaxMessage || r.Notice == "" {
			t.Errorf("notice of %d bytes: %d bytes, %v", len(text), len(b), err)
		}
	}
}

// FuzzServe: whatever comes, it is frames that obey the rules or an error, and
// no more than was sent.
func FuzzServe(f *testing.F) {
	f.Add(AppendFrame(AppendCredit(nil, Stdin, 7), KindData, Stdout, []byte("x")))
	f.Add(AppendFrame(nil, KindMessage, 0, ReadyReport()))
	f.Add([]byte{2, 0, 2, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		h := &checker{t: t}
		err := Serve(bytes.NewReader(in), h)
		if h.bytes > len(in) {
			t.Errorf("%d bytes came out of %d", h.bytes, len(in))
		}
		if err == nil && h.bytes != len(in) && len(in)-h.bytes >= HeaderSize {
			t.Errorf("%d of %d bytes were taken without an error", h.bytes, len(in))
		}
	})
}

// checker is a Handler that checks what it is told, and parses messages.
type checker struct {
	t      *testing.T
	bytes  int
	window Receiver
	sender Sender
}

func (c *checker) Message(s Session, b []byte) error {
	if s > LastSession {
		c.t.Errorf("a message of session %d", s)
	}
	c.bytes += HeaderSize + len(b)
	if len(b) > MaxMessage {
		c.t.Errorf("a message of %d bytes", len(b))
	}
	_, err1 := ParseReport(b)
	_, err2 := ParseRequest(b)
	if (err1 == nil || err2 == nil) && !json.Valid(b) {
		c.t.Errorf("%q was taken", b)
	}
	return nil
}

func (c *checker) Data(s Stream, b []byte) error {
	c.bytes += HeaderSize + len(b)
	if len(b) == 0 || len(b) > MaxPayload || s == 0 {
		c.t.Errorf("%d bytes of stream %d", len(b), s)
	}
	return c.window.Receive(len(b))
}

func (c *checker) End(Stream) error { c.bytes += HeaderSize; return nil }

func (c *checker) Credit(s Stream, n int) error {
	c.bytes += HeaderSize + 4
	c.sender.Take(Window)
	return c.sender.Add(n)
}

func TestStreams(t *testing.T) {
	for _, tt := range []struct {
		session Session
		role    Stream
		want    Stream
	}{{0, Stdin, 1}, {0, Stderr, 3}, {1, Messages, 4}, {5, Stdout, 22}, {LastSession, Stderr, 65535}} {
		got := tt.session.Stream(tt.role)
		if got != tt.want || got.Session() != tt.session || got.Role() != tt.role {
			t.Errorf("stream %d of session %d = %d, of session %d, role %d", tt.role, tt.session, got, got.Session(), got.Role())
		}
	}
}

func TestOpening(t *testing.T) {
	o := Opening{Exec: &Exec{Args: []string{"sh", "caf\xe9"}, Env: []string{"A=\xff"}, Terminal: true, Rows: 3}}
	b, err := o.JSON()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseOpening(b)
	if err != nil || got.Exec.Args[1] != "caf\xe9" || got.Exec.Env[0] != "A=\xff" || !got.Exec.Terminal || got.Exec.Rows != 3 {
		t.Errorf("ParseOpening(%s) = %+v, %v", b, got.Exec, err)
	}
	for _, text := range []string{``, `{}`, `{"exec":{}}`, `{"exec":{"args":[]}}`, `{"later":{}}`, `[]`, `{"exec":{"args":[1]}}`, `{"stat":"/","read":{}}`} {
		if o, err := ParseOpening([]byte(text)); err == nil {
			t.Errorf("ParseOpening(%s) = %+v", text, o)
		}
	}
	o.Exec.Args = []string{strings.Repeat("x", MaxOpening)}
	if _, err := o.JSON(); err == nil {
		t.Error("an opening without bound is taken")
	}
}

// FuzzOpening: whatever a session begins with is one thing to do, or an error.
func FuzzOpening(f *testing.F) {
	f.Add([]byte(`{"exec":{"args":["sh","-c","a\u0000\u00ff"],"user":"root:0","rows":70000}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if o, err := ParseOpening(in); err == nil && o.Exec != nil && len(o.Exec.Args) == 0 {
			t.Errorf("ParseOpening(%q) = %+v", in, o)
		}
	})
}
