package bake

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/erofs/go-erofs"
)

// testRoot returns a root with links of all kinds.
func testRoot(t *testing.T) *root {
	t.Helper()
	r := newRoot()
	for _, l := range [][2]string{
		{"/lib", "usr/lib"}, {"/up", "../../../etc"}, {"/abs", "/usr/share/app"}, {"/a/b/rel", "../x"},
		{"/chain1", "chain2"}, {"/chain2", "/abs"}, {"/loop1", "loop2"}, {"/loop2", "loop1"}, {"/self", "self"},
		{"/dangling", "/no/where"}, {"/etc/conf", "/usr/share/app/conf"},
	} {
		if err := r.symlink(l[0], l[1], fromBase); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"/usr/lib/libx.so", "/usr/share/app/conf", "/etc/hosts", "/a/x/f"} {
		if err := r.text(p, p, fromBase); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestResolve(t *testing.T) {
	r := testRoot(t)
	for _, tt := range []struct {
		p    string
		last bool
		want string
	}{
		{"/", true, "/"},
		{"/etc/hosts", true, "/etc/hosts"},
		{"/lib/libx.so", true, "/usr/lib/libx.so"},
		{"/lib", true, "/usr/lib"},
		{"/lib", false, "/lib"},
		{"/new/file", true, "/new/file"},
		{"/lib/new/file", true, "/usr/lib/new/file"},
		{"/up/hosts", true, "/etc/hosts"}, // nothing is above the root
		{"/../../etc/hosts", true, "/etc/hosts"},
		{"/a/b/rel/f", true, "/a/x/f"},
		{"/chain1/conf", true, "/usr/share/app/conf"},
		{"/etc/conf", true, "/usr/share/app/conf"},
		{"/etc/conf", false, "/etc/conf"},
		{"/dangling", true, "/no/where"},
		{"/dangling/x", true, "/no/where/x"},
		{"/lib/../etc/hosts", true, "/etc/hosts"},
	} {
		if got, err := r.resolve(tt.p, tt.last); err != nil || got != tt.want {
			t.Errorf("resolve(%q, %v) = %q, %v, want %q", tt.p, tt.last, got, err, tt.want)
		}
	}
	for _, p := range []string{"/loop1", "/loop1/x", "/self/x", "/etc/hosts/x"} {
		if got, err := r.resolve(p, true); !isInputError(err) {
			t.Errorf("resolve(%q) = %q, %v, want an input error", p, got, err)
		}
		if e := r.lookup(p); e != nil {
			t.Errorf("lookup(%q) = %+v, want nothing", p, e)
		}
	}
}

// TestResolveAsLinux compares with what the host's kernel makes of the same
// links.
func TestResolveAsLinux(t *testing.T) {
	top := t.TempDir()
	r := newRoot()
	write(t, top, map[string]string{"d/e/f": "1", "d/g": "2", "h": "3"})
	for _, p := range []string{"/d/e/f", "/d/g", "/h"} {
		if err := r.text(p, "", fromBase); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"d/e/up": "..", "d/e/h": "../../h", "l": "d", "m": "l/e", "n": "m/up/g", "o": "./d//e/.", "d/p": "../o/f"} {
		if err := os.Symlink(target, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
		if err := r.symlink("/"+name, target, fromBase); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"l/g", "m/f", "m/up/e/f", "n", "o/f", "o/up/g", "d/p", "m/h", "l/e/up/e/up/p"} {
		host, err := filepath.EvalSymlinks(filepath.Join(top, p))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimPrefix(host, top)
		if got, err := r.resolve("/"+p, true); err != nil || got != want {
			t.Errorf("resolve(/%s) = %q, %v, want %q", p, got, err, want)
		}
	}
}

// TestPutPrecedence adds two files at one path, in either order: the one whose
// origin is higher stays, of equals the later.
func TestPutPrecedence(t *testing.T) {
	for first := fromBase; first <= fromAdded; first++ {
		for second := fromBase; second <= fromAdded; second++ {
			r := newRoot()
			if err := r.text("/f", "first", first); err != nil {
				t.Fatal(err)
			}
			if err := r.text("/f", "second", second); err != nil {
				t.Fatal(err)
			}
			want := "second"
			if first > second {
				want = "first"
			}
			if got := string(r.lookup("/f").data); got != want {
				t.Errorf("%s then %s: %q, want %q", originNames[first], originNames[second], got, want)
			}
		}
	}
}

func TestPutCollisions(t *testing.T) {
	for name, tt := range map[string]struct {
		put func(r *root) error
		ok  bool
	}{
		"file on directory":      {func(r *root) error { return r.text("/usr/lib", "x", fromAdded) }, false},
		"directory on file":      {func(r *root) error { return r.mkdir("/etc/hosts", 0o755, fromAdded) }, false},
		"below a file":           {func(r *root) error { return r.text("/etc/hosts/x", "x", fromAdded) }, false},
		"below a loop":           {func(r *root) error { return r.text("/loop1/x", "x", fromAdded) }, false},
		"link on directory":      {func(r *root) error { return r.symlink("/usr/lib", "/elsewhere", fromAdded) }, true}, // the directory stays
		"directory on link":      {func(r *root) error { return r.mkdir("/lib", 0o700, fromAdded) }, true},              // the link stays
		"directory on dangling":  {func(r *root) error { return r.mkdir("/dangling", 0o700, fromAdded) }, false},
		"link on file":           {func(r *root) error { return r.symlink("/etc/hosts", "/elsewhere", fromAdded) }, true},
		"in a mount point":       {func(r *root) error { return r.text("/proc/x", "x", fromAdded) }, false},
		"on a mount point":       {func(r *root) error { return r.symlink("/sys", "/x", fromAdded) }, false},
		"in a link to one":       {func(r *root) error { return r.text("/todev/x", "x", fromAdded) }, false},
		"beside a mount point":   {func(r *root) error { return r.text("/process", "x", fromAdded) }, true},
		"out of the root":        {func(r *root) error { return r.text("/../../etc/passwd", "x", fromAdded) }, true},
		"out of the root, lower": {func(r *root) error { return r.text("/up/../../passwd2", "x", fromAdded) }, true},
	} {
		r := testRoot(t)
		if err := r.symlink("/todev", "/dev", fromBase); err != nil {
			t.Fatal(err)
		}
		if err := r.mkdir("/dev", 0o755, fromBase); err != nil {
			t.Fatal(err)
		}
		err := tt.put(r)
		if (err == nil) != tt.ok || err != nil && !isInputError(err) {
			t.Errorf("%s: %v, want success %v", name, err, tt.ok)
		}
		for p, e := range r.entries {
			if p != filepath.Clean(p) || !filepath.IsAbs(p) {
				t.Errorf("%s: %q is no clean path", name, p)
			}
			if up := r.entries[filepath.Dir(p)]; up == nil || !up.mode.IsDir() {
				t.Errorf("%s: %s (%v) lies in no directory", name, p, e.mode)
			}
		}
		if _, err := r.plan(); err != nil {
			t.Errorf("%s: plan: %v", name, err)
		}
	}
}

func TestMkdirThroughLink(t *testing.T) {
	r := testRoot(t)
	if err := r.mkdir("/lib", 0o700, fromAdded); err != nil {
		t.Fatal(err)
	}
	if e := r.entries["/lib"]; e.mode&fs.ModeSymlink == 0 {
		t.Errorf("/lib is %v, want it to stay a link", e.mode)
	}
	if e := r.entries["/usr/lib"]; e.mode != fs.ModeDir|0o700 {
		t.Errorf("/usr/lib is %v, want the new mode", e.mode)
	}
}

// TestBase checks the base of every image.
func TestBase(t *testing.T) {
	r := newRoot()
	if err := r.addBase("oven"); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]fs.FileMode{
		"/tmp": fs.ModeDir | fs.ModeSticky | 0o777, "/root": fs.ModeDir | 0o700, "/proc": fs.ModeDir | 0o555,
		"/etc/passwd": 0o644, "/usr/bin": fs.ModeDir | 0o755, "/bin": fs.ModeDir | 0o755, "/lib64": fs.ModeDir | 0o755,
	} {
		if e := r.lookup(p); e == nil || e.mode != want {
			t.Errorf("%s is %+v, want mode %v", p, e, want)
		}
	}
	if got := string(r.lookup("/etc/hostname").data); got != "oven\n" {
		t.Errorf("/etc/hostname is %q", got)
	}
}

// TestRootImage writes a root and reads it: the same files, and a list with
// their checksums.
func TestRootImage(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"host": "from the host"})
	st, err := os.Stat(filepath.Join(dir, "host"))
	if err != nil {
		t.Fatal(err)
	}
	r := testRoot(t)
	if err := r.file("/usr/bin/host", filepath.Join(dir, "host"), st, fromProgram); err != nil {
		t.Fatal(err)
	}
	p, err := r.plan()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	fsys, err := erofs.Open(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{"usr/bin/host": "from the host", "lib/libx.so": "/usr/lib/libx.so", "etc/hosts": "/etc/hosts"} {
		if got, err := fs.ReadFile(fsys, p); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v, want %q", p, got, err, want)
		}
	}
	var got []string
	for _, f := range r.files() {
		if f.Link == "" {
			got = append(got, fmt.Sprintf("%s %s %d %.8s", f.Path, f.Source, f.Size, f.SHA256))
		}
	}
	want := []string{ // sha256sum(1) says so
		"/a/x/f base 6 d1169a6b", "/etc/hosts base 10 4a666ea3", "/usr/bin/host program 13 1d2bf016",
		"/usr/lib/libx.so base 16 cbd2b5ab", "/usr/share/app/conf base 19 2a375e0d",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
}

// TestFileChanges bakes a file that changes while it is read.
func TestFileChanges(t *testing.T) {
	dir := t.TempDir()
	host := filepath.Join(dir, "f")
	write(t, dir, map[string]string{"f": "12345"})
	st, err := os.Stat(host)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"shrinks":  func() error { return os.WriteFile(host, []byte("1"), 0o644) },
		"grows":    func() error { return os.WriteFile(host, []byte("1234567"), 0o644) },
		"vanishes": func() error { return os.Remove(host) },
	} {
		r := newRoot()
		if err := r.file("/f", host, st, fromAdded); err != nil {
			t.Fatal(err)
		}
		p, err := r.plan()
		if err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.WriteTo(&bytes.Buffer{}); !isInputError(err) || !strings.Contains(err.Error(), host) {
			t.Errorf("a file that %s while it is read: %v, want an input error that names it", name, err)
		}
	}
}
