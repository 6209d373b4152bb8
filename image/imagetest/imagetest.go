// Package imagetest reads docs/image.md for the tests that compare it with the
// code.
package imagetest

import (
	"testing"

	"kiln/test/doctable"
)

// Table returns the rows of the first table in docs/image.md behind a line that
// begins with intro, as doctable.Rows does.
func Table(t testing.TB, intro string) [][]string {
	t.Helper()
	return doctable.Rows(t, "image.md", intro)
}

// Names returns the first column of such a table.
func Names(t testing.TB, intro string) []string {
	t.Helper()
	var names []string
	for _, row := range Table(t, intro) {
		names = append(names, row[0])
	}
	return names
}
