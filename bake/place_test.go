package bake

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// testBaker returns a baker with nothing in its image but links of the base,
// and what it says.
func testBaker(t *testing.T) (*baker, *[]string) {
	t.Helper()
	said := new([]string)
	b := newBaker(Options{Progress: func(s string) { *said = append(*said, s) }})
	if err := b.root.addBase("kiln"); err != nil {
		t.Fatal(err)
	}
	return b, said
}

// links makes symbolic links below dir.
func links(t *testing.T, dir string, targets map[string]string) {
	t.Helper()
	for name, target := range targets {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, p); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAddHost adds files where they are, with the links that lead there.
func TestAddHost(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"real/file": "x", "real/deep/other": "y"})
	links(t, dir, map[string]string{
		"one": "real/file", "two": "one", "abs": filepath.Join(dir, "two"), "dir": "real", "real/up": "../two",
		"loop": "loop", "dangling": "none",
	})
	at := func(p string) string { return filepath.Join(dir, p) }
	for p, want := range map[string]struct {
		end   string
		links []string
	}{
		"real/file":          {"real/file", nil},
		"one":                {"real/file", []string{"one"}},
		"abs":                {"real/file", []string{"abs", "two", "one"}},
		"dir/file":           {"real/file", []string{"dir"}},
		"dir/up":             {"real/file", []string{"dir", "real/up", "two", "one"}},
		"dir/../real/file":   {"real/file", nil},
		"dir/deep/../../one": {"real/file", []string{"one"}},
	} {
		b, _ := testBaker(t)
		end, err := b.addHost(at(p), reason{from: fromAdded})
		if err != nil || end != at(want.end) {
			t.Errorf("addHost(%s) = %q, %v, want %s", p, end, err, want.end)
			continue
		}
		if got := b.root.hostFile(at(p)); got != at(want.end) {
			t.Errorf("addHost(%s): the image has the host's %q there, want %s", p, got, want.end)
		}
		for _, l := range want.links {
			if e := b.root.entries[at(l)]; e == nil || e.mode&fs.ModeSymlink == 0 {
				t.Errorf("addHost(%s): %s is %+v, want a link", p, l, e)
			}
		}
		if len(b.pending) != 1 || b.pending[0].host != at(want.end) {
			t.Errorf("addHost(%s): to be looked at are %+v, want the file", p, b.pending)
		}
	}
	for _, p := range []string{"loop", "dangling", "none", "real/file/x"} {
		b, _ := testBaker(t)
		if end, err := b.addHost(at(p), reason{from: fromAdded}); !isInputError(err) {
			t.Errorf("addHost(%s) = %q, %v, want an input error", p, end, err)
		}
	}
}

// TestAddUser adds what --add names.
func TestAddUser(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": "x", "tree/a": "a", "tree/sub/b": "b", "name:with": "c"})
	links(t, dir, map[string]string{"link": "file", "treelink": "tree"})
	t.Chdir(dir)
	for _, tt := range []struct {
		arg   string
		guest string // a path in the image, and whose content it has
		host  string
	}{
		{dir + "/file", dir + "/file", "file"},
		{"file", dir + "/file", "file"},
		{"./tree/../file", dir + "/file", "file"},
		{"file:/etc/conf", "/etc/conf", "file"},
		{"file:/etc/new/deep/conf", "/etc/new/deep/conf", "file"},
		{"file:/etc/", "/etc/file", "file"},
		{"file:/new/", "/new/file", "file"},
		{"link:/etc/", "/etc/link", "file"}, // the name that was given, the content it leads to
		{"link:/conf", "/conf", "file"},
		{"tree:/data", "/data/sub/b", "tree/sub/b"},
		{"tree:/data/", "/data/a", "tree/a"},
		{"treelink:/data", "/data/a", "tree/a"},
		{"tree/:/", "/sub/b", "tree/sub/b"},
		{"file:/lib/f", "/usr/lib/f", "file"}, // /lib leads to /usr/lib
		{"file:/../../x/../f", "/f", "file"},  // nothing is above the root
		{"tree:/a/../../../etc", "/etc/a", "tree/a"},
	} {
		b, _ := testBaker(t)
		if err := b.addUser(tt.arg); err != nil {
			t.Errorf("addUser(%q) = %v", tt.arg, err)
			continue
		}
		if got, want := b.root.hostFile(tt.guest), filepath.Join(dir, tt.host); got != want {
			t.Errorf("addUser(%q): %s is the host's %q, want %s", tt.arg, tt.guest, got, want)
		}
	}
	for _, arg := range []string{
		"", ":", ":/x", "file:", "file:x", "file:../x", "none", "none:/x", "file:/proc/x", "tree:/dev", "file:/etc", "tree:/etc/passwd", "file:/etc/passwd/x",
	} {
		b, _ := testBaker(t)
		if err := b.addUser(arg); !isInputError(err) {
			t.Errorf("addUser(%q) = %v, want an input error", arg, err)
		}
	}
}

// TestAddTree adds a folder with links of all kinds and files that no image
// can have.
func TestAddTree(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"tree/f": "f", "tree/sub/g": "g", "outside/o": "o", "outside/p": "p"})
	links(t, dir, map[string]string{
		"tree/in": "sub/g", "tree/sub/up": "../f", "tree/out": filepath.Join(dir, "outside/o"), "tree/rel": "../outside/p",
		"tree/dangling": "/kiln/none", "tree/dir": filepath.Join(dir, "outside"),
	})
	at := func(p string) string { return filepath.Join(dir, p) }
	if err := os.Chmod(at("tree/sub"), 0o700|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("tree/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", at("tree/socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	for arg, want := range map[string]map[string]string{
		at("tree"): {
			at("tree/f"): "tree/f", at("tree/in"): "tree/sub/g", at("tree/sub/up"): "tree/f",
			at("tree/out"): "outside/o", at("tree/rel"): "outside/p", // those come along
			at("tree/dangling"): "", at("tree/dir/o"): "outside/o", // as the file does
		},
		at("tree") + ":/data": {
			"/data/f": "tree/f", "/data/in": "tree/sub/g", "/data/sub/up": "tree/f", "/data/out": "outside/o",
			"/data/rel":     "", // relative to a place that the image does not have
			at("outside/p"): "",
		},
	} {
		b, said := testBaker(t)
		if err := b.addUser(arg); err != nil {
			t.Fatalf("addUser(%s) = %v", arg, err)
		}
		for guest, host := range want {
			if host != "" {
				host = at(host)
			}
			if got := b.root.hostFile(guest); got != host {
				t.Errorf("addUser(%s): %s is the host's %q, want %q", arg, guest, got, host)
			}
		}
		top := strings.TrimPrefix(arg, at("tree")+":")
		if e := b.root.lookup(top + "/sub"); e == nil || e.mode != fs.ModeDir|fs.ModeSticky|0o700 {
			t.Errorf("addUser(%s): sub is %+v, want the host's mode", arg, e)
		}
		if b.root.lookup(top+"/socket") != nil || !strings.Contains(strings.Join(*said, "\n"), "socket") {
			t.Errorf("addUser(%s): the socket is in the image, or nothing was said: %q", arg, *said)
		}
		if pipes := b.root.pipes(); len(pipes) != 1 || pipes[0].Path != top+"/pipe" || pipes[0].Mode != 0o644 {
			t.Errorf("addUser(%s): named pipes %+v, want pipe", arg, pipes)
		}
	}
	b, _ := testBaker(t)
	for _, p := range []string{at("tree/socket"), "/dev/null"} {
		if err := b.addUser(p + ":/x"); !isInputError(err) {
			t.Errorf("addUser(%s) = %v, want an input error", p, err)
		}
	}
}

// TestUnreadable adds a file that the user may not read.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"secret": "x"})
	if err := os.Chmod(filepath.Join(dir, "secret"), 0); err != nil {
		t.Fatal(err)
	}
	b, _ := testBaker(t)
	err := b.addUser(filepath.Join(dir, "secret"))
	if err == nil {
		err = b.addPending()
	}
	if !isInputError(err) || !strings.Contains(err.Error(), "secret") {
		t.Errorf("an unreadable file: %v, want an input error that names it", err)
	}
}

// TestPlaceMode checks the permissions of files: those of the host, but of no
// other kind.
func TestPlaceMode(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"f": "x"})
	p := filepath.Join(dir, "f")
	for _, mode := range []fs.FileMode{0o644, 0o600, 0o755, 0o755 | fs.ModeSetuid, 0o750 | fs.ModeSetgid, 0o444} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		b, _ := testBaker(t)
		if err := b.addUser(p + ":/f"); err != nil {
			t.Fatal(err)
		}
		if got := b.root.lookup("/f").mode; got != mode {
			t.Errorf("mode %v, want %v", got, mode)
		}
	}
}
