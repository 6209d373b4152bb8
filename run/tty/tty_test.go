package tty

import (
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	const k = "\x1d"
	for _, tt := range []struct {
		typed string // reads are separated by spaces
		want  bool
	}{
		{k + k + k, true},
		{k + " " + k + " " + k, true},
		{"a" + k + k + k + "b", true},
		{k + k + "x" + k, false},
		{k + k + " x " + k, false},
		{"abc", false},
	} {
		var e Escape
		got := false
		for _, chunk := range strings.Fields(tt.typed) {
			got = e.See([]byte(chunk)) || got
		}
		if got != tt.want {
			t.Errorf("escape of %q = %v, want %v", tt.typed, got, tt.want)
		}
	}
}
