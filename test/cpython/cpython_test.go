package main

import (
	"context"
	"os"
	"testing"
	"time"

	"kiln/test/kilncmd"
	"kiln/test/outcomes"
)

// TestSame runs modules on both sides and expects the same outcomes: the fast ones,
// or with KILN_LONG all, and those about files in every place.
func TestSame(t *testing.T) {
	kiln := kilncmd.Path(t)
	if os.Getuid() != 0 {
		t.Skip("the tests are root in a guest, so they are compared with root's outcomes")
	}
	long := os.Getenv("KILN_LONG") != ""
	python, err := findPython()
	if err != nil {
		t.Fatal(err)
	}
	o := options{machine: machine{python: python, kiln: kiln, memory: 1024, accel: "auto"}, timeout: 20 * time.Minute}
	img, err := o.machine.bake(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := choose(nil, long)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range chosen {
		for place := range places {
			if !(m.fast || long) || place != "tmp" && !(m.files && long) {
				continue
			}
			o.place = place
			t.Run(m.name+"/"+place, func(t *testing.T) {
				r, err := both(context.Background(), m, img, o)
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
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		names []string
		all   bool
		want  int // modules, 0: an error
	}{
		{nil, true, len(modules)},
		{nil, false, 8},
		{[]string{"test_os", "test_ssl"}, false, 2},
		{[]string{"test_none"}, false, 0},
	} {
		got, err := choose(tt.names, tt.all)
		if len(got) != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("choose(%q, %v) = %d modules, %v, want %d", tt.names, tt.all, len(got), err, tt.want)
		}
	}
}

// TestExceptions checks the list that is built in: it parses, and names only
// modules of the table.
func TestExceptions(t *testing.T) {
	exceptions, err := outcomes.ParseExceptions(exceptionsText)
	if err != nil {
		t.Fatal(err)
	}
	for name := range exceptions {
		if _, err := choose([]string{name}, false); err != nil {
			t.Errorf("exceptions.txt: %v", err)
		}
	}
}
