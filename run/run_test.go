package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiln/image/channel"
	"kiln/run/output"
	"kiln/run/qemu"
)

func TestOutcome(t *testing.T) {
	number := func(n int) *int { return &n }
	failed := qemu.Binary + ": -netdev tap: could not configure /dev/net/tun\n"
	tests := []struct {
		name   string
		status qemu.Status
		exit   *int
		shown  bool
		why    stop
		code   int
		msg    string // part of the error; "" for none
	}{
		{"reported", qemu.Status{Code: 15}, number(7), true, stopNone, 7, ""},
		{"reported, machine lingered", qemu.Status{Code: -1, Signal: "killed"}, number(0), true, stopLinger, 0, ""},
		{"reported signal", qemu.Status{Code: 255}, number(139), true, stopNone, 139, ""},
		{"by the exit device alone", qemu.Status{Code: 7}, nil, true, stopNone, 3, ""},
		{"zero by the exit device, with a warning", qemu.Status{Code: 1, Stderr: qemu.Binary + ": warning: x\n"}, nil, false, stopNone, 0, ""},
		{"panic", qemu.Status{Code: 0x7e*2 + 1}, nil, true, stopNone, ExitCrash, "the kernel crashed: report above"},
		{"no boot", qemu.Status{Code: 0x7f*2 + 1}, nil, true, stopNone, ExitCrash, "cannot boot on this machine: reason above"},
		{"out of memory", qemu.Status{Code: 0x7d*2 + 1}, nil, true, stopNone, ExitCrash, "out of memory"},
		{"triple fault", qemu.Status{}, nil, true, stopNone, ExitCrash, "without a report"},
		{"QEMU failed", qemu.Status{Code: 1, Stderr: failed}, nil, false, stopNone, ExitMachine, "could not configure"},
		{"QEMU killed", qemu.Status{Code: -1, Signal: "killed"}, nil, true, stopNone, ExitMachine, "signal: killed"},
		{"stop timeout", qemu.Status{Code: -1, Signal: "killed"}, nil, true, stopTimeout, ExitKilled, "did not end"},
		{"forced", qemu.Status{Code: -1, Signal: "killed"}, nil, true, stopForced, ExitKilled, "killed"},
		{"nobody reads", qemu.Status{Code: -1, Signal: "killed"}, nil, true, stopPipe, 141, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, err := outcome(tt.status, tt.exit, tt.shown, tt.why)
			if code != tt.code {
				t.Errorf("code = %d, want %d", code, tt.code)
			}
			if tt.msg == "" && err != nil || tt.msg != "" && (err == nil || !strings.Contains(err.Error(), tt.msg)) {
				t.Errorf("error = %v, want %q", err, tt.msg)
			}
		})
	}
}

// fakeQEMU puts a bash script in QEMU's place: its descriptors 0 and 1 are
// the serial port, 3 is the channel, 4 the run configuration.
func fakeQEMU(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, qemu.Binary), []byte("#!/bin/bash\n"+fakeGuest+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
}

// fakeGuest is what a guest does on the channel, in bash: say sends a report,
// out and err send a stream's data, hear prints the kind and payload of the next
// frame of the host's.
const fakeGuest = `
LC_ALL=C
frame() { # KIND STREAM PAYLOAD
	printf "$(printf '\\x%02x\\0\\x%02x\\0\\x%02x\\x%02x\\0\\0' $1 $2 $((${#3} & 255)) $((${#3} >> 8)))" >&3
	printf %s "$3" >&3
}
say() { frame 1 0 "$1"; }
out() { frame 2 2 "$1"; }
err() { frame 2 3 "$1"; }
hear() {
	set -- $(head -c 8 <&3 | od -An -tu1)
	echo "$1 $(head -c $(($5 + 256 * $6)) <&3)"
}
`

// buffer is a writer that tells when it has been written to.
type buffer struct {
	mu    sync.Mutex
	text  bytes.Buffer // guarded by mu
	first chan struct{}
	once  sync.Once
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.once.Do(func() { close(b.first) })
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// result is what came of a run.
type result struct {
	code    int
	err     error
	out     string
	stderr  string
	elapsed time.Duration
}

// runFake runs with script as QEMU. during is called once there is output.
func runFake(t *testing.T, script string, o Options, in string, during func()) result {
	t.Helper()
	fakeQEMU(t, script)
	out := &buffer{first: make(chan struct{})}
	if during != nil {
		go func() {
			<-out.first
			during()
		}()
	}
	o.Accel = AccelQEMU
	var stderr bytes.Buffer
	began := time.Now()
	code, err := Run(o, Stdio{In: strings.NewReader(in), Out: out, Err: &stderr})
	return result{code, err, out.String(), stderr.String(), time.Since(began)}
}

// signalSelf sends this process a signal, which Run must have asked for.
func signalSelf(t *testing.T, sig syscall.Signal) func() {
	return func() {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Error(err)
		}
	}
}

func TestRunOutput(t *testing.T) {
	r := runFake(t, `
		out $'a\nb\r\n\033'; err $'c\n'; out "$(cat /proc/self/fd/4)"; say '{"exit":7}'; err d
		echo 'a report'; exit 15`, testOptions(), "unread", nil)
	if r.code != 7 || r.err != nil || r.out != "a\nb\r\n\033{}" {
		t.Errorf("Run = %+v, want status 7 and the output unchanged", r)
	}
	if r.stderr != "c\nda report\n" && r.stderr != "c\na report\nd" { // the serial port is another way
		t.Errorf("standard error %q", r.stderr)
	}
}

// TestRunKernel: a kernel program of the user's own has the serial port.
func TestRunKernel(t *testing.T) {
	o := testOptions()
	o.Kernel, o.Interactive = true, true
	r := runFake(t, `echo up; read line; echo "got $line"; exit 15`, o, "text\n", nil)
	if r.code != 7 || r.err != nil || r.out != "up\ngot text\n" {
		t.Errorf("Run = %+v, want status 7 and what the serial port got", r)
	}
}

// TestRunOrder: lines of the two streams come out in the order in which they
// were written.
func TestRunOrder(t *testing.T) {
	fakeQEMU(t, `for i in 1 2 3 4 5 6 7 8 9; do out "o$i "; err "e$i "; done; say '{"notice":"n"}'; out end; say '{"exit":0}'; exit 1`)
	o := testOptions()
	o.Accel = AccelQEMU
	both := &buffer{first: make(chan struct{})}
	if code, err := Run(o, Stdio{In: strings.NewReader(""), Out: both, Err: both}); code != 0 || err != nil {
		t.Fatalf("Run = %d, %v", code, err)
	}
	want := ""
	for i := range 9 {
		want += fmt.Sprintf("o%d e%d ", i+1, i+1)
	}
	if want += "kiln: n\nend"; both.String() != want {
		t.Errorf("both streams:\n%q, want\n%q", both.String(), want)
	}
}

// stuck is a writer that takes nothing until it is told to.
type stuck struct {
	buffer
	go_ chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.go_
	return s.buffer.Write(p)
}

// TestRunSlowReader: a reader of one stream who is slow holds up neither the
// other nor requests, and loses nothing.
func TestRunSlowReader(t *testing.T) {
	fakeQEMU(t, `
		for i in 1 2 3 4 5 6 7 8; do out "$(printf %030000d 0)"; done
		err after; out last
		hear >/dev/null; hear >/dev/null # credit, and a signal
		say '{"exit":0}'; exit 1`)
	o := testOptions()
	o.Accel = AccelQEMU
	out := &stuck{buffer{first: make(chan struct{})}, make(chan struct{})}
	stderr := &buffer{first: make(chan struct{})}
	go func() {
		<-stderr.first // which comes though nobody has read the other
		close(out.go_)
		time.Sleep(100 * time.Millisecond)
		signalSelf(t, syscall.SIGHUP)()
	}()
	if code, err := Run(o, Stdio{In: strings.NewReader(""), Out: out, Err: stderr}); code != 0 || err != nil {
		t.Fatalf("Run = %d, %v", code, err)
	}
	if n := len(out.String()); n != 8*30000+4 || stderr.String() != "after" {
		t.Errorf("%d bytes and %q, want %d", n, stderr.String(), 8*30000+4)
	}
}

// TestRunHostile: a guest that breaks the channel's rules is ended.
func TestRunHostile(t *testing.T) {
	for name, script := range map[string]string{
		"garbage":          `printf 'HTTP/1.1 200 OK\r\n\r\n' >&3; exec sleep 60`,
		"no such stream":   `frame 2 9 x; exec sleep 60`,
		"input":            `frame 2 1 x; exec sleep 60`,
		"too much":         `big=$(printf %030000d 0); while :; do out $big; done`,
		"exit status":      `say '{"exit":1000}'; exec sleep 60`,
		"behind the end":   `frame 3 2 ''; out x; exec sleep 60`,
		"credit for input": `printf '\4\0\1\0\4\0\0\0\1\0\0\0' >&3; exec sleep 60`,
	} {
		fakeQEMU(t, script)
		o := testOptions()
		o.Accel = AccelQEMU
		out := &stuck{buffer{first: make(chan struct{})}, make(chan struct{})}
		began := time.Now()
		code, err := Run(o, Stdio{In: strings.NewReader(""), Out: out, Err: io.Discard})
		if code != ExitCrash || err == nil || !strings.Contains(err.Error(), "broke the rules") || time.Since(began) > 30*time.Second {
			t.Errorf("%s: Run = %d, %v, want status %d soon", name, code, err, ExitCrash)
		}
		close(out.go_)
	}
}

// TestRunChecked: a damaged image's machine is ended, and that is what is said,
// whether the machine would have run on or has crashed already.
func TestRunChecked(t *testing.T) {
	damage := errors.New("hello.img: the file was damaged")
	for _, script := range []string{"exec sleep 60", "exit 0"} {
		o := testOptions()
		o.Check = func() error { time.Sleep(50 * time.Millisecond); return damage }
		r := runFake(t, script, o, "", nil)
		if r.code != ExitUsage || r.err == nil || r.err.Error() != damage.Error() || r.elapsed > 20*time.Second {
			t.Errorf("%s: Run = %+v, want status 2 and the damage", script, r)
		}
	}
	o := testOptions()
	o.Check = func() error { return nil }
	if r := runFake(t, `say '{"exit":7}'`, o, "", nil); r.code != 7 || r.err != nil {
		t.Errorf("Run of a sound image = %+v, want status 7", r)
	}
}

// TestRunStarted: what lives is said to have started, once, however soon it
// ends; what QEMU refuses is not.
func TestRunStarted(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         int
	}{
		{"short", `say '{"ready":true}'; say '{"exit":0}'; exit 1`, 1},
		{"silent", `sleep 5.3; say '{"exit":0}'; exit 1`, 1},
		{"refused", `echo "no such option" >&2; exit 1`, 0},
		{"refused by a busy host", `sleep 1.3; echo "no such option" >&2; exit 1`, 0},
	} {
		n := 0
		o := testOptions()
		o.Started = func() { n++ }
		runFake(t, tt.script, o, "", nil)
		if n != tt.want {
			t.Errorf("%s: said to have started %d times, want %d", tt.name, n, tt.want)
		}
	}
}

func TestRunInput(t *testing.T) {
	o := testOptions()
	o.Interactive = true
	r := runFake(t, `out "$(hear)/"; out "$(hear)/"; say '{"exit":0}'; exit 1`, o, "one\ntwo\n", nil)
	if want := "2 one\ntwo/3 /"; r.code != 0 || r.err != nil || r.out != want {
		t.Errorf("Run = %+v, want output %q", r, want)
	}
}

// TestRunSignals: each signal is the program's, as itself, but for TERM, which
// asks it to end.
func TestRunSignals(t *testing.T) {
	for sig, want := range map[syscall.Signal]string{
		syscall.SIGTERM: `{"shutdown":true}`, syscall.SIGINT: `{"signal":"INT"}`, syscall.SIGHUP: `{"signal":"HUP"}`, syscall.SIGQUIT: `{"signal":"QUIT"}`,
		syscall.SIGUSR1: `{"signal":"USR1"}`, syscall.SIGUSR2: `{"signal":"USR2"}`, syscall.SIGWINCH: `{"signal":"WINCH"}`, syscall.SIGALRM: `{"signal":"ALRM"}`,
		syscall.SIGTSTP: `{"signal":"TSTP"}`, syscall.SIGCONT: `{"signal":"CONT"}`, syscall.SIGTTIN: `{"signal":"TTIN"}`, syscall.Signal(40): `{"signal":"40"}`,
	} {
		o := testOptions()
		o.StopTimeout = time.Minute
		r := runFake(t, `out $'up\n'; out "$(hear)"; say '{"exit":143}'; exit 255`, o, "", signalSelf(t, sig))
		if want := "up\n1 " + want; r.code != 143 || r.err != nil || r.out != want {
			t.Errorf("%v: Run = %+v, want status 143 and output %q", sig, r, want)
		}
	}
}

// TestRunNoSignals: without proxy, signals are the tool's own affair.
func TestRunNoSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		o := testOptions()
		o.StopTimeout, o.NoSignals = time.Minute, true
		r := runFake(t, `out $'up\n'; out "$(hear)"; say '{"exit":143}'; exit 255`, o, "", func() {
			signalSelf(t, syscall.SIGUSR1)()
			signalSelf(t, sig)()
		})
		if want := "up\n1 {\"shutdown\":true}"; r.code != 143 || r.err != nil || r.out != want {
			t.Errorf("%v: Run = %+v, want status 143 and output %q", sig, r, want)
		}
	}
}

func TestRunStopTimeout(t *testing.T) {
	o := testOptions()
	o.StopTimeout = 100 * time.Millisecond
	r := runFake(t, `out up; exec sleep 60`, o, "", signalSelf(t, syscall.SIGTERM))
	if r.code != ExitKilled || r.err == nil || r.elapsed > 30*time.Second {
		t.Errorf("Run = %+v, want status %d soon", r, ExitKilled)
	}
}

// TestRunImpatient: who asks again does not want to wait.
func TestRunImpatient(t *testing.T) {
	for _, signals := range [][]syscall.Signal{
		{syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGTERM, syscall.SIGINT}, {syscall.SIGINT, syscall.SIGINT, syscall.SIGINT},
	} {
		o := testOptions()
		o.StopTimeout = time.Minute
		r := runFake(t, `out up; exec sleep 60`, o, "", func() {
			for _, sig := range signals {
				signalSelf(t, sig)()
				time.Sleep(300 * time.Millisecond) // two at once may be delivered as one
			}
		})
		if r.code != ExitKilled || r.err == nil || r.elapsed > 30*time.Second {
			t.Errorf("%v: Run = %+v, want status %d soon", signals, r, ExitKilled)
		}
	}
}

// TestRunUnread is a run whose output nobody reads any more.
func TestRunUnread(t *testing.T) {
	fakeQEMU(t, `while :; do out more; done`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions()
	o.Accel = AccelQEMU
	if code, err := Run(o, Stdio{In: strings.NewReader(""), Out: w, Err: io.Discard}); code != 141 || err != nil {
		t.Errorf("Run = %d, %v, want 141", code, err)
	}
}

func TestRunMissingQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	code, err := Run(testOptions(), Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	e, ok := errors.AsType[*Error](err)
	if code != ExitUsage || !ok || !strings.Contains(e.Hint, qemu.Package) {
		t.Errorf("Run = %d, %+v, want status 2 and a hint with %s", code, err, qemu.Package)
	}
}

func TestRunTrace(t *testing.T) {
	fakeQEMU(t, `say '{"exit":0}'; exit 1`)
	o := testOptions()
	o.Accel, o.Trace = AccelQEMU, true
	var stderr bytes.Buffer
	if code, err := Run(o, Stdio{In: strings.NewReader(""), Out: io.Discard, Err: &stderr}); code != 0 || err != nil {
		t.Fatalf("Run = %d, %v", code, err)
	}
	if got := stderr.String(); !strings.HasPrefix(got, qemu.Binary+" -M ") || strings.Count(got, "\n") != 1 {
		t.Errorf("trace = %q, want one command line", got)
	}
}

// TestNotices checks that what the guest's kernel says comes out as lines of
// ours, with nothing in them that a terminal would act on, and not without end.
func TestNotices(t *testing.T) {
	r := runFake(t, `say '{"notice":"out of memory"}'; say '{"notice":"a\u001b[2Jb\nc"}'; say '{"exit":4}'; exit 9`, testOptions(), "", nil)
	if want := "kiln: out of memory\nkiln: a\ufffd[2Jb\ufffdc\n"; r.code != 4 || r.stderr != want {
		t.Errorf("Run = %+v, want the notices %q", r, want)
	}
}

// FuzzLink: whatever the guest sends, the host keeps no more of it than the
// windows and some notices.
func FuzzLink(f *testing.F) {
	f.Add(channel.AppendFrame(channel.AppendCredit(nil, channel.Stdin, 1), channel.KindData, channel.Stdout, []byte("x")))
	f.Add(channel.AppendFrame(nil, channel.KindMessage, 0, []byte(`{"exit":3}`)))
	f.Fuzz(func(t *testing.T, in []byte) {
		failed := make(chan error, 2)
		out, err := output.New(io.Discard, failed, false), output.New(io.Discard, failed, true)
		l := newLink(&conversation{bytes.NewReader(in)}, out, err)
		l.serve()
		for _, o := range []*output.Output{out, err} {
			o.Close()
			<-o.Done()
		}
		if l.exit != nil && (*l.exit < 0 || *l.exit > 255) {
			t.Errorf("exit status %d", *l.exit)
		}
	})
}

// conversation is a connection that takes all that is written.
type conversation struct{ io.Reader }

func (conversation) Write(b []byte) (int, error) { return len(b), nil }
func (conversation) Close() error                { return nil }
