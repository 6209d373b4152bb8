package main

import (
	"os"
	"testing"
	"time"

	"kiln/test/kilncmd"
	"kiln/test/outcomes"
)

// TestFastThird is the fast third of the table, a subtest for each package.
func TestFastThird(t *testing.T) {
	chosen, _ := choose(packages, nil, true)
	same(t, chosen, skipsText, options{})
}

// TestPrograms runs the tests of packages as ordinary programs: the fast ones, or
// with KILN_LONG all.
func TestPrograms(t *testing.T) {
	chosen, _ := choose(programs, nil, os.Getenv("KILN_LONG") == "")
	same(t, chosen, exceptionsText, options{programs: true})
}

// same runs packages on both sides, without the tests that a list names, and
// expects the same outcomes.
func same(t *testing.T, chosen []pkg, except string, o options) {
	o.machine = machine{kiln: kilncmd.Path(t), memory: 1024, accel: "auto"}
	o.timeout = 9 * time.Minute
	skips, err := outcomes.ParseExceptions(except)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range chosen {
		p.skip = skips[p.path]
		t.Run(p.path, func(t *testing.T) {
			r, err := both(p, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			if got := r.Verdict(); got != "same" {
				t.Errorf("outcomes are %s", got)
			}
		})
	}
}
