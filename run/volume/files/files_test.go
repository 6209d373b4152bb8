package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
	"kiln/kernel/fs/ext4"
	"kiln/run/volume"
)

// tool returns the path of a program that makes images.
func tool(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/bin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(tool(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// when is when all files were written.
var when = time.Unix(1_000_000_000, 0)

// plant makes a tree with a bit of everything that a copy keeps.
func plant(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(at("d/closed"), 0o755))
	must(os.WriteFile(at("d/file"), []byte("hello\n"), 0o640))
	must(os.WriteFile(at("d/closed/large"), bytes.Repeat([]byte("0123456789abcdef"), 200_000), 0o755))
	must(os.WriteFile(at("d/holes"), nil, 0o644))
	must(os.Truncate(at("d/holes"), 20<<20))
	f, err := os.OpenFile(at("d/holes"), os.O_WRONLY, 0)
	must(err)
	_, err = f.WriteAt([]byte("in the middle"), 10_000_000)
	must(errors.Join(err, f.Close()))
	must(os.Symlink("d/file", at("link")))
	must(os.Symlink("/d/", at("absolute")))
	must(os.Symlink("loop", at("loop")))
	for _, name := range []string{"d/file", "d/closed/large", "d/holes", "d/closed", "d"} {
		must(os.Chtimes(at(name), when, when))
	}
	must(os.Chmod(at("d/closed"), 0o555))
	t.Cleanup(func() { os.Chmod(at("d/closed"), 0o755) })
	return dir
}

func makeExt4(t testing.TB, dir, size string, args ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "volume.img")
	command(t, "mke2fs", append(args, "-q", "-t", "ext4", "-d", dir, image, size)...)
	return image
}

func makeISO(t testing.TB, dir string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "data.iso")
	command(t, "genisoimage", "-quiet", "-R", "-o", image, dir)
	return image
}

// open opens an image, and returns what it logs.
func open(t testing.TB, image string) (*Image, *[]string) {
	t.Helper()
	var log []string
	m, err := Open(image, "img", func(line string) { log = append(log, line) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, &log
}

func cat(t testing.TB, m *Image, path string) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.Cat(path, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// wantError checks that err is the user's to mend, and about something.
func wantError(t *testing.T, err error, word string) {
	t.Helper()
	if e, ok := errors.AsType[*volume.Error](err); !ok || !strings.Contains(e.Msg+e.Hint, word) {
		t.Errorf("error %v, want one about %q", err, word)
	}
}

func TestImage(t *testing.T) {
	dir := plant(t)
	for kind, image := range map[string]string{"ext4": makeExt4(t, dir, "32M"), "iso": makeISO(t, dir)} {
		t.Run(kind, func(t *testing.T) {
			before := sum(t, image)
			m, log := open(t, image)
			entries, err := m.List("/d")
			if err != nil || len(entries) != 3 {
				t.Fatalf("List = %v, %v, want 3 entries", entries, err)
			}
			if e := entries[1]; e.Name != "file" || e.Mode[:2] != "-r" || e.Size != 6 || !e.Modified.Equal(when) {
				t.Errorf("List has %+v, want file of 6 bytes", e)
			}
			if one, err := m.List("/link"); err != nil || len(one) != 1 || one[0].Target != "d/file" || one[0].Name != "link" {
				t.Errorf("List of a link = %+v, %v", one, err)
			}
			if all, err := m.List("/absolute/"); err != nil || !slices.Equal(all, entries) {
				t.Errorf("List through a link = %+v, %v, want %+v", all, err, entries)
			}
			for _, path := range []string{"/d/file", "//d/./file", "/link", "/absolute/file", "/../d/closed/../file"} {
				if got := cat(t, m, path); got != "hello\n" {
					t.Errorf("%s has %q", path, got)
				}
			}
			wantError(t, m.Cat("/d", &bytes.Buffer{}), "directory")
			wantError(t, m.Cat("/d/none", &bytes.Buffer{}), "img:/d/none: no such file")
			wantError(t, m.Cat("/d/file/x", &bytes.Buffer{}), "not a directory")
			wantError(t, m.Cat("/loop", &bytes.Buffer{}), "symbolic links")

			to := filepath.Join(t.TempDir(), "copy")
			if err := m.Copy(t.Context(), "/d", to); err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join(dir, "d"), to, kind == "iso")
			if got := sum(t, image); got != before {
				t.Error("the image has changed")
			}
			if len(*log) > 0 {
				t.Errorf("the log has %q", *log)
			}
		})
	}
}

func sum(t testing.TB, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// compare compares trees. An image made by genisoimage -R has all that is in it
// readable, and no holes.
func compare(t *testing.T, want, got string, iso bool) {
	t.Helper()
	err := filepath.Walk(want, func(path string, w os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, want)
		g, err := os.Lstat(got + name)
		if err != nil {
			return err
		}
		mode := w.Mode()
		if g.Mode() != mode || !g.ModTime().Equal(w.ModTime()) {
			t.Errorf("%s has mode %v and time %v, want %v and %v", name, g.Mode(), g.ModTime(), mode, w.ModTime())
		}
		if !mode.IsRegular() {
			return nil
		}
		if sum(t, path) != sum(t, got+name) {
			t.Errorf("%s has other content", name)
		}
		if n := g.Sys().(*syscall.Stat_t).Blocks * 512; !iso && n > w.Sys().(*syscall.Stat_t).Blocks*512+64<<10 {
			t.Errorf("%s takes %d bytes: holes are filled", name, n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	os.Chmod(got+"/closed", 0o755) // for who removes it
}

// TestUnclean reads what is only in the journal, and leaves it there.
func TestUnclean(t *testing.T) {
	image := makeExt4(t, plant(t), "32M")
	dev, err := blocktest.OpenFile(image, 512)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	f, err := ext4.Mount(dev, ext4.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	in, err := root.Create("late", fs.New{Mode: syscall.S_IFREG | 0o644})
	if err == nil {
		_, err = in.WriteAt([]byte("in the journal\n"), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	before := sum(t, image)
	m, log := open(t, image)
	if got := cat(t, m, "/late"); got != "in the journal\n" {
		t.Errorf("/late has %q", got)
	}
	if sum(t, image) != before {
		t.Error("the image has changed")
	}
	if !slices.ContainsFunc(*log, func(s string) bool { return strings.Contains(s, "replayed") }) {
		t.Errorf("the log has %q, want something of a replay", *log)
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	empty, q := filepath.Join(dir, "empty"), filepath.Join(dir, "q")
	for path, text := range map[string]string{empty: strings.Repeat("\x00", 100_000), q: "QFI\xfb and so on"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{dir: "neither", empty: "no file system", q: "qcow2", dir + "/none": "no file"} {
		_, err := Open(path, path, nil)
		wantError(t, err, want)
	}
}

func TestCopyPlaces(t *testing.T) {
	m, log := open(t, makeExt4(t, plant(t), "32M"))
	dir := t.TempDir()
	if err := m.Copy(t.Context(), "/link", dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "link")); err != nil || string(b) != "hello\n" {
		t.Errorf("the copy in a folder has %q, %v", b, err)
	}
	wantError(t, m.Copy(t.Context(), "/link", dir), "is there already")
	wantError(t, m.Copy(t.Context(), "/", dir), "is there already")
	wantError(t, m.Copy(t.Context(), "/link", filepath.Join(dir, "none/x")), "no folder")
	wantError(t, m.Copy(t.Context(), "/none", filepath.Join(dir, "x")), "no such file")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Copy(canceled, "/d", filepath.Join(dir, "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted copy returned %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v, want one file", left, err)
	}
	if len(*log) > 0 {
		t.Errorf("the log has %q", *log)
	}
}

func TestModeText(t *testing.T) {
	for mode, want := range map[uint32]string{
		syscall.S_IFREG | 0o644: "-rw-r--r--", syscall.S_IFDIR | 0o1777: "drwxrwxrwt", syscall.S_IFREG | 0o4711: "-rws--x--x",
		syscall.S_IFLNK | 0o777: "lrwxrwxrwx", syscall.S_IFBLK | 0o2640: "brw-r-S---", 0: "?---------",
	} {
		if got := modeText(mode); got != want {
			t.Errorf("modeText(%o) = %s, want %s", mode, got, want)
		}
	}
}
