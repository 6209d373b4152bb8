package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		last     string
		ok       bool
		shown    string
	}{
		{"passes", `{"Action":"run","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p"}
`, "1 passed, 0 failed, 0 skipped", true, "pass p"},
		{"subtests count, their parent does not", `{"Action":"run","Package":"p","Test":"A"}
{"Action":"run","Package":"p","Test":"A/x"}
{"Action":"run","Package":"p","Test":"A/y"}
{"Action":"pass","Package":"p","Test":"A/x"}
{"Action":"skip","Package":"p","Test":"A/y"}
{"Action":"pass","Package":"p","Test":"A"}
`, "1 passed, 0 failed, 1 skipped", true, ""},
		{"a failure is shown", `{"Action":"output","Package":"p","Test":"A","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p"}
`, "0 passed, 1 failed, 0 skipped", false, "got 1, want 2"},
		{"a package that does not compile", `{"Action":"build-output","ImportPath":"p","Output":"p.go:1: bad\n"}
{"Action":"fail","Package":"p"}
`, "0 passed, 1 failed, 0 skipped", false, "p.go:1: bad"},
		{"a crash", `{"Action":"output","Package":"p","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}
`, "0 passed, 1 failed, 0 skipped", false, "panic: no"},
		{"nothing at all", "go: no such package\n", "0 passed, 0 failed, 0 skipped", false, "go: no such package"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tl := newTally(&out)
			if err := tl.read(strings.NewReader(tt.in)); err != nil {
				t.Fatal(err)
			}
			if got := tl.sum(); got != tt.ok {
				t.Errorf("sum = %v, want %v", got, tt.ok)
			}
			if !strings.HasSuffix(out.String(), tt.last+"\n") || !strings.Contains(out.String(), tt.shown) {
				t.Errorf("output %q, want it to end with %q and to show %q", &out, tt.last, tt.shown)
			}
		})
	}
}
