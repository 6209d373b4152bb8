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
		"x86_64-rumprun-netbsd-gcc":    "gcc",
		"x86_64-rumprun-netbsd-ar":     "ar",
		"x86_64-rumprun-netbsd-emacs":  "",
		"gcc":                          "",
		"kiln":                         "",
		"x86_64-kiln-linux-":           "",
	} {
		tuple, got, ok := ToolName(in)
		if ok != (want != "") || ok && (got != want || !strings.HasPrefix(in, tuple+"-")) {
			t.Errorf("ToolName(%q) = %q, %q, %v, want %q", in, tuple, got, ok, want)
		}
	}
	for _, n := range Names() {
		if _, _, ok := ToolName(n); !ok {
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
	const added = "-D__KILN__=1 -g1 -fno-omit-frame-pointer "
	tests := []struct{ tool, args, libc, want, ways string }{
		{"gcc", "-o x x.c", "", "gcc " + added + "-o x x.c", "static-pie? dynamic"},
		{"cc", "-c x.c", "glibc", "gcc " + added + "-c x.c", ""},
		{"g++", "x.cc", "", "g++ " + added + "x.cc", "static-pie? dynamic"},
		{"c++", "-shared x.cc", "", "g++ " + added + "-shared x.cc", "shared"},
		{"cpp", "x.h", "", "cpp " + added + "x.h", ""},
		{"cpp", "x.c", "", "cpp " + added + "x.c", ""},
		{"gcc", "-c x.c", "musl", "musl-gcc " + added + "-c x.c", ""},
		{"gcc", "--libc=musl -static x.c", "", "musl-gcc " + added + "-static x.c", "static"},
		{"gcc", "x.c --libc=glibc", "musl", "gcc " + added + "x.c", "static-pie? dynamic"},
		{"gcc", "x.c --link=static", "", "gcc " + added + "x.c", "static"},
		{"gcc", "-dynamic x.c", "", "gcc " + added + "x.c", "dynamic"},
		{"gcc", "--link=auto x.c", "", "gcc " + added + "x.c", "static-pie? dynamic"},
		{"cpp", "x.h", "musl", "musl-gcc " + added + "-E x.h", ""},
		// Others take no compiler's flags, and have no C library.
		{"ar", "rcs x.a x.o", "musl", "ar rcs x.a x.o", ""},
		{"pkg-config", "--libs x", "", "pkg-config --libs x", ""},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.args)
		inv, err := Translate(tt.tool, args, Settings{Libc: tt.libc})
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
		if got := ways(inv); got != tt.ways {
			t.Errorf("Translate(%s, %s, %q) links %q, want %q", tt.tool, tt.args, tt.libc, got, tt.ways)
		}
		if !slices.Equal(args, strings.Fields(tt.args)) {
			t.Errorf("Translate(%s, %s) changed its arguments to %q", tt.tool, tt.args, args)
		}
	}
}

// ways returns an invocation's ways to link, with a question mark after those
// that are only tried.
func ways(inv Invocation) string {
	var out []string
	for _, l := range inv.Links {
		kind := l.Kind
		if l.Try {
			kind += "?"
		}
		out = append(out, kind)
	}
	return strings.Join(out, " ")
}

func TestTranslateDumpMachine(t *testing.T) {
	path(t) // no compiler is needed to say so
	for _, tool := range []string{"gcc", "g++"} {
		inv, err := Translate(tool, []string{"-dumpmachine"}, Settings{})
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
		_, err := Translate(tt.tool, []string{"x"}, Settings{Libc: tt.libc})
		if e, ok := errors.AsType[*MissingError](err); !ok || e.Package != tt.pkg {
			t.Errorf("Translate(%s) for %q without tools = %v, want package %s to be missing", tt.tool, tt.libc, err, tt.pkg)
		}
	}
	for _, tt := range []struct {
		tool string
		args []string
		set  Settings
	}{
		{"gcc", nil, Settings{Libc: "newlib"}},
		{"g++", nil, Settings{Libc: "musl"}},
		{"emacs", nil, Settings{}},
		{"gcc", []string{"--link=magic"}, Settings{}},
		{"gcc", nil, Settings{Link: "magic"}},
	} {
		_, err := Translate(tt.tool, tt.args, tt.set)
		if _, ok := errors.AsType[*UsageError](err); !ok {
			t.Errorf("Translate(%s, %q, %+v) = %v, want a usage error", tt.tool, tt.args, tt.set, err)
		}
	}
}
