package main

import (
	"testing"
	"time"

	"kiln/test/kilncmd"
)

// TestFastThird is the fast third of the table, a subtest for each package.
func TestFastThird(t *testing.T) {
	kiln := kilncmd.Path(t)
	skips, err := parseSkips(skipsText)
	if err != nil {
		t.Fatal(err)
	}
	o := options{machine: machine{kiln: kiln, memory: 1024, accel: "auto"}, timeout: 5 * time.Minute}
	chosen, _ := choose(nil, true)
	for _, p := range chosen {
		p.skip = skips[p.path]
		t.Run(p.path, func(t *testing.T) {
			r, err := both(p, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			if got := r.verdict(); got != "same" {
				t.Errorf("outcomes are %s", got)
			}
		})
	}
}
