package ending

import (
	"fmt"
	"slices"
	"testing"

	"kiln/image/imagetest"
)

// TestDocumented compares the codes with docs/image.md.
func TestDocumented(t *testing.T) {
	want := []string{fmt.Sprintf("0x00–%#x", Large-1)}
	for _, code := range []int{Large, NoMemory, Panic, NoBoot} {
		want = append(want, fmt.Sprintf("%#x", code))
		if got := Code(Status(code)); got != code {
			t.Errorf("code %#x comes back as %#x", code, got)
		}
	}
	if got := imagetest.Names(t, "What the program has written is the host's"); !slices.Equal(got, want) {
		t.Errorf("docs/image.md has the codes %q, want %q", got, want)
	}
	if row := imagetest.Table(t, "## The machine")[2]; row[0] != fmt.Sprintf("debug exit (port %#x)", Port) {
		t.Errorf("docs/image.md has %q, want port %#x", row[0], Port)
	}
}
