package instance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readAll returns what the log has of each stream.
func readAll(t *testing.T, folder string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	i := &Instance{folder: folder}
	err := i.ReadLog(func(r Record) error {
		got[r.Stream] += string(r.Text)
		if !r.Partial {
			got[r.Stream] += "\n"
		}
		return nil
	}, func() bool { return false }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLogKeepsBytes(t *testing.T) {
	dir := t.TempDir()
	l, err := openLog(dir, LogOptions{MaxSize: 1 << 20, MaxFiles: 1000})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		stream := []string{"stdout", "stderr"}[random.IntN(2)]
		b := make([]byte, random.IntN(50000))
		for n := range b {
			b[n] = byte(random.IntN(256))
			if random.IntN(50) > 0 && b[n] == '\n' {
				b[n] = 0
			}
		}
		if _, err := l.Stream(stream).Write(b); err != nil {
			t.Fatal(err)
		}
		want[stream] += string(b)
	}
	for stream := range want { // so that the last lines are whole
		l.Stream(stream).Write([]byte("\n"))
		want[stream] += "\n"
	}
	got := readAll(t, dir)
	for stream := range want {
		if got[stream] != want[stream] {
			t.Errorf("%s: %d bytes, want %d, the same", stream, len(got[stream]), len(want[stream]))
		}
	}
}

func TestLogRotates(t *testing.T) {
	dir := t.TempDir()
	o := LogOptions{MaxSize: 8192, MaxFiles: 3}
	l, err := openLog(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10000 {
		fmt.Fprintf(l.Stream("stdout"), "line %d\n", n)
	}
	files, err := logFiles(dir)
	if err != nil || len(files) != o.MaxFiles {
		t.Fatalf("%d files, %v, want %d", len(files), err, o.MaxFiles)
	}
	for _, n := range files {
		fi, err := os.Stat(logPath(dir, n))
		if err != nil || fi.Size() > o.MaxSize {
			t.Errorf("file %d: %v, %v", n, fi.Size(), err)
		}
	}
	if got := readAll(t, dir)["stdout"]; !strings.HasSuffix(got, "line 9998\nline 9999\n") {
		t.Errorf("the log ends with %q", got[max(0, len(got)-40):])
	}
}

// TestFollow reads while another writes and the files go.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	l, err := openLog(dir, LogOptions{MaxSize: 64 << 10, MaxFiles: 1000})
	if err != nil {
		t.Fatal(err)
	}
	const lines = 20000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range lines {
			fmt.Fprintf(l.Stream("stdout"), "line %d\n", n)
		}
	}()
	next := 0
	i := &Instance{folder: dir}
	err = i.ReadLog(func(r Record) error {
		if want := fmt.Sprintf("line %d", next); string(r.Text) != want {
			return fmt.Errorf("%q, want %q", r.Text, want)
		}
		next++
		return nil
	}, func() bool {
		select {
		case <-done:
			return false
		default:
			time.Sleep(time.Millisecond)
			return true
		}
	}, func() { t.Error("files went before they were read") })
	if err != nil || next != lines {
		t.Errorf("%d lines, %v, want %d", next, err, lines)
	}
}

// TestTornLog continues logs whose last line was cut short.
func TestTornLog(t *testing.T) {
	for _, torn := range []string{"2026", "2026-11-28T19:04:59.123456789Z stdout F no end", strings.Repeat("x", 200<<10)} {
		dir := t.TempDir()
		whole := appendLines(nil, "stdout", []byte("whole\n"), time.Now())
		if err := os.WriteFile(logPath(dir, 7), append(bytes.Clone(whole), torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := openLog(dir, DefaultLog)
		if err != nil {
			t.Fatal(err)
		}
		l.Stream("stdout").Write([]byte("next\n"))
		if got := readAll(t, dir)["stdout"]; got != "whole\nnext\n" {
			t.Errorf("behind %.40q: %q", torn, got)
		}
	}
}

// TestFullDisk writes a log past the limit of a file's size, which fails as a full
// disk does, and then has room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	l, err := openLog(dir, LogOptions{MaxSize: 1 << 20, MaxFiles: 2})
	if err != nil {
		t.Fatal(err)
	}
	out := l.Stream("stdout")
	out.Write([]byte("first\n"))
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	ignoreSizeSignal(t)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	n, err := out.Write([]byte(strings.Repeat("lost", 50) + "\n"))
	if restore := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); restore != nil {
		t.Fatal(restore)
	}
	if n != 201 || err != nil {
		t.Errorf("a write to a full disk: %d, %v, want 201 and no error", n, err)
	}
	out.Write([]byte("last\n"))
	got := readAll(t, dir)
	if got["stdout"] != "first\nlast\n" || !strings.Contains(got["stderr"], "the log lacks 201 bytes here") {
		t.Errorf("the log has %q", got)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("2026-11-28T19:04:59.123456789Z stdout F text\n"))
	f.Add([]byte("2026-11-28T19:04:59.123456789Z stderr P \n"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRecord(line)
		if err == nil && (r.Time.IsZero() || bytes.HasSuffix(r.Text, []byte("\n")) && !bytes.HasSuffix(line, []byte("\n\n"))) {
			t.Errorf("%q is read as %+v", line, r)
		}
	})
}

func TestLogOptions(t *testing.T) {
	o := DefaultLog
	for _, s := range []string{"max-size=1m", "max-file=2"} {
		if err := o.Set(s); err != nil {
			t.Error(err)
		}
	}
	if o != (LogOptions{MaxSize: 1 << 20, MaxFiles: 2}) {
		t.Errorf("options: %+v", o)
	}
	for _, s := range []string{"max-size=1", "max-size=", "max-size=x", "max-file=0", "max-file=-1", "mode=blocking", ""} {
		if err := o.Set(s); err == nil {
			t.Errorf("Set(%q) is no error", s)
		}
	}
}

func TestEventsRotate(t *testing.T) {
	s := newStore(t)
	h := create(t, s, Config{Name: "x", Labels: map[string]string{"pad": strings.Repeat("x", 10000)}})
	const notes = 150 // more than one file's worth, less than two
	for n := range notes {
		if err := h.Note(EventKill, map[string]string{"signal": fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err := s.Events(func(e Event) error {
		if e.Action == EventKill {
			if e.Attributes["signal"] != fmt.Sprint(seen) {
				return fmt.Errorf("event %d is %s", seen, e.Attributes["signal"])
			}
			seen++
		}
		return nil
	}, func() bool { return false })
	if err != nil || seen != notes {
		t.Errorf("%d events, %v, want %d", seen, err, notes)
	}
	if _, err := os.Stat(filepath.Join(s.folder, "events.old")); err != nil {
		t.Error(err)
	}
}
