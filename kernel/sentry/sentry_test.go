package sentry

import (
	crand "crypto/rand"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/limits"

	"kiln/image"
	"kiln/kernel/machine"
	"kiln/kernel/sentry/platform"
)

func TestDescribeExit(t *testing.T) {
	fault := &platform.Fault{Signal: unix.SIGSEGV, Addr: 0, IP: 0x401234}
	for _, tt := range []struct {
		name  string
		ws    linux.WaitStatus
		fault *platform.Fault
		want  Exit
	}{
		{"success", linux.WaitStatusExit(0), nil, Exit{Code: 0}},
		{"failure", linux.WaitStatusExit(3), fault, Exit{Code: 3}},
		{"nil dereference", linux.WaitStatusTerminationSignal(linux.SIGSEGV), fault,
			Exit{Code: 139, Reason: "program killed by SIGSEGV (address 0x0, instruction 0x401234)"}},
		{"kill -SEGV", linux.WaitStatusTerminationSignal(linux.SIGSEGV), nil,
			Exit{Code: 139, Reason: "program killed by SIGSEGV"}},
		{"killed later", linux.WaitStatusTerminationSignal(linux.SIGKILL), fault,
			Exit{Code: 137, Reason: "program killed by SIGKILL"}},
		{"real-time signal", linux.WaitStatusTerminationSignal(40), nil,
			Exit{Code: 168, Reason: "program killed by signal 40"}},
	} {
		if got := describeExit(tt.ws, tt.fault); got != tt.want {
			t.Errorf("%s: describeExit = %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestEntropy: a read of up to a page is whole, however little the device gives
// at a time.
func TestEntropy(t *testing.T) {
	endless := iotest.OneByteReader(crand.Reader)
	for _, n := range []int{0, 1, machine.PageSize} {
		if got, err := (entropy{endless}).Read(make([]byte, n)); got != n || err != nil {
			t.Errorf("Read of %d bytes = %d, %v", n, got, err)
		}
	}
	if n, err := (entropy{iotest.ErrReader(io.ErrClosedPipe)}).Read(make([]byte, 8)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Read from a broken device = %d, %v", n, err)
	}
}

func TestEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name     string
		env      []string
		terminal bool
		want     []string
	}{
		{"empty", nil, false, []string{defaultEnv[0], "HOME=/root"}},
		{"terminal", []string{"PATH=/x", "HOME=/y"}, true, []string{"PATH=/x", "HOME=/y", "TERM=linux"}},
		{"name is no prefix", []string{"PATHS=/x", "HOME="}, false, []string{"PATHS=/x", "HOME=", defaultEnv[0]}},
	} {
		if got := environment(tt.env, tt.terminal); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: environment = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestParseRequest(t *testing.T) {
	for _, tt := range []struct {
		line string
		want request
		ok   bool
	}{
		{`{"shutdown":true}`, request{Shutdown: true}, true},
		{`{"winsize":[24,80]}`, request{Winsize: []uint16{24, 80}}, true},
		{`{"signal":"INT"}`, request{Signal: "INT"}, true},
		{`{"signal":"SIGHUP"}`, request{Signal: "SIGHUP"}, true},
		{`{"eof":true}`, request{EOF: true}, true},
		{`{"eof":true,"sent":12}`, request{EOF: true, Sent: 12}, true},
		{`{}`, request{}, false},
		{`{"shutdown":true,"eof":true}`, request{}, false},
		{`{"winsize":[24]}`, request{}, false},
		{`{"winsize":[24,70000]}`, request{}, false},
		{`{"signal":"NOSUCH"}`, request{}, false},
		{`{"signal":"10"}`, request{Signal: "10"}, true},
		{`{"signal":"64"}`, request{Signal: "64"}, true},
		{`{"signal":"65"}`, request{}, false},
		{`{"signal":"-1"}`, request{}, false},
		{`shutdown`, request{}, false},
	} {
		got, err := parseRequest([]byte(tt.line))
		if (err == nil) != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseRequest(%s) = %+v, %v, want %+v, success %v", tt.line, got, err, tt.want, tt.ok)
		}
	}
}

// TestInputCount lets the end of input overtake the input.
func TestInputCount(t *testing.T) {
	var late, early, none inputCount
	if late.add(3) || late.end(5) || late.add(1) || !late.add(1) {
		t.Error("the end came before the last bytes: it counts wrongly")
	}
	if early.add(3) || early.add(2) || !early.end(5) {
		t.Error("the end came after the last bytes: it counts wrongly")
	}
	if !none.end(0) {
		t.Error("no input is not all of it")
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"winsize":[24,80]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err == nil && r.Winsize != nil && len(r.Winsize) != 2 {
			t.Errorf("parseRequest(%q) let through a window size of %d numbers", line, len(r.Winsize))
		}
	})
}

// TestInitCredentials: who is not root has no capabilities, and root fewer with
// a limit of processes.
func TestInitCredentials(t *testing.T) {
	userns := auth.NewRootUserNamespace()
	for _, tt := range []struct {
		name    string
		limited bool
		as      *image.User
		uid     auth.KUID
		admin   bool // CAP_SYS_ADMIN
		groups  int
	}{
		{"root", false, nil, 0, true, 0},
		{"root with a limit", true, nil, 0, false, 0},
		{"a user", false, &image.User{UID: 5, GID: 6, Groups: []uint32{6, 7}}, 5, false, 2},
		{"root by number", false, &image.User{GID: 6}, 0, true, 0},
	} {
		c := initCredentials(userns, tt.limited, tt.as)
		if got := c.HasCapabilityIn(linux.CAP_SYS_ADMIN, userns); c.EffectiveKUID != tt.uid || got != tt.admin || len(c.ExtraKGIDs) != tt.groups {
			t.Errorf("%s: user %d, CAP_SYS_ADMIN %v, %d groups, want %d, %v, %d", tt.name, c.EffectiveKUID, got, len(c.ExtraKGIDs), tt.uid, tt.admin, tt.groups)
		}
	}
}

func TestInitLimits(t *testing.T) {
	ls, err := initLimits(50)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ls.Get(limits.ProcessCount), (limits.Limit{Cur: 50, Max: 50}); got != want {
		t.Errorf("process limit = %+v, want %+v", got, want)
	}
	if got := ls.Get(limits.AS); got.Cur != limits.Infinity {
		t.Errorf("address space limit = %+v, want none", got)
	}
}
