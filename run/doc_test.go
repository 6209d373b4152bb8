package run

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"kiln/image/imagetest"
)

// jsonNames returns the names of a structure's fields in JSON.
func jsonNames(v any) (names []string) {
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// TestDocumentedMessages compares our end of the control channel with
// docs/image.md.
func TestDocumentedMessages(t *testing.T) {
	documented := imagetest.Names(t, "From the host,")
	for _, name := range jsonNames(request{}) {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/image.md has no request %q, only %q", name, documented)
		}
	}
	if got, want := imagetest.Names(t, "From the guest:"), jsonNames(report{}); !sameNames(got, want) {
		t.Errorf("docs/image.md has the reports %q, want %q", got, want)
	}
}

func sameNames(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
