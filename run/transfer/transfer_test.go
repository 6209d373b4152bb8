package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPlace(t *testing.T) {
	const there, folderThere = 1, 2
	for _, tt := range []struct {
		source string
		folder bool
		dest   string
		state  int
		want   Target
	}{
		{"/a/f", false, "/d", folderThere, Target{"/d", "f"}},
		{"/a/f", false, "/d/", folderThere, Target{"/d/", "f"}},
		{"/a/f", false, "/d/g", there, Target{"/real/d", "g2"}},
		{"/a/f", false, "/d/g/", there, Target{}},
		{"/a/f", false, "/d/new", 0, Target{"/d", "new"}},
		{"/a/f", false, "/d/new/", 0, Target{}},
		{"/a/d", true, "/x", folderThere, Target{"/x", "d"}},
		{"/a/d/", true, "/x", folderThere, Target{"/x", "d"}},
		{"/a/d/.", true, "/x", folderThere, Target{"/x", "."}},
		{".", true, "/x", folderThere, Target{"/x", "."}},
		{"/a/d", true, "/x", there, Target{}},
		{"/a/d", true, "/x/new", 0, Target{"/x", "new"}},
		{"/a/d/.", true, "/x/new/", 0, Target{"/x", "new"}},
		{"/a/f", false, "new", 0, Target{".", "new"}},
	} {
		s := State{Exists: tt.state != 0, Folder: tt.state == folderThere}
		if s.Exists {
			s.Path = "/real/d/g2"
		}
		got, err := Place(tt.source, tt.folder, tt.dest, s)
		if got != tt.want || (err == nil) != (tt.want != Target{}) {
			t.Errorf("Place(%q, %v, %q, %d) = %+v, %v, want %+v", tt.source, tt.folder, tt.dest, tt.state, got, err, tt.want)
		}
	}
}

func TestGuestPath(t *testing.T) {
	for in, want := range map[string]string{"": "/", "a": "/a", "/a/": "/a/", "/a/.": "/a/.", "../..": "/", "/.": "/", "a//b/../c/": "/a/c/"} {
		if got := GuestPath(in); got != want {
			t.Errorf("GuestPath(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestRoundTrip packs a tree and unpacks it: all of it is the same.
func TestRoundTrip(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), t.TempDir()
	old := time.Unix(1000, 5000)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(from, "d/e"), 0o755))
	must(os.WriteFile(filepath.Join(from, "a\xe9"), bytes.Repeat([]byte("x"), 100000), 0o640))
	must(os.Link(filepath.Join(from, "a\xe9"), filepath.Join(from, "d/b")))
	must(os.Symlink("/nowhere", filepath.Join(from, "l")))
	must(os.WriteFile(filepath.Join(from, "d/suid"), nil, 0o755))
	must(os.Chmod(filepath.Join(from, "d/suid"), 0o755|fs.ModeSetuid))
	must(os.Chtimes(filepath.Join(from, "a\xe9"), old, old))
	must(os.Chmod(filepath.Join(from, "d/e"), 0o500))
	must(os.Chtimes(filepath.Join(from, "d"), old, old))
	var b bytes.Buffer
	must(Pack(&b, from, "copy", false, func(s string) { t.Error(s) }))
	must(Unpack(&b, to, "copy", false, func(s string) { t.Error(s) }))
	in := func(name string) fs.FileInfo {
		t.Helper()
		info, err := os.Lstat(filepath.Join(to, "copy", name))
		must(err)
		return info
	}
	if i := in("a\xe9"); i.Size() != 100000 || i.Mode() != 0o640 || !i.ModTime().Equal(old) || !os.SameFile(i, in("d/b")) {
		t.Errorf("a file became %v, %v, %v", i.Size(), i.Mode(), i.ModTime())
	}
	if target, err := os.Readlink(filepath.Join(to, "copy/l")); target != "/nowhere" || err != nil {
		t.Errorf("a link became one to %q, %v", target, err)
	}
	if i := in("d"); !i.ModTime().Equal(old) {
		t.Errorf("a folder is of %v", i.ModTime())
	}
	if in("d/e").Mode().Perm() != 0o500 || in("d/suid").Mode() != 0o755 {
		t.Errorf("modes %v and %v", in("d/e").Mode(), in("d/suid").Mode())
	}
}

// archiveOf makes an archive of entries without data: name, or name→target for a
// symbolic link, name=target for a hard one, name/ for a folder, name| for a named
// pipe, name# for a disk.
func archiveOf(t testing.TB, entries ...string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e, Mode: 0o666, Typeflag: tar.TypeReg}
		if name, target, ok := strings.Cut(e, "→"); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		} else if name, target, ok := strings.Cut(e, "="); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeLink
		} else if strings.HasSuffix(e, "/") {
			h.Typeflag = tar.TypeDir
		} else if name, ok := strings.CutSuffix(e, "|"); ok {
			h.Name, h.Typeflag = name, tar.TypeFifo
		} else if name, ok := strings.CutSuffix(e, "#"); ok {
			h.Name, h.Typeflag, h.Devmajor, h.Devminor = name, tar.TypeBlock, 8, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestHostile: what a guest sends stays below the name that the user chose.
func TestHostile(t *testing.T) {
	for name, entries := range map[string][]string{
		"another name":       {"other"},
		"a second file":      {"x", "y"},
		"outside":            {"x/", "../y"},
		"outside by name":    {"x/", "x/../../y"},
		"beside":             {"x/", "y"},
		"absolute":           {"x/", "/tmp/y"},
		"by a link out":      {"x/", "x/l→/tmp", "x/l/y"},
		"by a link up":       {"x/", "x/l→..", "x/l/y"},
		"top is a link":      {"x→/tmp", "x/y"},
		"hard link out":      {"x/", "x/h=../secret"},
		"hard link beside":   {"x/", "x/h=secret"},
		"hard link by link":  {"x/", "x/l→..", "x/h=x/l/secret"},
		"file over a folder": {"x/", "x/d/", "x/d"},
		"folder over a file": {"x/", "x/f", "x/f/"},
		"folder over a link": {"x/", "x/l→/tmp", "x/l/"},
		"pipe in a pipe":     {"x/", "x/p|", "x/p/q|"},
		"link in a pipe":     {"x/", "x/p|", "x/p/l→y"},
		"nothing":            {},
	} {
		base := t.TempDir()
		dir := filepath.Join(base, "dir")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := Unpack(archiveOf(t, entries...), dir, "x", false, func(string) {}); err == nil {
			t.Errorf("%s: taken", name)
		}
		checkConfined(t, name, base)
	}
	holes := strings.NewReader(sparseArchive)
	if err := Unpack(holes, t.TempDir(), "x", false, func(string) {}); err == nil || !strings.Contains(err.Error(), "holes") {
		t.Errorf("a file with holes: %v", err)
	}
	dir := t.TempDir()
	var said []string
	if err := Unpack(archiveOf(t, "x/", "x/dev#"), dir, "x", false, func(s string) { said = append(said, s) }); err != nil || len(said) != 1 {
		t.Errorf("a device: %v, said %q", err, said)
	}
	if _, err := os.Lstat(filepath.Join(dir, "x/dev")); err == nil {
		t.Error("a device was made")
	}
}

// checkConfined fails the test if base has more than dir, or that more than x and
// the secret.
func checkConfined(t *testing.T, name, base string) {
	t.Helper()
	for dir, want := range map[string][]string{base: {"dir"}, filepath.Join(base, "dir"): {"secret", "x"}} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.Contains(want, e.Name()) {
				t.Errorf("%s: %s was made in %s", name, e.Name(), dir)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(base, "dir/secret")); err != nil || string(b) != "s" {
		t.Errorf("%s: the secret is %q, %v", name, b, err)
	}
}

// FuzzUnpack: whatever a guest sends stays below its name.
func FuzzUnpack(f *testing.F) {
	for _, entries := range [][]string{{"x/", "x/a", "x/l→..", "x/h=x/a"}, {"x"}, {"x/", "x/../../y"}} {
		b, err := io.ReadAll(archiveOf(f, entries...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		base := t.TempDir()
		dir := filepath.Join(base, "dir")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600)); err != nil {
			t.Fatal(err)
		}
		err := Unpack(bytes.NewReader(in), dir, "x", false, func(string) {})
		checkConfined(t, "fuzz", base)
		if err != nil {
			return
		}
		// What was made can be removed: nothing is without a way in.
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(p, 0o700)
			}
			return nil
		})
	})
}

// sparseArchive is a file x of 1 TB, of which nothing is there, as GNU tar has it in
// its format for POSIX, version 1.0: the archive's writer does not make such.
var sparseArchive = func() string {
	var b bytes.Buffer
	records := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n21 GNU.sparse.name=x\n37 GNU.sparse.realsize=1099511627776\n"
	entry := func(kind byte, name, content string) {
		h := make([]byte, 512)
		copy(h, name)
		copy(h[100:], "0000644\x00")
		copy(h[108:], "0000000\x000000000\x00")
		copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00", len(content), 0))
		copy(h[148:], "        ")
		h[156] = kind
		copy(h[257:], "ustar\x0000")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		b.Write(h)
		b.WriteString(content)
		b.Write(make([]byte, (512-len(content)%512)%512))
	}
	entry('x', "x", records)
	entry('0', "x", "1\n1099511627776\n0\n"+strings.Repeat("\x00", 512-len("1\n1099511627776\n0\n")))
	b.Write(make([]byte, 1024))
	return b.String()
}()
