package main

import (
	"maps"
	"regexp"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const out = "\x16=== RUN   TestA\n\x16=== RUN   TestA/x_y\nprinted\x16    --- PASS: TestA/x_y (0.01s)\n" +
		"\x16--- FAIL: TestA (0.50s)\r\n--- PASS: TestFaked (0.00s)\n\x16--- SKIP: TestB (12.00s)\n\x16FAIL\n"
	got := parse([]byte(out))
	want := result{"TestA": fail, "TestA/x_y": pass, "TestB": skip}
	if !maps.Equal(got, want) {
		t.Errorf("parse = %v, want %v", got, want)
	}
	if got, want := got.counts(), "1/1/1"; got != want {
		t.Errorf("counts = %s, want %s", got, want)
	}
}

func TestCompare(t *testing.T) {
	linux := result{"A": pass, "B": pass, "C": skip}
	metal := result{"A": pass, "B": fail, "D": pass}
	got := compare(linux, metal)
	want := []difference{{"B", pass, fail}, {"C", skip, ""}, {"D", "", pass}}
	if !slices.Equal(got, want) {
		t.Errorf("compare = %v, want %v", got, want)
	}
	if got, want := want[1].String(), "C: Linux SKIP, Kiln missing"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct{ out, want string }{
		{"\x16--- PASS: A (0.00s)\n\x16PASS\n", ""},
		{"\x16--- FAIL: A (0.00s)\n\x16FAIL\n", ""},
		{"\x16--- PASS: A (0.00s)\nkiln run: error: triple fault\n", "BROKE OFF: kiln run: error: triple fault"},
		{"", "BROKE OFF: "},
	} {
		if got := broken([]byte(tt.out)); got != tt.want {
			t.Errorf("broken(%q) = %q, want %q", tt.out, got, tt.want)
		}
	}
}

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
		skips, err := parseSkips(list.text)
		if err != nil {
			t.Fatalf("%s: %v", list.file, err)
		}
		for name := range skips {
			if _, unknown := choose(list.table, []string{name}, false); unknown != "" {
				t.Errorf("%s names %s, which is not in the table", list.file, name)
			}
		}
	}
	if _, err := parseSkips("sync TestX"); err == nil {
		t.Error("parseSkips took a line without a reason")
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
