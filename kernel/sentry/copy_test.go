package sentry

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/sentry/archive"
)

// testTree returns the test Sentry's files, and a new folder there.
func testTree(t testing.TB, name string) (*archive.Tree, string) {
	t.Helper()
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	dir := "/tmp/" + name
	if err := s.mounts.mkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return &archive.Tree{
		Ctx: s.mounts.ctx, VFS: s.mounts.vfs, Creds: s.mounts.creds, Root: s.mounts.root,
		Room: func(*vfs.FileDescription, int, bool) (func(), error) { return func() {}, nil },
		Say:  func(string, ...any) {},
	}, dir
}

// entry is one of an archive.
type entry struct {
	tar.Header
	content string
}

func packed(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size, e.Format = int64(len(e.content)), tar.FormatPAX
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// listing says what is in an archive, an entry a line.
func listing(t testing.TB, r io.Reader) string {
	t.Helper()
	var b strings.Builder
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%c %s %o %d:%d %q %q %v\n", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid, h.Linkname, content, h.ModTime.UTC())
	}
}

// TestArchive unpacks an archive in the guest and reads it again.
func TestArchive(t *testing.T) {
	tree, dir := testTree(t, "archive")
	old := time.Unix(1000, 7000).UTC()
	head := func(kind byte, name, link string, mode int64) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: mode, Uid: 3, Gid: 4, ModTime: old}
	}
	in := packed(t,
		entry{Header: head(tar.TypeDir, "x/", "", 0o500)},
		entry{Header: head(tar.TypeReg, "x/a", "", 0o4755), content: strings.Repeat("a", 200000)},
		entry{Header: head(tar.TypeLink, "x/b", "x/a", 0o4755)},
		entry{Header: head(tar.TypeDir, "x/d/", "", 0o711)},
		entry{Header: head(tar.TypeFifo, "x/d/p", "", 0o600)},
		entry{Header: head(tar.TypeReg, "x/empty", "", 0o644)},
		entry{Header: head(tar.TypeSymlink, "x/l", "/nowhere", 0o777)},
	)
	want := listing(t, bytes.NewReader(in))
	for range 2 { // over what is there, too
		if err := tree.Write(dir, true, bytes.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tree.Read(dir+"/x", "x", false, &out); err != nil {
			t.Fatal(err)
		}
		if got := listing(t, &out); got != want {
			t.Errorf("got\n%.3000s\nwant\n%.3000s", got, want)
		}
	}
	if err := tree.Write(dir, false, bytes.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tree.Read(dir+"/x/empty", "y", false, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, &out), "0 y 644 0:0 \"\" \"\" "+old.String()+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestArchiveRefused: what cannot be unpacked, and where.
func TestArchiveRefused(t *testing.T) {
	tree, dir := testTree(t, "refused")
	file := entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o600}, content: "f"}
	folder := entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "g/", Mode: 0o700}}
	over := entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "g", Mode: 0o600}}
	for name, tt := range map[string]struct {
		dir     string
		archive []byte
		want    string
	}{
		"no folder":          {"/none", packed(t, file), "there is no folder /none"},
		"a file":             {"/etc/resolv.conf", packed(t, file), "is no folder"},
		"relative":           {"tmp", packed(t, file), "not absolute"},
		"garbage":            {dir, bytes.Repeat([]byte("garbage"), 200), "the archive: "},
		"cut":                {dir, packed(t, file)[:512], "unexpected EOF"},
		"file over a folder": {dir, packed(t, folder, over), "is a folder"},
		"the folder itself":  {dir, packed(t, entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "../..", Mode: 0o600}}), "that is no folder"},
	} {
		if err := tree.Write(tt.dir, false, bytes.NewReader(tt.archive)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if err := tree.Read("/none", "x", false, io.Discard); err == nil {
		t.Error("an archive of nothing")
	}
}

func TestStatPath(t *testing.T) {
	tree, dir := testTree(t, "stat")
	in := packed(t,
		entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o600}},
		entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "f"}},
		entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "d", Linkname: "."}},
		entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "none", Linkname: "nowhere"}},
	)
	if err := tree.Write(dir, false, bytes.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{
		"/": "true true false /", dir: "true true false " + dir, dir + "/": "true true false " + dir,
		dir + "/f": "true false false " + dir + "/f", dir + "/l": "true false true " + dir + "/f", dir + "/d/": "true true true " + dir,
		dir + "/none": "false false true ", dir + "/x": "false false false ", dir + "/f/x": "false false false ",
	} {
		s, err := tree.Stat(p)
		if got := fmt.Sprint(s.Exists, s.Folder, s.Link, " ", s.Path); err != nil || strings.Join(strings.Fields(got), " ") != strings.TrimSpace(want) {
			t.Errorf("Stat(%s) = %q, %v, want %q", p, got, err, want)
		}
	}
}

// FuzzArchive: whatever comes as an archive, it is unpacked in its folder or
// refused.
func FuzzArchive(f *testing.F) {
	f.Add(packed(f, entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "../../f", Mode: 0o600}, content: "f"}))
	f.Add(packed(f, entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o700}}, entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "d/h", Linkname: "../etc/passwd"}}))
	n := 0
	f.Fuzz(func(t *testing.T, in []byte) {
		n++
		tree, dir := testTree(t, fmt.Sprintf("fuzz/%d/in", n))
		limited := *tree
		left := 1 << 20
		limited.Room = func(_ *vfs.FileDescription, bytes int, _ bool) (func(), error) {
			if left -= bytes; left < 0 {
				return nil, io.ErrShortBuffer
			}
			return func() {}, nil
		}
		err := limited.Write(dir, false, bytes.NewReader(in))
		var out bytes.Buffer
		if readErr := limited.Read(path.Dir(dir), "x", false, &out); err == nil && readErr != nil && left >= 0 {
			t.Errorf("what was unpacked cannot be read: %v", readErr)
		}
		fd, err := tree.VFS.OpenAt(tree.Ctx, tree.Creds, &vfs.PathOperation{Root: tree.Root, Start: tree.Root, Path: fspath.Parse(path.Dir(dir)), FollowFinalSymlink: true}, &vfs.OpenOptions{Flags: linux.O_RDONLY | linux.O_DIRECTORY})
		if err != nil {
			t.Fatal(err)
		}
		defer fd.DecRef(tree.Ctx)
		if err := fd.IterDirents(tree.Ctx, vfs.IterDirentsCallbackFunc(func(d vfs.Dirent) error {
			if d.Name != "." && d.Name != ".." && d.Name != "in" {
				return fmt.Errorf("%s was made beside the folder", d.Name)
			}
			return nil
		})); err != nil {
			t.Error(err)
		}
	})
}
