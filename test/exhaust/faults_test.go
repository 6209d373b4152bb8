package exhaust_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// shaken are the modes of the ordinary TestFaults, one for each way to a frame.
var shaken = strings.Fields(`
	touch read-memfd cow-50 memfd-write page-tables regions threads
	fork-touch exec-args tmpfs-files ext4-write pipes-full pairs-stream timers
`)

// TestFaults has promises of memory fail at random that could be kept. Programs
// get an errno, or are killed with a line, process 1 among them; the kernel goes
// on for as long as there is one, and took no frame that it had not promised.
func TestFaults(t *testing.T) {
	r := newRig(t)
	modes, rates := shaken, []int{1000}
	if os.Getenv("KILN_LONG") != "" {
		modes, rates = r.modes(t), []int{20000, 1000}
	}
	for _, every := range rates {
		t.Run(fmt.Sprintf("one in %d", every), func(t *testing.T) {
			m := machine{memory: 128, limit: time.Second, faults: every}
			ended, left := 0, modes
			for len(left) > 0 {
				got := r.boot(t, m, left)
				for _, res := range got {
					switch wrong, why := res.shaken(), known[res.mode]; {
					case wrong == "":
					case why != "":
						t.Logf("%s: known to fail (%s):\n\t%s", res.mode, why, wrong)
					default:
						t.Errorf("%s:\n\t%s", res.mode, wrong)
					}
				}
				if n := len(got); n > 0 && got[n-1].line == "" {
					ended++
				}
				// Process 1 may be killed before its first mode.
				left = left[max(1, len(got)):]
			}
			t.Logf("%d modes, process 1 was killed in %d", len(modes), ended)
		})
	}
}

// belowLine is the kernel's line about frames that it took without a promise.
var belowLine = regexp.MustCompile(`memory: (\d+) frames for programs' pages below the floor`)

// below returns how many frames the kernel says at its end that it took below
// the floor, "" if it says nothing.
func (r result) below() string {
	for _, line := range r.messages {
		if m := belowLine.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return ""
}

// shaken says what should not have happened in a machine with faults, "" if
// nothing. All ends of programs are allowed.
func (r result) shaken() string {
	if below := r.below(); below != "" && below != "0" {
		return below + " frames were taken below the floor"
	}
	killed := slices.ContainsFunc(r.killed, func(v victim) bool { return v.process == 1 })
	if r.line != "" || killed && r.below() == "0" {
		return ""
	}
	return strings.Join(append([]string{r.end}, r.messages[max(0, len(r.messages)-40):]...), "\n\t")
}
