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

func TestSignalNumber(t *testing.T) {
	for name, want := range map[string]linux.Signal{
		"INT": linux.SIGINT, "SIGHUP": linux.SIGHUP, "10": linux.SIGUSR1, "64": 64, "65": 0, "-1": 0, "0": 0, "NOSUCH": 0, "": 0,
	} {
		if got := signalNumber(name); got != want {
			t.Errorf("signalNumber(%q) = %d, want %d", name, got, want)
		}
	}
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
	ls, err := initLimits(512, 50)
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
