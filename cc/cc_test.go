package cc

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestToolName(t *testing.T) {
	for in, want := range map[string]string{
		"x86_64-kiln-linux-gcc":        "gcc",
		"x86_64-kiln-linux-c++":        "c++",
		"x86_64-kiln-linux-pkg-config": "pkg-config",
		"x86_64-kiln-linux-emacs":      "",
		"gcc":                          "",
		"kiln":                         "",
		"x86_64-kiln-linux-":           "",
	} {
		got, ok := ToolName(in)
		if ok != (want != "") || ok && got != want {
			t.Errorf("ToolName(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
	for _, n := range Names() {
		if _, ok := ToolName(n); !ok {
			t.Errorf("ToolName does not know %q of Names", n)
		}
	}
}

// path makes a PATH of empty programs with the given names, and returns the
// folder.
func path(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

func TestTranslate(t *testing.T) {
	dir := path(t, "gcc", "g++", "cpp", "musl-gcc", "ar", "pkg-config")
	const added = "-D__KILN__=1 -fno-omit-frame-pointer "
	tests := []struct{ tool, args, libc, want string }{
		{"gcc", "-o x x.c", "", "gcc " + added + "-o x x.c"},
		{"cc", "-o x x.c", "glibc", "gcc " + added + "-o x x.c"},
		{"g++", "x.cc", "", "g++ " + added + "x.cc"},
		{"c++", "x.cc", "", "g++ " + added + "x.cc"},
		{"cpp", "x.h", "", "cpp " + added + "x.h"},
		{"gcc", "x.c", "musl", "musl-gcc " + added + "x.c"},
		{"gcc", "--libc=musl -static x.c", "", "musl-gcc " + added + "-static x.c"},
		{"gcc", "x.c --libc=glibc", "musl", "gcc " + added + "x.c"},
		{"cpp", "x.h", "musl", "musl-gcc " + added + "-E x.h"},
		// Others take no compiler's flags, and have no C library.
		{"ar", "rcs x.a x.o", "musl", "ar rcs x.a x.o"},
		{"pkg-config", "--libs x", "", "pkg-config --libs x"},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.args)
		inv, err := Translate(tt.tool, args, tt.libc)
		if err != nil {
			t.Errorf("Translate(%s, %s, %q): %v", tt.tool, tt.args, tt.libc, err)
			continue
		}
		rel, err := filepath.Rel(dir, inv.Path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(append([]string{rel}, inv.Args...), " "); got != tt.want || inv.Print != "" {
			t.Errorf("Translate(%s, %s, %q) = %s (print %q), want %s", tt.tool, tt.args, tt.libc, got, inv.Print, tt.want)
		}
		if !slices.Equal(args, strings.Fields(tt.args)) {
			t.Errorf("Translate(%s, %s) changed its arguments to %q", tt.tool, tt.args, args)
		}
	}
}

func TestTranslateDumpMachine(t *testing.T) {
	path(t) // no compiler is needed to say so
	for _, tool := range []string{"gcc", "g++"} {
		inv, err := Translate(tool, []string{"-dumpmachine"}, "")
		if err != nil || inv.Print != "x86_64-kiln-linux" {
			t.Errorf("Translate(%s, -dumpmachine) = %+v, %v, want %s", tool, inv, err, Tuple)
		}
	}
}

func TestTranslateErrors(t *testing.T) {
	path(t)
	for _, tt := range []struct{ tool, libc, pkg string }{
		{"gcc", "", "gcc"}, {"g++", "", "g++"}, {"gcc", "musl", "musl-tools"}, {"strip", "", "binutils"}, {"pkg-config", "", "pkg-config"},
	} {
		_, err := Translate(tt.tool, []string{"x"}, tt.libc)
		if e, ok := errors.AsType[*MissingError](err); !ok || e.Package != tt.pkg {
			t.Errorf("Translate(%s) for %q without tools = %v, want package %s to be missing", tt.tool, tt.libc, err, tt.pkg)
		}
	}
	for _, tt := range []struct{ tool, libc string }{{"gcc", "newlib"}, {"g++", "musl"}, {"emacs", ""}} {
		_, err := Translate(tt.tool, nil, tt.libc)
		if _, ok := errors.AsType[*UsageError](err); !ok {
			t.Errorf("Translate(%s) for %q = %v, want a usage error", tt.tool, tt.libc, err)
		}
	}
}
