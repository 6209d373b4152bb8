// Package interop_test moves trees of files between Kiln and Linux on ext4
// volumes, both ways. Linux is e2fsprogs in this file: mke2fs fills a volume,
// e2fsck finds damage, debugfs takes files out. In linux_test.go it is Debian's
// kernel.
//
// KILN_LONG=1 takes 10,000 files instead of 1,500, and a file with 3 GB of
// data beside the one with as many of holes.
package interop_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/test/kilncmd"
)

// load is what the test moves.
type load struct {
	files int
	big   bool
	size  int64 // of the volume, bytes
}

func (l load) args(what, dir string) []string {
	args := []string{what, dir, strconv.Itoa(l.files)}
	if l.big {
		args = append(args, "big")
	}
	return args
}

func theLoad() load {
	if os.Getenv("KILN_LONG") != "" {
		return load{10_000, true, 6 << 30}
	}
	return load{1_500, false, 1 << 30}
}

// run runs a command that must succeed, under a time limit, and returns its
// output.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// setUp compiles tree.c and bakes it.
func setUp(t *testing.T) (kiln, program, image string) {
	t.Helper()
	kiln = kilncmd.Path(t)
	dir := t.TempDir()
	program, image = filepath.Join(dir, "tree"), filepath.Join(dir, "tree.kiln")
	run(t, "gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, "testdata/tree.c")
	run(t, kiln, "bake", "-o", image, program)
	return kiln, program, image
}

// volume makes an empty file for a volume.
func volume(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "volume.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKilnWrites fills volumes in a guest and looks at them with e2fsprogs.
func TestKilnWrites(t *testing.T) {
	kiln, program, image := setUp(t)
	l := theLoad()
	native := t.TempDir()
	run(t, append([]string{program}, l.args("write", native)...)...)
	for _, mkfs := range []string{"mkfs.ext4", "mkfs.ext2"} {
		t.Run(mkfs, func(t *testing.T) {
			vol := volume(t, l.size)
			run(t, "/usr/sbin/"+mkfs, "-q", "-F", vol)
			run(t, append([]string{kiln, "run", "qemu", "-M", "128", "-b", vol + ",/data", image, "--"}, l.args("write", "/data")...)...)
			run(t, "/usr/sbin/e2fsck", "-fn", vol)
			out := t.TempDir()
			run(t, "/usr/sbin/debugfs", "-R", "rdump many deep xattr links "+out, vol)
			checkLarge(t, vol, native, out, "sparse")
			if l.big {
				checkLarge(t, vol, native, out, "big")
			}
			run(t, append([]string{program}, l.args("copied", out)...)...)
			checkXattr(t, vol, "user.small", pattern(10+3, 2*3))
			checkXattr(t, vol, "user.large", pattern(1500+3*70, 2*3+1))
			if got := run(t, "/usr/sbin/debugfs", "-R", "stat links/file", vol); !strings.Contains(got, "Links: 2") {
				t.Errorf("links/file has not 2 links:\n%s", got)
			}
			// And a guest finds it all again.
			run(t, append([]string{kiln, "run", "qemu", "-b", vol + ",/data,ro", image, "--"}, l.args("check", "/data")...)...)
		})
	}
}

// checkLarge compares a large file of the volume by hash with the one that Linux
// wrote, which it then puts in its place in out.
func checkLarge(t *testing.T, vol, native, out, name string) {
	t.Helper()
	cmd := exec.Command("/usr/sbin/debugfs", "-R", "cat "+name, vol)
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	got := hash(t, pipe)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("debugfs: %v", err)
	}
	f, err := os.Open(filepath.Join(native, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := hash(t, f); got != want {
		t.Errorf("%s has the hash %s, want %s", name, got, want)
	}
	if err := os.Link(f.Name(), filepath.Join(out, name)); err != nil {
		t.Fatal(err)
	}
}

func hash(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// checkXattr compares an attribute of xattr/3 with what tree.c writes.
func checkXattr(t *testing.T, vol, attr string, want []byte) {
	t.Helper()
	value := filepath.Join(t.TempDir(), "value")
	run(t, "/usr/sbin/debugfs", "-R", fmt.Sprintf("ea_get -f %s xattr/3 %s", value, attr), vol)
	got, err := os.ReadFile(value)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes with the hash %x, want %d with %x", attr, len(got), sha256.Sum256(got), len(want), sha256.Sum256(want))
	}
}

// pattern is fill of tree.c.
func pattern(n int, seed uint32) []byte {
	b := make([]byte, n)
	x := seed*2654435761 + 12345
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x >> 3)
	}
	return b
}

// TestKilnReads fills volumes with mke2fs and checks them in a guest.
func TestKilnReads(t *testing.T) {
	kiln, program, image := setUp(t)
	l := theLoad()
	dir := t.TempDir()
	run(t, append([]string{program}, l.args("write", dir)...)...)
	for _, fs := range []string{"ext4", "ext2"} {
		t.Run(fs, func(t *testing.T) {
			vol := volume(t, l.size)
			run(t, "/usr/sbin/mke2fs", "-q", "-F", "-t", fs, "-d", dir, vol)
			run(t, append([]string{kiln, "run", "qemu", "-b", vol + ",/data", image, "--"}, l.args("check", "/data")...)...)
			run(t, "/usr/sbin/e2fsck", "-fn", vol)
		})
	}
}
