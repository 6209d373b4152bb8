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
