package sentry

import (
	"reflect"
	"slices"
	"testing"

	"kiln/image/imagetest"
)

// TestDocumentedRequests compares the requests that the guest carries out with
// docs/image.md.
func TestDocumentedRequests(t *testing.T) {
	var names []string
	typ := reflect.TypeFor[request]()
	for i := range typ.NumField() {
		names = append(names, typ.Field(i).Tag.Get("json"))
	}
	if got := imagetest.Names(t, "From the host,"); !slices.Equal(got, names) {
		t.Errorf("docs/image.md has the requests %q, want %q", got, names)
	}
}
