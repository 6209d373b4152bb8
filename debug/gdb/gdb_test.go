package gdb

import (
	"bytes"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erofs/go-erofs"

	tree "kiln/bake/erofs"
)

// fileSystem returns an image's root file system.
func fileSystem(t *testing.T, build func(t *tree.Tree) error) fs.FS {
	t.Helper()
	tr := tree.New()
	if err := build(tr); err != nil {
		t.Fatal(err)
	}
	plan, err := tr.Plan()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := plan.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	fsys, err := erofs.Open(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func content(s string) tree.Content {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func TestExtract(t *testing.T) {
	const program = "\x7fELF and more"
	dir := t.TempDir()
	fsys := fileSystem(t, func(tr *tree.Tree) error {
		for _, err := range []error{
			tr.Mkdir("/usr/lib", 0o755),
			tr.Create("/usr/lib/libc.so", 0o644, 0, int64(len(program)), content(program)),
			tr.Create("/usr/lib/text", 0o644, 0, 5, content("text\n")),
			tr.Create("/usr/lib/short", 0o644, 0, 2, content("\x7fE")),
			tr.Create("/usr/lib/empty", 0o644, 0, 0, content("")),
			tr.Symlink("/lib", "usr/lib"),
			tr.Symlink("/usr/absolute", "/lib/libc.so"),
			tr.Symlink("/out", "../../../../../../../../etc"),
			tr.Symlink("/root", "/"),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := extractFiles(fsys, dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"usr/lib/libc.so": program, "lib/libc.so": program, "usr/absolute": program, "root/lib/libc.so": program} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"text", "short", "empty"} {
		if _, err := os.Stat(filepath.Join(dir, "usr/lib", name)); !os.IsNotExist(err) {
			t.Errorf("%s was extracted, which is no ELF file: %v", name, err)
		}
	}
}

func TestExtractStaysInside(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "lib")); err != nil {
		t.Fatal(err)
	}
	fsys := fileSystem(t, func(tr *tree.Tree) error {
		return tr.Create("/lib/evil.so", 0o644, 0, 5, content("\x7fELF!"))
	})
	if err := extractFiles(fsys, dir); err == nil {
		t.Error("a file behind a link that leads outside was written")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

func TestCheckTarget(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for at, want := range map[string]bool{"1": true, "65535": true, socket: true, "0": false, "65536": false, socket + "x": false, t.TempDir(): false} {
		if err := CheckTarget(at); (err == nil) != want {
			t.Errorf("CheckTarget(%q) = %v, want %v", at, err, want)
		}
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote(`a b"c\d`), `"a b\"c\\d"`; got != want {
		t.Errorf("quote = %s, want %s", got, want)
	}
}

// TestScript has Python read the script as gdb will.
func TestScript(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("there is no Python: %v", err)
	}
	cmd := exec.Command(python, "-W", "error", "-c", "import ast, sys; ast.parse(sys.stdin.read())")
	cmd.Stdin = bytes.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("kiln.py: %v\n%s", err, out)
	}
}
