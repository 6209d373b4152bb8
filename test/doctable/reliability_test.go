package doctable_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kiln/test/doctable"
)

// TestReliability looks for each test that docs/reliability.md names: a script
// of test/e2e, or a function in a folder's tests.
func TestReliability(t *testing.T) {
	for _, row := range doctable.Rows(t, "reliability.md", "Each line is held by the tests") {
		for name := range strings.SplitSeq(row[len(row)-1], ",") {
			name = strings.Trim(name, " `")
			if strings.HasSuffix(name, ".txt") {
				if _, err := os.Stat(filepath.Join("../e2e/testdata", name)); err != nil {
					t.Errorf("%s: %v", row[0], err)
				}
				continue
			}
			folder, function, ok := strings.Cut(name, " ")
			if !ok || !hasTest(t, filepath.Join("../..", folder), function) {
				t.Errorf("%s: there is no test %q", row[0], name)
			}
		}
	}
}

// hasTest reports whether a folder's tests have a function.
func hasTest(t *testing.T, folder, function string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(function) + `\(`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if declared.Match(b) {
			return true
		}
	}
	return false
}
