// Package imagetest reads docs/image.md for the tests that compare it with the
// code.
package imagetest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Table returns the rows of the first table in docs/image.md behind a line that
// begins with intro: the cells, without blanks and code marks.
func Table(t testing.TB, intro string) [][]string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	b, err := os.ReadFile(filepath.Join(filepath.Dir(file), "../../docs/image.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut("\n"+string(b), "\n"+intro)
	if !ok {
		t.Fatalf("docs/image.md has no line that begins with %q", intro)
	}
	var rows [][]string
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if rows != nil {
				break
			}
			continue
		}
		line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "¦")
		var cells []string
		for _, cell := range strings.Split(line, "|") {
			cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("docs/image.md has no table behind %q", intro)
	}
	return rows[2:] // without the head and the line below it
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
