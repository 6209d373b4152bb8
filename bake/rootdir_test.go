package bake

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kiln/image"
)

// compile builds C with the host's compiler, or skips the test.
func compile(t *testing.T, source string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	cmd := exec.Command("gcc", append([]string{"-x", "c", "-"}, args...)...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc %q: %v\n%s", args, err, out)
	}
}

// write writes files below dir.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// fill bakes up to the root file system.
func fill(o Options) (*baker, *image.Manifest, error) {
	if err := o.complete(); err != nil {
		return nil, nil, err
	}
	b := newBaker(o)
	m := o.manifest()
	err := b.addAll(m)
	return b, m, err
}

// TestRootDirectory bakes a program from a folder laid out as a root, with a
// library that only that folder has.
func TestRootDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"etc/app.conf": "x", "usr/share/app/data": "y", "dev/null": "not this one", "bin/tool": "#!/usr/bin/env helper\n",
		"usr/bin/helper": "#!/bin/app\n",
	})
	if err := os.Symlink("/usr/share/app", filepath.Join(dir, "app")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "usr/lib/x86_64-linux-gnu"), 0o755); err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(dir, "usr/lib/x86_64-linux-gnu/libkilntest.so")
	compile(t, "int f(void) { return 1; }", "-shared", "-fPIC", "-o", lib)
	compile(t, "int f(void); int main(void) { return f(); }", "-o", filepath.Join(dir, "bin/app"), "-L"+filepath.Dir(lib), "-lkilntest")

	b, m, err := fill(Options{Root: dir, Program: "/bin/app", Owners: []Owner{{"/app", 7, 70000}}})
	if err != nil {
		t.Fatal(err)
	}
	if m.Program != "/bin/app" {
		t.Errorf("the program is %s, want /bin/app", m.Program)
	}
	for p, host := range map[string]string{
		"/usr/bin/app":                         filepath.Join(dir, "bin/app"), // /bin leads to /usr/bin
		"/etc/app.conf":                        filepath.Join(dir, "etc/app.conf"),
		"/app/data":                            filepath.Join(dir, "usr/share/app/data"),
		"/etc/passwd":                          "",
		"/dev/null":                            "",
		"/lib/x86_64-linux-gnu/libkilntest.so": lib,
	} {
		if got := b.root.hostFile(p); got != host {
			t.Errorf("%s is the host's %q, want %q", p, got, host)
		}
	}
	if b.root.lookup("/lib64/ld-linux-x86-64.so.2") == nil || b.root.lookup("/lib/x86_64-linux-gnu/libc.so.6") == nil {
		t.Error("the loader or the C library is missing")
	}
	for p, want := range map[string]uint32{"/usr/share/app": 70000, "/usr/share/app/data": 70000, "/usr/share": 0} {
		if e := b.root.lookup(p); e == nil || e.gid != want {
			t.Errorf("%s: %+v, want group %d", p, e, want)
		}
	}
	if _, err := b.root.plan(); err != nil {
		t.Error(err)
	}
	// A script whose interpreter is in the folder, by way of another script.
	if _, _, err := fill(Options{Root: dir, Program: "/bin/tool"}); err != nil {
		t.Errorf("a script's interpreter in the folder: %v", err)
	}
	// What is wrong is the user's mistake, in one line.
	if err := os.Remove(lib); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"a missing library": {Root: dir, Program: "/bin/app"},
		"a missing program": {Root: dir, Program: "/bin/none"},
		"a missing root":    {Root: dir + "/none", Program: "/bin/app"},
		"a missing owner":   {Root: dir, Program: "/usr/bin/helper", Owners: []Owner{{Path: "/none", UID: 1}}},
	} {
		_, _, err := fill(o)
		if _, ok := errors.AsType[*InputError](err); !ok || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an input error", name, err)
		}
	}
}

// TestLibraryRoot takes from a folder only the libraries that are needed, at
// the paths that its own links lead to.
func TestLibraryRoot(t *testing.T) {
	root, deps := t.TempDir(), t.TempDir()
	dir := filepath.Join(deps, "usr/lib/x86_64-linux-gnu")
	write(t, deps, map[string]string{"usr/lib/x86_64-linux-gnu/real/other": "", "usr/share/doc": ""})
	lib := filepath.Join(dir, "real/libkilntest.so.1.2")
	compile(t, "int f(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libkilntest.so.1", "-o", lib)
	for link, target := range map[string]string{
		"libkilntest.so.1": "/usr/lib/x86_64-linux-gnu/real/libkilntest.so.1.2", "libkilntest.so": "libkilntest.so.1", "circle": "circle",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	compile(t, "int f(void); int main(void) { return f(); }", "-o", filepath.Join(root, "bin/app"), "-x", "none", lib)

	b, _, err := fill(Options{Root: root, LibraryRoot: deps, Program: "/bin/app"})
	if err != nil {
		t.Fatal(err)
	}
	// The loader looks in /lib first, which is /usr/lib, in the folder too.
	if got := b.root.hostFile("/usr/lib/x86_64-linux-gnu/libkilntest.so.1"); got != lib {
		t.Errorf("the library is the host's %q, want %q", got, lib)
	}
	if b.root.lookup("/usr/share/doc") != nil || b.root.lookup("/usr/lib/x86_64-linux-gnu/real") != nil {
		t.Error("the image has files of the folder that nothing needs")
	}
	for _, p := range []string{"/usr/lib/x86_64-linux-gnu/circle", "/lib/none", "/"} {
		if got := b.inLibraryRoot(p); got != "" && got != deps {
			t.Errorf("inLibraryRoot(%s) = %q", p, got)
		}
	}
}
