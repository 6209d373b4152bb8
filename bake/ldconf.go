package bake

import (
	"bufio"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// glibcDirs are where glibc's loader looks without a cache: Debian's
// multiarch directories and everybody's.
var glibcDirs = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// muslDirs are where musl's loader looks unless its .path file says otherwise.
var muslDirs = []string{"/lib", "/usr/local/lib", "/usr/lib"}

// maxIncludes bounds the files that ld.so.conf may include.
const maxIncludes = 256

// ldConf returns the directories that the file names, which has the format of
// ldconfig(8): a directory a line, or "include PATTERN". A file that does not
// exist names none.
func ldConf(file string) []string {
	left := maxIncludes
	return readLDConf(file, &left)
}

func readLDConf(file string, left *int) []string {
	if *left--; *left < 0 {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil // as ldconfig, which warns and carries on
	}
	defer f.Close()
	var dirs []string
	for _, line := range confLines(f) {
		pattern, ok := strings.CutPrefix(line, "include ")
		if !ok {
			if path.IsAbs(line) {
				dirs = append(dirs, path.Clean(line))
			}
			continue
		}
		for _, p := range strings.Fields(pattern) {
			if !path.IsAbs(p) {
				p = path.Join(path.Dir(file), p)
			}
			files, err := filepath.Glob(p) // sorted
			if err != nil {
				continue // a pattern that nothing can match
			}
			for _, f := range files {
				dirs = append(dirs, readLDConf(f, left)...)
			}
		}
	}
	return dirs
}

// confLines returns the lines of r without comments, blanks at their ends, and
// empty ones.
func confLines(r io.Reader) []string {
	var out []string
	for s := bufio.NewScanner(r); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// muslPath returns musl's directories: those of the file that is named after
// the loader, if there is one, separated by colons or newlines.
func muslPath(interp string) (dirs []string, file string) {
	name, _, _ := strings.Cut(path.Base(interp), ".so")
	file = path.Join("/etc", name+".path")
	b, err := os.ReadFile(file)
	if err != nil {
		return muslDirs, ""
	}
	return splitMuslPath(string(b)), file
}

// splitMuslPath returns the directories that a file of musl's names.
func splitMuslPath(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ':' || r == '\n' })
}
