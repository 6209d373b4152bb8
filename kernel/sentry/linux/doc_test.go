package linux

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kiln/test/doctable"
)

// root is the module's folder.
const root = "../../.."

// TestDocumented compares the corrections with docs/linux.md, their files and
// the programs that show them.
func TestDocumented(t *testing.T) {
	var names, rows []string
	for _, c := range corrections {
		names = append(names, c.name)
		if _, err := os.Stat(c.name + ".go"); err != nil {
			t.Errorf("a correction has no file of its name: %v", err)
		}
	}
	for _, row := range doctable.Rows(t, "linux.md", "## Corrections") {
		rows = append(rows, row[0])
		for _, program := range strings.Split(row[2], ", ") {
			if _, err := os.Stat(filepath.Join(root, "test/linux/src", strings.Trim(program, "`")+".c")); err != nil {
				t.Errorf("docs/linux.md, %s: %v", row[0], err)
			}
		}
	}
	slices.Sort(names)
	if !slices.Equal(rows, names) {
		t.Errorf("docs/linux.md lists the corrections %q, the code has %q", rows, names)
	}
}

// reaches finds what depends on the inside of gVisor or Go: names linked to, and
// structures that are looked into.
var reaches = regexp.MustCompile(`(?m)^//go:linkname \w+ \w|reflect\.ValueOf|\.FieldByName\(|unsafe\.Pointer\(&ns\)`)

// TestReaches compares the files of the kernel that reach into gVisor and Go
// with docs/linux.md.
func TestReaches(t *testing.T) {
	var files, rows []string
	err := filepath.WalkDir(filepath.Join(root, "kernel"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && reaches.Match(b) {
			name, _ := filepath.Rel(root, path)
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range doctable.Rows(t, "linux.md", "## Other places") {
		rows = append(rows, row[0])
	}
	slices.Sort(files)
	if !slices.Equal(rows, files) {
		t.Errorf("docs/linux.md lists the files %q, these reach into gVisor or Go: %q", rows, files)
	}
}
