package ext4

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
)

// tool returns the path of one of e2fsprogs' programs.
func tool(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin"} {
		if p := filepath.Join(dir, name); exec.Command("test", "-x", p).Run() == nil {
			return p
		}
	}
	t.Skipf("%s is not installed: Debian's package e2fsprogs has it", name)
	return ""
}

// mkfs makes an image of size ("64M") and returns it as a device.
func mkfs(t testing.TB, size string, tune []string, args ...string) *blocktest.Memory {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	run(t, tool(t, "mke2fs"), append(append([]string{"-q", "-F"}, args...), name, size)...)
	if tune != nil {
		run(t, tool(t, "tune2fs"), append(tune, name)...)
	}
	m, err := blocktest.Load(name, 512)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fsck fails the test unless e2fsck finds nothing to say about the device.
func fsck(t testing.TB, m *blocktest.Memory) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fsck")
	if err := m.Save(name); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(name)
	out, err := exec.Command(tool(t, "e2fsck"), "-fn", name).CombinedOutput()
	if err != nil {
		keep := filepath.Join(os.TempDir(), fmt.Sprintf("ext4-%s-%d.img", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid()))
		m.Save(keep)
		t.Fatalf("e2fsck -fn: %v\n%s\nthe image is kept as %s", err, out, keep)
	}
}

func mount(t testing.TB, m *blocktest.Memory, o Options) *FS {
	t.Helper()
	if o.Log == nil {
		o.Log = func(s string) { t.Log(s) }
	}
	f, err := Mount(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tree describes everything below a directory: a line for each inode, with
// type, permissions, owner, links and a hash of the content.
func tree(t testing.TB, dir fs.Inode, prefix string, into map[string]string) {
	t.Helper()
	for _, e := range listDir(t, dir) {
		name := prefix + e.Name
		n, err := dir.Lookup(e.Name)
		if err != nil {
			t.Fatalf("lookup of %s: %v", name, err)
		}
		a, err := n.Attr()
		if err != nil {
			t.Fatal(err)
		}
		if a.Ino != e.Ino || uint32(e.Type)<<12 != a.Mode&0xf000 {
			t.Errorf("%s: entry has inode %d of type %d, the inode is %d with mode %#o", name, e.Ino, e.Type, a.Ino, a.Mode)
		}
		into[name] = describe(t, n, a)
		if a.Mode&0xf000 == 0x4000 {
			tree(t, n, name+"/", into)
		}
		n.DecRef()
	}
}

func describe(t testing.TB, n fs.Inode, a fs.Attr) string {
	t.Helper()
	s := fmt.Sprintf("%o %d:%d", a.Mode, a.UID, a.GID)
	switch a.Mode & 0xf000 {
	case 0x8000:
		h := sha256.New()
		if got, err := io.Copy(h, io.NewSectionReader(n, 0, 1<<62)); err != nil || got != int64(a.Size) {
			t.Fatalf("inode %d: read %d bytes of %d: %v", a.Ino, got, a.Size, err)
		}
		return fmt.Sprintf("%s links %d size %d %x", s, a.Nlink, a.Size, h.Sum(nil)[:8])
	case 0xa000:
		target, err := n.Readlink()
		if err != nil {
			t.Fatal(err)
		}
		return s + " -> " + target
	case 0x4000:
		return fmt.Sprintf("%s links %d", s, a.Nlink)
	}
	return fmt.Sprintf("%s dev %#x", s, a.Rdev)
}

// listDir returns a directory's entries, and checks that reading in pieces gives
// the same ones.
func listDir(t testing.TB, dir fs.Inode) []fs.Dirent {
	t.Helper()
	var all, pieces []fs.Dirent
	if err := dir.ReadDir(0, func(e fs.Dirent) bool { all = append(all, e); return true }); err != nil {
		t.Fatal(err)
	}
	for pos, step := int64(0), 1; ; step = step%7 + 1 {
		got := 0
		err := dir.ReadDir(pos, func(e fs.Dirent) bool {
			if got == step {
				return false
			}
			got++
			pos = e.Next
			pieces = append(pieces, e)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if got == 0 {
			break
		}
	}
	if fmt.Sprint(all) != fmt.Sprint(pieces) {
		t.Errorf("reading a directory in pieces gives %d entries, as a whole %d", len(pieces), len(all))
	}
	return all
}

// hostTree is tree for a directory of the host.
func hostTree(t testing.TB, root string) map[string]string {
	t.Helper()
	into := make(map[string]string)
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		into[strings.TrimPrefix(p, root+"/")] = describeHost(t, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return into
}

func compareTrees(t testing.TB, got, want map[string]string) {
	t.Helper()
	bad := 0
	for name, w := range want {
		if g := got[name]; g != w {
			if bad++; bad < 10 {
				t.Errorf("%s: got %q, want %q", name, g, w)
			}
		}
	}
	for name, g := range got {
		if _, ok := want[name]; !ok && name != "lost+found" {
			if bad++; bad < 10 {
				t.Errorf("%s: got %q, want nothing", name, g)
			}
		}
	}
	if bad >= 10 {
		t.Errorf("%d differences in all", bad)
	}
}

type memory = blocktest.Memory

func loadImage(name string) (*memory, error) { return blocktest.Load(name, 512) }

// reindex makes e2fsck give directories an index.
func reindex(t testing.TB, name string) {
	t.Helper()
	out, err := exec.Command(tool(t, "e2fsck"), "-fyD", name).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		t.Fatalf("e2fsck -fyD: %v\n%s", err, out)
	}
}

// smallImage makes an image of 1 MB, or what a journal needs, with an index in
// its directories.
func smallImage(dir, root string, args []string) (*memory, error) {
	name := filepath.Join(dir, "image")
	size := "1M"
	for _, a := range args {
		if a == "-J" {
			size = "4M"
		}
	}
	defer os.Remove(name)
	args = append([]string{"-q", "-F", "-b", "1024", "-N", "256", "-d", root}, append(args, name, size)...)
	if out, err := exec.Command("/usr/sbin/mke2fs", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mke2fs %v: %w\n%s", args, err, out)
	}
	// e2fsck -D gives directories an index; it exits with 1 for having changed
	// something.
	out, err := exec.Command("/usr/sbin/e2fsck", "-fyD", name).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return nil, fmt.Errorf("e2fsck: %w\n%s", err, out)
	}
	return blocktest.Load(name, 512)
}
