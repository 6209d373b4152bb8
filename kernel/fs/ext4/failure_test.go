package ext4

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
)

// TestFailures injects errors of the device.
func TestFailures(t *testing.T) {
	base := mkfs(t, "16M", nil, "-t", "ext4")
	var armed atomic.Bool
	for _, op := range []string{"write", "flush"} {
		armed.Store(false)
		v := blocktest.NewVolatile(base)
		v.Fault = func(o string, off, n int64) error {
			if o == op && armed.CompareAndSwap(true, false) {
				return syscall.EIO
			}
			return nil
		}
		var lines []string
		f, err := Mount(v, Options{Log: func(s string) { lines = append(lines, s) }})
		if err != nil {
			t.Fatal(err)
		}
		root, _ := f.Root()
		in := create(t, root, "before")
		write(t, in, []byte("before"), 0)
		if err := in.Sync(false); err != nil {
			t.Fatal(err)
		}
		after := create(t, root, "after")
		armed.Store(true)
		if err := after.Sync(false); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s fails: Sync = %v, want EIO", op, err)
		}
		if !f.ReadOnly() || len(lines) != 1 {
			t.Errorf("%s fails: read-only %v, log %q, want one line", op, f.ReadOnly(), lines)
		}
		if _, err := root.Create("x", fs.New{Mode: syscall.S_IFREG}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s failed: Create = %v, want EROFS", op, err)
		}
		if err := in.Sync(false); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s failed: another Sync = %v, want EIO", op, err)
		}
		got := make([]byte, 6)
		if _, err := in.ReadAt(got, 0); err != nil || string(got) != "before" {
			t.Errorf("%s failed: ReadAt = %q, %v", op, got, err)
		}
		if err := v.Flush(); err != nil {
			t.Fatal(err)
		}
		checkAfterFailure(t, v)
	}
}

// checkAfterFailure mounts what a failure left.
func checkAfterFailure(t *testing.T, v *blocktest.Volatile) {
	m := v.Cut(nil)
	var lines []string
	f, err := Mount(m, Options{Log: func(s string) { lines = append(lines, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(lines, "\n"), "e2fsck") {
		t.Errorf("mount after a failure logs %q, want a word of e2fsck", lines)
	}
	root, _ := f.Root()
	in, err := root.Lookup("before")
	if err != nil {
		t.Fatal(err)
	}
	in.DecRef()
	root.DecRef()
	if err := f.Unmount(); err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(t.TempDir(), "failed")
	if err := m.Save(img); err != nil {
		t.Fatal(err)
	}
	if out := run(t, tool(t, "dumpe2fs"), "-h", img); !strings.Contains(out, "with errors") {
		t.Errorf("the superblock has no error flag:\n%s", out)
	}
}

// TestReadFailure makes single blocks unreadable.
func TestReadFailure(t *testing.T) {
	v := blocktest.NewVolatile(mkfs(t, "16M", nil, "-t", "ext4", "-b", "1024"))
	f, err := Mount(v, Options{})
	if err != nil {
		t.Fatal(err)
	}
	root, _ := f.Root()
	in := create(t, root, "file")
	write(t, in, make([]byte, 10_000), 0)
	m, err := in.(*inode).mapBlock(3, 1)
	if err != nil {
		t.Fatal(err)
	}
	v.Fault = blocktest.EIO("read", int64(m.nr)<<10, 1024, func() bool { return true })
	p := make([]byte, 1024)
	if _, err := in.ReadAt(p, 3<<10); !errors.Is(err, syscall.EIO) {
		t.Errorf("ReadAt = %v, want EIO", err)
	}
	if _, err := in.ReadAt(p, 4<<10); err != nil {
		t.Errorf("ReadAt beside it: %v", err)
	}
	v.Fault = blocktest.EIO("write", int64(m.nr)<<10, 1024, func() bool { return true })
	if _, err := in.WriteAt(p, 3<<10); !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt = %v, want EIO", err)
	}
	if f.ReadOnly() {
		t.Error("read-only after a failed write of content")
	}
	in.DecRef()
	root.DecRef()
	if err := f.Unmount(); err != nil {
		t.Fatal(err)
	}
}

// TestUnlinkedOpen uses a file without a name, and has a cut with it.
func TestUnlinkedOpen(t *testing.T) {
	for _, features := range []string{"^orphan_file", "orphan_file"} {
		m, f, root := setup(t, "32M", "-t", "ext4", "-O", features)
		var open []fs.Inode
		for i := range 10 {
			in := create(t, root, fmt.Sprint(i))
			write(t, in, make([]byte, 100_000), 0)
			if err := root.Unlink(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			open = append(open, in)
		}
		before, _ := f.Statfs()
		for _, i := range []int{3, 9, 0, 5} {
			open[i].DecRef()
		}
		write(t, open[4], []byte("still"), 200_000)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		cut := m.Clone()
		g := mount(t, cut, Options{})
		after, _ := g.Statfs()
		if after.BlocksFree < before.BlocksFree+10*24 {
			t.Errorf("%s: %d blocks free after orphans were freed, before %d", features, after.BlocksFree, before.BlocksFree)
		}
		if err := g.Unmount(); err != nil {
			t.Fatal(err)
		}
		fsck(t, cut)
		replayByFsck(t, m)
		for _, i := range []int{1, 2, 4, 6, 7, 8} {
			open[i].DecRef()
		}
		finish(t, m, f, root)
	}
}

// TestNameless makes files without a name, gives some of them one, and has a cut
// after that.
func TestNameless(t *testing.T) {
	for _, features := range []string{"^orphan_file", "orphan_file"} {
		m, f, root := setup(t, "32M", "-t", "ext4", "-O", features)
		var open []fs.Inode
		for i := range 10 {
			in, err := root.(fs.NamelessMaker).CreateNameless(fs.New{Mode: 0o640})
			if err != nil {
				t.Fatal(err)
			}
			write(t, in, fmt.Appendf(nil, "file %d", i), 100_000)
			open = append(open, in)
		}
		named := []int{0, 4, 9}
		for _, i := range named {
			if err := root.Link(fmt.Sprint(i), open[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := open[4].Truncate(50_000); err != nil {
			t.Fatal(err)
		}
		if err := root.Link("again", open[9]); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		cut := m.Clone()
		g := mount(t, cut, Options{})
		found, err := g.Root()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range named {
			in, err := found.Lookup(fmt.Sprint(i))
			if err != nil {
				t.Fatalf("%s: the file named %d after a cut: %v", features, i, err)
			}
			a, err := in.Attr()
			links, size := map[int]uint32{9: 2}[i], map[int]uint64{4: 50_000}[i]
			if links == 0 {
				links = 1
			}
			if size == 0 {
				size = 100_006
			}
			if err != nil || a.Nlink != links || a.Size != size || a.Mode != syscall.S_IFREG|0o640 {
				t.Errorf("%s: file %d has %d links, size %d, mode %o, %v; want %d, %d, 640", features, i, a.Nlink, a.Size, a.Mode, err, links, size)
			}
			in.DecRef()
		}
		if got := len(listDir(t, found)); got != 4+1 { // and lost+found
			t.Errorf("%s: %d names after a cut, want 5", features, got)
		}
		finish(t, cut, g, found)
		replayByFsck(t, m)
		for _, in := range open {
			in.DecRef()
		}
		finish(t, m, f, root)
	}
}

// TestNamelessGone has no file for who unlinked one that had a name.
func TestNamelessGone(t *testing.T) {
	m, f, root := setup(t, "16M", "-t", "ext4")
	in := create(t, root, "a")
	if err := root.Unlink("a"); err != nil {
		t.Fatal(err)
	}
	if err := root.Link("b", in); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Link of a file that was unlinked = %v, want ENOENT", err)
	}
	in.DecRef()
	finish(t, m, f, root)
}
