// Package doctable reads tables of the pages in docs/ for the tests that compare
// them with the code.
package doctable

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Rows returns the rows of the first table on a page of docs/ behind a line that
// begins with intro: the cells, without blanks and code marks. A | in a cell,
// which the page writes as \|, is ¦ here.
func Rows(t testing.TB, page, intro string) [][]string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	b, err := os.ReadFile(filepath.Join(filepath.Dir(file), "../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut("\n"+string(b), "\n"+intro)
	if !ok {
		t.Fatalf("docs/%s has no line that begins with %q", page, intro)
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
	if len(rows) < 2 {
		t.Fatalf("docs/%s has no table behind %q", page, intro)
	}
	return rows[2:] // without the head and the line below it
}
