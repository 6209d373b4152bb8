package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// plant makes a small tree.
func plant(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	when := time.Unix(1_000_000_000, 5)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(at("d"), 0o755))
	must(os.Mkdir(at("lost+found"), 0o700))
	must(os.WriteFile(at("d/file"), []byte("content"), 0o640))
	must(os.WriteFile(at("d/holes"), nil, 0o640))
	must(os.Truncate(at("d/holes"), 1<<30))
	must(os.Symlink("d/file", at("link")))
	must(os.Chtimes(at("d/file"), when, when))
	must(os.Chtimes(at("d/holes"), when, when))
	return dir
}

func sumOf(t *testing.T, dir string, remove ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(dir, remove, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestSum changes one thing at a time, which must show.
func TestSum(t *testing.T) {
	want := sumOf(t, plant(t))
	if !strings.HasPrefix(want, "sum of 4 entries: ") {
		t.Errorf("run printed %q, want 4 entries", want)
	}
	if got := sumOf(t, plant(t)); got != want {
		t.Errorf("a second tree has %q, the first %q", got, want)
	}
	when := time.Unix(1_000_000_000, 5)
	type path = func(string) string
	for name, change := range map[string]func(at path) error{
		"name": func(at path) error { return os.Rename(at("d/file"), at("d/other")) },
		"mode": func(at path) error { return os.Chmod(at("d/file"), 0o600) },
		"time": func(at path) error { return os.Chtimes(at("d/file"), when, when.Add(1)) },
		"target": func(at path) error {
			if err := os.Remove(at("link")); err != nil {
				return err
			}
			return os.Symlink("d/holes", at("link"))
		},
		"hard link": func(at path) error { return os.Link(at("d/file"), at("lost+found/more")) },
		"attribute": func(at path) error { return syscall.Setxattr(at("d/file"), "user.a", []byte("b"), 0) },
		"content": func(at path) error {
			f, err := os.OpenFile(at("d/holes"), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte{1}, 700_000_000); err != nil {
				return err
			}
			return os.Chtimes(f.Name(), when, when)
		},
	} {
		dir := plant(t)
		if err := change(func(n string) string { return filepath.Join(dir, n) }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := sumOf(t, dir); got == want {
			t.Errorf("another %s does not show in %q", name, got)
		}
	}
}

func TestRemove(t *testing.T) {
	dir := plant(t)
	got := sumOf(t, dir, "d")
	if !strings.HasPrefix(got, "sum of 1 entries: ") { // the link
		t.Errorf("run printed %q, want 1 entry", got)
	}
	if err := run(dir, []string{"d"}, &bytes.Buffer{}); err == nil {
		t.Error("removing what is not there is no error")
	}
}
