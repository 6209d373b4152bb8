// Package outcomes compares how the tests of a suite of others end on this machine
// and in a guest: it reads the outcomes from what both runs print, and the tests
// that cannot end the same from a list with reasons.
package outcomes

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// An Outcome is how one test ended, in the words of Go's package testing.
type Outcome string

// The outcomes.
const (
	Pass Outcome = "PASS"
	Fail Outcome = "FAIL"
	Skip Outcome = "SKIP"
)

// A Result is what one run reported: the outcome of each test by name.
type Result map[string]Outcome

// endLine is what a test prints at its end. The line begins with a SYN byte, so
// that output without a newline before it, or output that looks the same, does not
// confuse. Go's tests print it with -test.v=test2json.
var endLine = regexp.MustCompile(`\x16 *--- (PASS|FAIL|SKIP): (\S+) \([0-9.]+s\)`)

// Parse reads the output of a run.
func Parse(output []byte) Result {
	r := Result{}
	for _, m := range endLine.FindAllSubmatch(output, -1) {
		r[string(m[2])] = Outcome(m[1])
	}
	return r
}

// count returns how many tests ended with o.
func (r Result) count(o Outcome) int {
	n := 0
	for _, got := range r {
		if got == o {
			n++
		}
	}
	return n
}

// counts is the table's form: passed/failed/skipped.
func (r Result) counts() string {
	return fmt.Sprintf("%d/%d/%d", r.count(Pass), r.count(Fail), r.count(Skip))
}

// A difference is a test that ended differently in the two runs. The outcome
// is empty where the test is missing.
type difference struct {
	name        string
	linux, kiln Outcome
}

func (d difference) String() string {
	word := func(o Outcome) string {
		if o == "" {
			return "missing"
		}
		return string(o)
	}
	return fmt.Sprintf("%s: Linux %s, Kiln %s", d.name, word(d.linux), word(d.kiln))
}

// compare lists the tests that ended differently, sorted by name.
func compare(linux, kiln Result) []difference {
	var diffs []difference
	for name, l := range linux {
		if k := kiln[name]; k != l {
			diffs = append(diffs, difference{name, l, k})
		}
	}
	for name, k := range kiln {
		if _, ok := linux[name]; !ok {
			diffs = append(diffs, difference{name, "", k})
		}
	}
	slices.SortFunc(diffs, func(a, b difference) int { return strings.Compare(a.name, b.name) })
	return diffs
}

// Broken reports why output is not that of a complete run, "" if it is: a run ends
// with a line PASS or FAIL behind a SYN byte.
func Broken(output []byte) string {
	if bytes.Contains(output, []byte("\x16PASS")) || bytes.Contains(output, []byte("\x16FAIL")) {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	return fmt.Sprintf("BROKE OFF: %.200s", lines[len(lines)-1])
}
