package notice

import (
	"bytes"
	"testing"
)

func TestPrintf(t *testing.T) {
	var b bytes.Buffer
	To(&b)
	defer To(nil)
	Printf("killed %q after %d ms", "a\nb", 7)
	if got, want := b.String(), "{\"notice\":\"killed \\\"a\\\\nb\\\" after 7 ms\"}\n"; got != want {
		t.Errorf("Printf wrote %q, want %q", got, want)
	}
}

func TestReady(t *testing.T) {
	Ready() // to nobody
	var b bytes.Buffer
	To(&b)
	defer To(nil)
	Ready()
	if got, want := b.String(), "{\"ready\":true}\n"; got != want {
		t.Errorf("Ready wrote %q, want %q", got, want)
	}
}
