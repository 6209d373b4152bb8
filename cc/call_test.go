package cc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReadCall(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string // links, bare, the kind that is asked for, stdin
	}{
		{"x.c", "links"},
		{"-o x x.o -lm", "links"},
		{"-lm", "links"},
		{"-x c -", "links stdin"},
		{"-x c /dev/stdin", "links stdin"},
		{"-x c /dev/fd/63", "links dynamic"},
		{"-c -x c -", "stdin"},
		{"-c x.c", ""},
		{"-S x.c", ""},
		{"-E x.c", ""},
		{"-MM x.c", ""},
		{"-v", ""},
		{"--version x.c", ""},
		{"-print-file-name=libc.so", ""},
		{"-dumpversion", ""},
		{"-### x.c", ""},
		{"-o -c x.c", "links"}, // a file named -c
		{"-o x.h -include y.c", ""},
		{"x.h", ""},
		{"-x c-header x.c", ""},
		{"-r -o x.o y.o z.o", "bare"},
		{"-nostdlib x.c", "links bare"},
		{"-T x.ld x.c", "links bare"},
		{"-Wl,-T,x.ld x.c", "links bare"},
		{"-Xlinker -T -Xlinker x.ld x.c", "links bare"},
		{"-m32 x.c", "links bare"},
		{"-static x.c", "links static"},
		{"-static-pie x.c", "links static-pie"},
		{"-shared -o x.so x.c", "links shared"},
		{"-static -shared -o x.so x.c", "links shared"},
		{"-rdynamic -static x.c", "links static"},
		{"-static libx.so x.c", "links static"},
		{"-Wl,-shared x.c", "links shared"},
		{"-rdynamic x.c", "links dynamic"},
		{"-Wl,-E x.c", "links dynamic"},
		{"-Wl,--export-dynamic x.c", "links dynamic"},
		{"-Xlinker -export-dynamic x.c", "links dynamic"},
		{"-Wl,-Bstatic,-lx,-Bdynamic x.c", "links dynamic"},
		{"-Wl,--dynamic-list=x.syms x.c", "links dynamic"},
		{"-no-pie x.c", "links dynamic"},
		{"-pie x.c", "links dynamic"},
		{"-fsanitize=address x.c", "links dynamic"},
		{"x.c dir/libx.so.1.2", "links dynamic"},
		{"x.c -Wl,-z,now -Wl,--gc-sections -Wl,-rpath,/lib.so/x", "links"},
	} {
		c := readCall(strings.Fields(tt.args))
		var got []string
		for _, w := range []struct {
			is   bool
			word string
		}{{c.links, "links"}, {c.bare, "bare"}, {c.kind != "", c.kind}, {c.stdin, "stdin"}} {
			if w.is {
				got = append(got, w.word)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("readCall(%s) = %q, want %q", tt.args, strings.Join(got, " "), tt.want)
		}
	}
}

func TestReadCallFlags(t *testing.T) {
	c := readCall(strings.Fields("-O2 -I/usr/x -DX=1 -g -ffile-prefix-map=/a/b=. -fPIC -march=x86-64 -fdiagnostics-color x.c -o x -lm"))
	if got, want := strings.Join(c.flags, " "), "-O2 -g -fPIC -march=x86-64"; got != want {
		t.Errorf("flags for the note: %q, want %q", got, want)
	}
	if !c.color {
		t.Error("a call with -fdiagnostics-color does not say so")
	}
}

// TestArgumentFiles reads arguments in a file, which may name another.
func TestArgumentFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"a": "-o 'a b'\n\"-DX=\\\"y\\\"\" @b", "b": "-shared\tx.o @a-is-missing", "circle": "x.o @circle",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := expandFiles([]string{"-v", "@a"})
	want := []string{"-v", "-o", "a b", `-DX="y"`, "-shared", "x.o", "@a-is-missing"}
	if !slices.Equal(got, want) {
		t.Errorf("expandFiles = %q, want %q", got, want)
	}
	if c := readCall([]string{"@a"}); !c.links || c.kind != Shared {
		t.Errorf("readCall(@a) = %+v, want a shared library", c)
	}
	if got := expandFiles([]string{"@circle"}); len(got) > 20 {
		t.Errorf("a file that names itself gave %d arguments", len(got))
	}
}

func FuzzSplitArguments(f *testing.F) {
	f.Add("a 'b c' \"d\\\"e\" \\")
	f.Fuzz(func(t *testing.T, s string) {
		total := 0
		for _, a := range splitArguments(s) {
			total += len(a)
		}
		if total > len(s) {
			t.Errorf("%d bytes of arguments from %d", total, len(s))
		}
	})
}

func TestSysrootFlags(t *testing.T) {
	root := t.TempDir()
	if got := append(includeFlags(root), libraryFlags(root, Dynamic)...); got != nil {
		t.Errorf("an empty sysroot gives flags %q", got)
	}
	for _, dir := range []string{"include", "lib"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := libraryFlags(root, Dynamic), []string{"-L" + root + "/lib"}; !slices.Equal(got, want) {
		t.Errorf("without shared libraries: %q, want %q", got, want)
	}
	if err := os.WriteFile(filepath.Join(root, "lib/libx.so.1"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(libraryFlags(root, Dynamic), " "); !strings.Contains(got, "-rpath -Xlinker "+root+"/lib") {
		t.Errorf("with shared libraries: %q, want a run path", got)
	}
	if got := strings.Join(libraryFlags(root, StaticPIE), " "); strings.Contains(got, "rpath") {
		t.Errorf("static: %q, want no run path", got)
	}
	if got := libraryFlags("", Dynamic); got != nil {
		t.Errorf("without a sysroot: %q", got)
	}
}

func TestDefaultSysroot(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string // "" for an error
	}{
		{map[string]string{"HOME": "/h"}, "/h/.local/share/kiln/sysroot"},
		{map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/d"}, "/d/kiln/sysroot"},
		{map[string]string{"HOME": "/h", "XDG_DATA_HOME": "d"}, "/h/.local/share/kiln/sysroot"},
		{map[string]string{"HOME": "/h", "KILN_SYSROOT": "/s/"}, "/s"},
		{map[string]string{"HOME": "/h", "KILN_SYSROOT": "s"}, ""},
		{nil, ""},
	} {
		got, err := DefaultSysroot(func(name string) string { return tt.env[name] })
		if (err != nil) != (tt.want == "") || err == nil && got != tt.want {
			t.Errorf("DefaultSysroot with %v = %q, %v, want %q", tt.env, got, err, tt.want)
		}
	}
}

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	sysroot := filepath.Join(dir, "root")
	f, err := WriteFiles(filepath.Join(dir, "kiln"), dir, sysroot)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{f.CMake, f.Meson, f.Site} {
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(text), sysroot) || strings.Contains(string(text), "%!") {
			t.Errorf("%s: %q, %v, want the sysroot in it", name, text, err)
		}
	}
	before, err := os.Stat(f.CMake)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := WriteFiles(filepath.Join(dir, "kiln"), dir, sysroot); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(f.CMake); err != nil || !os.SameFile(before, after) {
		t.Errorf("a file with the right content was replaced: %v", err)
	}
	if _, err := WriteFiles(dir, dir, "/it's"); err == nil {
		t.Error("WriteFiles takes a sysroot with a quote")
	}
}
