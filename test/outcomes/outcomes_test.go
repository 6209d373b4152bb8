package outcomes

import (
	"maps"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const out = "\x16=== RUN   TestA\n\x16=== RUN   TestA/x_y\nprinted\x16    --- PASS: TestA/x_y (0.01s)\n" +
		"\x16--- FAIL: TestA (0.50s)\r\n--- PASS: TestFaked (0.00s)\n\x16--- SKIP: TestB (12.00s)\n\x16FAIL\n"
	got := Parse([]byte(out))
	want := Result{"TestA": Fail, "TestA/x_y": Pass, "TestB": Skip}
	if !maps.Equal(got, want) {
		t.Errorf("Parse = %v, want %v", got, want)
	}
	if got, want := got.counts(), "1/1/1"; got != want {
		t.Errorf("counts = %s, want %s", got, want)
	}
}

func TestCompare(t *testing.T) {
	linux := Result{"A": Pass, "B": Pass, "C": Skip}
	kiln := Result{"A": Pass, "B": Fail, "D": Pass}
	got := compare(linux, kiln)
	want := []difference{{"B", Pass, Fail}, {"C", Skip, ""}, {"D", "", Pass}}
	if !slices.Equal(got, want) {
		t.Errorf("compare = %v, want %v", got, want)
	}
	if got, want := want[1].String(), "C: Linux SKIP, Kiln missing"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}

func TestVerdict(t *testing.T) {
	a, b := Result{"A": Pass}, Result{"A": Fail}
	for _, tt := range []struct {
		row  Row
		want string
	}{
		{Row{Linux: a, Kiln: a}, "same"},
		{Row{Linux: a, Kiln: b}, "DIFFERENT"},
		{Row{Linux: a, Kiln: a, Broken: "BROKE OFF: x"}, "BROKE OFF: x"},
	} {
		if got := tt.row.Verdict(); got != tt.want {
			t.Errorf("Verdict of %v = %s, want %s", tt.row, got, tt.want)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct{ out, want string }{
		{"\x16--- PASS: A (0.00s)\n\x16PASS\n", ""},
		{"\x16--- FAIL: A (0.00s)\n\x16FAIL\n", ""},
		{"\x16--- PASS: A (0.00s)\nkiln run: error: triple fault\n", "BROKE OFF: kiln run: error: triple fault"},
		{"", "BROKE OFF: "},
	} {
		if got := Broken([]byte(tt.out)); got != tt.want {
			t.Errorf("Broken(%q) = %q, want %q", tt.out, got, tt.want)
		}
	}
}

func TestParseExceptions(t *testing.T) {
	got, err := ParseExceptions("# package test reason\n\nos TestA has none\nos  TestB/x  has none, either\n")
	if want := []string{"TestA", "TestB/x"}; err != nil || len(got) != 1 || !slices.Equal(got["os"], want) {
		t.Errorf("ParseExceptions = %v, %v, want %q of os", got, err, want)
	}
	if _, err := ParseExceptions("sync TestX"); err == nil {
		t.Error("ParseExceptions took a line without a reason")
	}
}
