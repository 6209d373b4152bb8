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
// the console, 3 is the control channel, 4 the run configuration.
func fakeQEMU(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, qemu.Binary), []byte("#!/bin/bash\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
}

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
	code, err := Run(o, Stdio{strings.NewReader(in), out, &stderr})
	if stderr.Len() > 0 {
		t.Logf("standard error: %s", &stderr)
	}
	return result{code, err, out.String(), time.Since(began)}
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
	r := runFake(t, `printf 'a\nb\r\n\033'; cat /proc/self/fd/4; echo 'junk' >&3; echo '{"exit":7}' >&3; exit 15`, testOptions(), "unread", nil)
	if r.code != 7 || r.err != nil || r.out != "a\nb\r\n\033{}" {
		t.Errorf("Run = %+v, want status 7 and the output unchanged", r)
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
	if r := runFake(t, `echo '{"exit":7}' >&3`, o, "", nil); r.code != 7 || r.err != nil {
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
		{"short", `echo hi; echo '{"exit":0}' >&3; exit 1`, 1},
		{"silent", `sleep 1.3; echo '{"exit":0}' >&3; exit 1`, 1},
		{"refused", `echo "no such option" >&2; exit 1`, 0},
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
	// The input comes only after the guest has said that it is ready, however
	// long a busy host takes to bring it so far.
	r := runFake(t, `
		if read -t 1.5 early; then echo "early $early"; fi
		echo '{"ready":true}' >&3
		read -t 9 a; read -t 9 b; read -t 9 eof <&3; echo "$a/$b/$eof"
		echo '{"exit":0}' >&3; exit 1`, o, "one\ntwo\n", nil)
	if want := "one/two/{\"eof\":true,\"sent\":8}\n"; r.code != 0 || r.err != nil || r.out != want {
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
		r := runFake(t, `echo up; echo '{"ready":true}' >&3; read order <&3; echo "$order"; echo '{"exit":143}' >&3; exit 255`, o, "", signalSelf(t, sig))
		if want := "up\n" + want + "\n"; r.code != 143 || r.err != nil || r.out != want {
			t.Errorf("%v: Run = %+v, want status 143 and output %q", sig, r, want)
		}
	}
}

// TestRunNoSignals: without proxy, signals are the tool's own affair.
func TestRunNoSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		o := testOptions()
		o.StopTimeout, o.NoSignals = time.Minute, true
		r := runFake(t, `echo up; read order <&3; echo "$order"; echo '{"exit":143}' >&3; exit 255`, o, "", func() {
			signalSelf(t, syscall.SIGUSR1)()
			signalSelf(t, sig)()
		})
		if want := "up\n{\"shutdown\":true}\n"; r.code != 143 || r.err != nil || r.out != want {
			t.Errorf("%v: Run = %+v, want status 143 and output %q", sig, r, want)
		}
	}
}

func TestRunStopTimeout(t *testing.T) {
	o := testOptions()
	o.StopTimeout = 100 * time.Millisecond
	r := runFake(t, `echo up; exec sleep 60`, o, "", signalSelf(t, syscall.SIGTERM))
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
		r := runFake(t, `echo up; exec sleep 60`, o, "", func() {
			for _, sig := range signals {
				signalSelf(t, sig)()
				time.Sleep(50 * time.Millisecond) // two at once may be delivered as one
			}
		})
		if r.code != ExitKilled || r.err == nil || r.elapsed > 30*time.Second {
			t.Errorf("%v: Run = %+v, want status %d soon", signals, r, ExitKilled)
		}
	}
}

func TestHurry(t *testing.T) {
	var h hurry
	for i, tt := range []struct {
		sig  syscall.Signal
		ms   int
		want bool
	}{
		{syscall.SIGINT, 0, false}, {syscall.SIGINT, 1500, false}, {syscall.SIGINT, 3000, false}, {syscall.SIGHUP, 3100, false},
		{syscall.SIGINT, 3400, true}, {syscall.SIGINT, 10000, false},
	} {
		if got := h.see(tt.sig, time.UnixMilli(int64(tt.ms))); got != tt.want {
			t.Errorf("signal %d, %v at %d ms: %v, want %v", i, tt.sig, tt.ms, got, tt.want)
		}
	}
}

// TestRunUnread is a run whose output nobody reads any more.
func TestRunUnread(t *testing.T) {
	fakeQEMU(t, `while :; do echo more; done`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions()
	o.Accel = AccelQEMU
	if code, err := Run(o, Stdio{strings.NewReader(""), w, io.Discard}); code != 141 || err != nil {
		t.Errorf("Run = %d, %v, want 141", code, err)
	}
}

func TestRunMissingQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	code, err := Run(testOptions(), Stdio{strings.NewReader(""), io.Discard, io.Discard})
	e, ok := errors.AsType[*Error](err)
	if code != ExitUsage || !ok || !strings.Contains(e.Hint, qemu.Package) {
		t.Errorf("Run = %d, %+v, want status 2 and a hint with %s", code, err, qemu.Package)
	}
}

func TestRunTrace(t *testing.T) {
	fakeQEMU(t, `echo '{"exit":0}' >&3; exit 1`)
	o := testOptions()
	o.Accel, o.Trace = AccelQEMU, true
	var stderr bytes.Buffer
	if code, err := Run(o, Stdio{strings.NewReader(""), io.Discard, &stderr}); code != 0 || err != nil {
		t.Fatalf("Run = %d, %v", code, err)
	}
	if got := stderr.String(); !strings.HasPrefix(got, qemu.Binary+" -M ") || strings.Count(got, "\n") != 1 {
		t.Errorf("trace = %q, want one command line", got)
	}
}

func TestEscape(t *testing.T) {
	const k = "\x1d"
	for _, tt := range []struct {
		typed string // reads are separated by spaces
		want  bool
	}{
		{k + k + k, true},
		{k + " " + k + " " + k, true},
		{"a" + k + k + k + "b", true},
		{k + k + "x" + k, false},
		{k + k + " x " + k, false},
		{"abc", false},
	} {
		var e escape
		got := false
		for _, chunk := range strings.Fields(tt.typed) {
			got = e.see([]byte(chunk)) || got
		}
		if got != tt.want {
			t.Errorf("escape of %q = %v, want %v", tt.typed, got, tt.want)
		}
	}
}

// TestControlReports feeds the channel what a guest may write, good and bad.
func TestControlReports(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string
	}{
		{"", "<nil>"},
		{`{"exit":3}` + "\n", "3"},
		{`{"ready":true}` + "\n" + `{"exit":0}` + "\n" + `{"exit":5}` + "\n", "0"},
		{"\x00\xff\n[]\n" + `{"exit":"x"}` + "\n" + `{"exit":4}`, "4"},
		{`{"exit`, "<nil>"},
		{strings.Repeat("x", 2*maxReport), "<nil>"},
	} {
		c := newControl(io.Discard)
		c.read(strings.NewReader(tt.in))
		got := "<nil>"
		if c.exit != nil {
			got = fmt.Sprint(*c.exit)
		}
		if got != tt.want {
			t.Errorf("exit after %.40q = %s, want %s", tt.in, got, tt.want)
		}
	}
}

// TestControlNotices checks that what the guest's kernel says comes out as
// lines of ours, with nothing in them that a terminal would act on.
func TestControlNotices(t *testing.T) {
	var out strings.Builder
	c := newControl(&out)
	c.read(strings.NewReader(`{"notice":"out of memory"}` + "\n" + `{"notice":"a\u001b[2Jb\nc"}` + "\n"))
	if got, want := out.String(), "kiln: out of memory\nkiln: a\ufffd[2Jb\ufffdc\n"; got != want {
		t.Errorf("notices printed %q, want %q", got, want)
	}
}
