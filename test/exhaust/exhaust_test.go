// Package exhaust_test exhausts a machine: each of its modes (src) makes one
// kind of object without end. After each, the program that started it goes on
// in the same machine, and either the mode was told by an errno that there is no
// more, or exactly its own processes were killed, with a line that says so. All
// of its memory comes back.
//
// The ordinary test runs some of the modes at 64 MB, each for a short time.
// KILN_LONG=1 runs all, gives them longer, also at 128 and 512 MB, and runs them
// as a user without rights as well.
//
//	go test ./test/exhaust -run Modes -modes 'cow-.*' -memory 128 -v
package exhaust_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	only   = flag.String("modes", "", "run only modes that this regular expression matches whole")
	memory = flag.Int("memory", 0, "run them in a machine of this many MB only")
	limit  = flag.Duration("limit", 0, "how long each mode may run")
	user   = flag.Int("user", 0, "the user that runs the modes, with -memory")
)

// machines returns the machines that the modes are run in.
func machines() []machine {
	if *memory != 0 {
		return []machine{{memory: *memory, limit: max(*limit, 2*time.Second), user: *user}}
	}
	if os.Getenv("KILN_LONG") == "" {
		short := max(*limit, 2*time.Second)
		if *only != "" {
			return []machine{{memory: 64, limit: short}}
		}
		// A thousand processes are another thing than thirty.
		return []machine{{memory: 64, limit: short}, {memory: 512, limit: 3 * short, only: []string{"fork-bomb"}}}
	}
	return []machine{
		{memory: 64, limit: 4 * time.Second}, {memory: 64, limit: 3 * time.Second, user: 1000},
		{memory: 128, limit: 6 * time.Second}, {memory: 512, limit: 12 * time.Second},
	}
}

// ordinary are the modes of the ordinary test: one or two of each kind.
var ordinary = strings.Fields(`
	touch stack read-zero read-memfd recv vm-writev cow-50 cow-many
	memfd-map memfd-write posix-shm shm-removed page-tables regions
	threads thread-stacks fork-bomb fork-touch zombies exec-args
	tmpfs-all tmpfs-files root-files ext4-write mounts
	pipes-full splice dup epoll-watches inotify-events ptys
	pairs-stream in-flight tcp-full time-wait half-open udp-full
	sysv-messages timers-fired sigqueue seccomp
`)

func TestModes(t *testing.T) {
	r := newRig(t)
	modes := r.modes(t)
	for name := range known {
		if !slices.Contains(modes, name) {
			t.Errorf("the list of known failures has %s, which is no mode", name)
		}
	}
	for _, name := range ordinary {
		if !slices.Contains(modes, name) {
			t.Errorf("the list of ordinary modes has %s, which is no mode", name)
		}
	}
	switch {
	case *only != "":
		match := regexp.MustCompile("^(?:" + *only + ")$")
		modes = slices.DeleteFunc(modes, func(m string) bool { return !match.MatchString(m) })
	case os.Getenv("KILN_LONG") == "":
		modes = slices.DeleteFunc(modes, func(m string) bool { return !slices.Contains(ordinary, m) })
	}
	failed := map[string]bool{}
	for _, m := range machines() {
		t.Run(m.String(), func(t *testing.T) {
			good := 0
			modes := modes
			if len(m.only) > 0 {
				modes = m.only
			}
			for _, got := range r.run(t, m, modes) {
				wrong := got.wrong()
				switch why := known[got.mode]; {
				case wrong == "":
					good++
				case why != "":
					failed[got.mode] = true
					t.Logf("%s: known to fail (%s):\n\t%s", got.mode, why, wrong)
				default:
					t.Errorf("%s:\n\t%s", got.mode, wrong)
				}
			}
			t.Logf("%v: %d of %d modes hold", m, good, len(modes))
		})
	}
	for _, name := range modes {
		if known[name] != "" && !failed[name] {
			t.Logf("%s is known to fail and has held: take it off the list if it does so always", name)
		}
	}
}
