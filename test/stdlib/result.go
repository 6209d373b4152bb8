package main

import (
	"fmt"
	"regexp"
	"slices"
)

// An outcome is how one test ended, in the words of package testing.
type outcome string

const (
	pass outcome = "PASS"
	fail outcome = "FAIL"
	skip outcome = "SKIP"
)

// A result is what one run of a test binary reported: the outcome of each
// test, subtest and example, by name.
type result map[string]outcome

// endLine is what a test prints at its end. With -test.v=test2json the line
// begins with a SYN byte, so that output without a newline before it, or
// output that looks the same, does not confuse.
var endLine = regexp.MustCompile(`\x16 *--- (PASS|FAIL|SKIP): (\S+) \([0-9.]+s\)`)

// parse reads the output of a test binary that ran with -test.v=test2json.
func parse(output []byte) result {
	r := result{}
	for _, m := range endLine.FindAllSubmatch(output, -1) {
		r[string(m[2])] = outcome(m[1])
	}
	return r
}

// count returns how many tests ended with o.
func (r result) count(o outcome) int {
	n := 0
	for _, got := range r {
		if got == o {
			n++
		}
	}
	return n
}

// counts is the table's form: passed/failed/skipped.
func (r result) counts() string {
	return fmt.Sprintf("%d/%d/%d", r.count(pass), r.count(fail), r.count(skip))
}

// A difference is a test that ended differently in the two runs. The outcome
// is empty where the test is missing.
type difference struct {
	name         string
	linux, metal outcome
}

func (d difference) String() string {
	word := func(o outcome) string {
		if o == "" {
			return "missing"
		}
		return string(o)
	}
	return fmt.Sprintf("%s: Linux %s, Kiln %s", d.name, word(d.linux), word(d.metal))
}

// compare lists the tests that ended differently, sorted by name.
func compare(linux, metal result) []difference {
	var diffs []difference
	for name, l := range linux {
		if m := metal[name]; m != l {
			diffs = append(diffs, difference{name, l, m})
		}
	}
	for name, m := range metal {
		if _, ok := linux[name]; !ok {
			diffs = append(diffs, difference{name, "", m})
		}
	}
	slices.SortFunc(diffs, func(a, b difference) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return diffs
}
