package main

import (
	"regexp"
	"testing"

	"kiln/test/outcomes"
)

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		only    []string
		fast    bool
		n       int
		unknown string
	}{
		{nil, false, len(packages), ""},
		{[]string{"sync", "time"}, false, 2, ""},
		{[]string{"sync", "time"}, true, 2, ""},
		{[]string{"net/http"}, false, 0, "net/http"},
	} {
		got, unknown := choose(packages, tt.only, tt.fast)
		if len(got) != tt.n || unknown != tt.unknown {
			t.Errorf("choose(%v, %v) = %d packages, %q, want %d, %q", tt.only, tt.fast, len(got), unknown, tt.n, tt.unknown)
		}
	}
	if fast, _ := choose(packages, nil, true); 3*len(fast) < len(packages) {
		t.Errorf("the fast third has %d of %d packages", len(fast), len(packages))
	}
}

// TestSkips checks the lists that are built in: they parse, and they name only
// packages of their tables.
func TestSkips(t *testing.T) {
	for _, list := range []struct {
		file, text string
		table      []pkg
	}{{"skips.txt", skipsText, packages}, {"exceptions.txt", exceptionsText, programs}} {
		skips, err := outcomes.ParseExceptions(list.text)
		if err != nil {
			t.Fatalf("%s: %v", list.file, err)
		}
		for name := range skips {
			if _, unknown := choose(list.table, []string{name}, false); unknown != "" {
				t.Errorf("%s names %s, which is not in the table", list.file, name)
			}
		}
	}
}

func TestSkipPattern(t *testing.T) {
	got, want := skipPattern([]string{"TestA", "TestB/x.y"}), `^TestA$|^TestB$/^x\.y$`
	if got != want {
		t.Errorf("skipPattern = %s, want %s", got, want)
	}
	if _, err := regexp.Compile(got); err != nil {
		t.Error(err)
	}
}
