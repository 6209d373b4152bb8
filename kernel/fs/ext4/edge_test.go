package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
)

// setup makes and mounts a file system and returns its root.
func setup(t testing.TB, size string, args ...string) (*memory, *FS, fs.Inode) {
	t.Helper()
	m := mkfs(t, size, nil, args...)
	f := mount(t, m, Options{})
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	return m, f, root
}

// finish unmounts and checks.
func finish(t testing.TB, m *memory, f *FS, root fs.Inode) {
	t.Helper()
	root.DecRef()
	if err := f.Unmount(); err != nil {
		t.Fatal(err)
	}
	fsck(t, m)
}

func create(t testing.TB, dir fs.Inode, name string) fs.Inode {
	t.Helper()
	in, err := dir.Create(name, fs.New{Mode: syscall.S_IFREG | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func write(t testing.TB, in fs.Inode, p []byte, off int64) {
	t.Helper()
	if n, err := in.WriteAt(p, off); n != len(p) || err != nil {
		t.Fatalf("WriteAt(%d bytes at %d) = %d, %v", len(p), off, n, err)
	}
}

func TestUnknownFeatures(t *testing.T) {
	for _, tt := range []struct{ feature, want string }{
		{"inline_data", "inline_data"}, {"casefold", "casefold"}, {"encrypt", "encrypt"}, {"ea_inode", "ea_inode"}, {"mmp", "mmp"},
	} {
		m := mkfs(t, "16M", nil, "-t", "ext4", "-O", tt.feature)
		_, err := Mount(m, Options{})
		if !errors.Is(err, syscall.EOPNOTSUPP) || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: Mount = %v, want EOPNOTSUPP that names it", tt.feature, err)
		}
	}
	for _, feature := range []string{"quota", "verity", "bigalloc"} {
		m := mkfs(t, "16M", nil, "-t", "ext4", "-O", feature)
		var lines []string
		f, err := Mount(m, Options{Log: func(s string) { lines = append(lines, s) }})
		if err != nil {
			t.Errorf("%s: %v", feature, err)
			continue
		}
		if log := strings.Join(lines, "\n"); !f.ReadOnly() || !strings.Contains(log, feature) || len(lines) != 1 {
			t.Errorf("%s: read-only %v, log %q, want a line that names it", feature, f.ReadOnly(), log)
		}
		root, err := f.Root()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := root.Create("x", fs.New{Mode: syscall.S_IFREG}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: Create = %v, want EROFS", feature, err)
		}
		root.DecRef()
		if err := f.Unmount(); err != nil {
			t.Error(err)
		}
		fsck(t, m)
	}
	if _, err := Mount(blocktest.NewMemory(1<<20, 512), Options{}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Mount of zeros = %v, want EINVAL", err)
	}
	if Probe(blocktest.NewMemory(1<<20, 512)) || !Probe(mkfs(t, "1M", nil, "-t", "ext2")) {
		t.Error("Probe is wrong")
	}
}

// TestDiskFull fills a disk to the last block, by one file and by many.
func TestDiskFull(t *testing.T) {
	for _, args := range [][]string{{"-t", "ext4"}, {"-t", "ext2"}, {"-t", "ext4", "-b", "4096"}} {
		m, f, root := setup(t, "16M", args...)
		for round := range 2 {
			in := create(t, root, "big")
			p := bytes.Repeat([]byte("full"), 1<<16)
			off := int64(0)
			for {
				n, err := in.WriteAt(p, off)
				off += int64(n)
				if errors.Is(err, syscall.ENOSPC) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			// A block map may need more than the last block to go on.
			if s, _ := f.Statfs(); s.BlocksFree > 2 {
				t.Errorf("%v: %d blocks free on a full disk", args, s.BlocksFree)
			}
			if err := in.Reserve(off, 10<<10); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%v: Reserve on a full disk = %v, want ENOSPC", args, err)
			}
			if _, err := root.Create("dir", fs.New{Mode: syscall.S_IFDIR | 0o755}); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%v: mkdir on a full disk = %v, want ENOSPC", args, err)
			}
			in.DecRef()
			if round == 0 {
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				fsckLive(t, m, f)
			}
			if err := root.Unlink("big"); err != nil {
				t.Fatal(err)
			}
		}
		fillSmall(t, root, args)
		finish(t, m, f, root)
	}
}

// fillSmall creates files until there is no room.
func fillSmall(t *testing.T, root fs.Inode, args []string) {
	for i := 0; ; i++ {
		in, err := root.Create(fmt.Sprintf("%d-%s", i, strings.Repeat("n", 200)), fs.New{Mode: syscall.S_IFREG})
		if errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatalf("%v: create %d: %v", args, i, err)
		}
		_, err = in.WriteAt([]byte("small"), 0)
		in.DecRef()
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%v: write %d: %v", args, i, err)
		}
	}
}

// fsckLive checks a mounted file system after Sync: what it would be after
// replay.
func fsckLive(t testing.TB, m *memory, f *FS) {
	t.Helper()
	c := m.Clone()
	g := mount(t, c, Options{})
	if err := g.Unmount(); err != nil {
		t.Fatal(err)
	}
	if f.journal != nil {
		fsck(t, c)
	}
}

func TestReserve(t *testing.T) {
	m, f, root := setup(t, "16M", "-t", "ext4", "-b", "1024")
	free := func() uint64 { s, _ := f.Statfs(); return s.BlocksFree }
	before := free()
	in := create(t, root, "a")
	for range 3 {
		if err := in.Reserve(0, 100<<10); err != nil {
			t.Fatal(err)
		}
	}
	if got := before - free(); got < 100 || got > 110 {
		t.Errorf("100 KB reserve %d blocks, want 100 and a few", got)
	}
	if err := in.Reserve(0, int64(before)<<10); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Reserve of the whole disk = %v, want ENOSPC", err)
	}
	other := create(t, root, "b")
	n, err := other.WriteAt(make([]byte, before<<10), 0)
	if err != nil || n >= int(before-100)<<10 {
		t.Errorf("WriteAt beside a reservation = %d, %v, want less than %d", n, err, (before-100)<<10)
	}
	write(t, in, bytes.Repeat([]byte("r"), 100<<10), 0)
	if f.reserved != 0 {
		t.Errorf("%d blocks reserved after they were written", f.reserved)
	}
	other.DecRef()
	if err := root.Unlink("b"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(in.Reserve(1<<20, 1<<20), in.Truncate(0)); err != nil || f.reserved != 0 {
		t.Errorf("%d blocks reserved after Truncate, %v", f.reserved, err)
	}
	if err := in.Reserve(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	in.DecRef()
	if f.reserved != 0 {
		t.Errorf("%d blocks reserved after the last DecRef", f.reserved)
	}
	finish(t, m, f, root)
}

// TestLargeFiles writes around the limits of 2, 3 and 4 GB, and reads it back
// by debugfs.
func TestLargeFiles(t *testing.T) {
	for _, args := range [][]string{{"-t", "ext4"}, {"-t", "ext2", "-b", "1024"}, {"-t", "ext4", "-b", "1024", "-O", "^extent,^64bit"}} {
		m, f, root := setup(t, "64M", args...)
		in := create(t, root, "large")
		for _, off := range []int64{0, 1 << 20, 1<<31 - 2, 3 << 30, 1<<32 - 1, 5 << 30} {
			write(t, in, []byte(fmt.Sprintf("at %d", off)), off)
		}
		for _, off := range []int64{1<<31 - 2, 3 << 30, 5 << 30} {
			want := fmt.Sprintf("at %d", off)
			got := make([]byte, len(want))
			if _, err := in.ReadAt(got, off); err != nil || string(got) != want {
				t.Errorf("%v: at %d: %q, %v", args, off, got, err)
			}
		}
		bs := int64(f.sb.blockSize)
		if got, err := in.SeekData(2 << 20); got != (1<<31-2)/bs*bs || err != nil {
			t.Errorf("%v: SeekData = %d, %v", args, got, err)
		}
		if got, err := in.SeekHole(1<<31 - 2); got != (1<<31+20)/bs*bs+bs || err != nil {
			t.Errorf("%v: SeekHole = %d, %v", args, got, err)
		}
		if err := in.Truncate(3 << 30); err != nil {
			t.Fatal(err)
		}
		in.DecRef()
		finish(t, m, f, root)
		f = mount(t, m, Options{})
		root, _ = f.Root()
		in, err := root.Lookup("large")
		if err != nil {
			t.Fatal(err)
		}
		if a, _ := in.Attr(); a.Size != 3<<30 {
			t.Errorf("size %d, want 3 GB", a.Size)
		}
		in.DecRef()
		if err := root.Unlink("large"); err != nil {
			t.Fatal(err)
		}
		finish(t, m, f, root)
	}
}

// TestTree writes a large tree and has debugfs read it.
func TestTree(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	files := 800
	if long {
		files = 10_000
	}
	makeTree(t, src, files)
	want := hostTree(t, src)
	for _, args := range [][]string{{"-t", "ext4"}, {"-t", "ext2", "-b", "1024"}} {
		m, f, root := setup(t, "256M", append(args, "-N", "20000")...)
		copyIn(t, src, root)
		finish(t, m, f, root)
		img := filepath.Join(dst, "image")
		if err := m.Save(img); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dst, args[1])
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		run(t, tool(t, "debugfs"), "-R", "rdump / "+out, img)
		os.RemoveAll(filepath.Join(out, "lost+found"))
		got := hostTree(t, out)
		for name, w := range want {
			// debugfs makes no hard links and no devices.
			if strings.Contains(w, "links 2 size") || strings.Contains(w, " dev ") {
				w, got[name] = "", ""
			}
			if g := got[name]; g != w {
				t.Errorf("%s: debugfs reads %q, want %q", name, g, w)
			}
		}
	}
}

// copyIn copies a tree of the host.
func copyIn(t testing.TB, src string, dir fs.Inode) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(src)
	must(err)
	for _, e := range entries {
		p := filepath.Join(src, e.Name())
		var st syscall.Stat_t
		must(syscall.Lstat(p, &st))
		attr := fs.New{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Rdev: st.Rdev}
		var in fs.Inode
		if st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
			target, err := os.Readlink(p)
			must(err)
			in, err = dir.Symlink(e.Name(), target, attr)
			must(err)
		} else {
			in, err = dir.Create(e.Name(), attr)
			must(err)
		}
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFDIR:
			copyIn(t, p, in)
		case syscall.S_IFREG:
			data, err := os.ReadFile(p)
			must(err)
			if e.Name() == "sparse" {
				for off := 0; off < len(data); off += 4096 {
					if c := data[off:min(len(data), off+4096)]; len(bytes.Trim(c, "\x00")) > 0 {
						write(t, in, c, int64(off))
					}
				}
				must(in.Truncate(int64(len(data))))
			} else {
				write(t, in, data, 0)
			}
		}
		in.DecRef()
	}
}

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

// TestCheapSync counts what syncing costs.
func TestCheapSync(t *testing.T) {
	v := blocktest.NewVolatile(mkfs(t, "16M", nil, "-t", "ext4"))
	f, err := Mount(v, Options{})
	if err != nil {
		t.Fatal(err)
	}
	root, _ := f.Root()
	in := create(t, root, "file")
	write(t, in, make([]byte, 64<<10), 0)
	cost := func(what string, wantWrites, wantFlushes int, do func() error) {
		t.Helper()
		w0, f0 := v.Counts()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		w1, f1 := v.Counts()
		if w1-w0 > wantWrites || f1-f0 > wantFlushes {
			t.Errorf("%s: %d writes and %d flushes, want at most %d and %d", what, w1-w0, f1-f0, wantWrites, wantFlushes)
		}
	}
	cost("fsync after a write", 2, 2, func() error { return in.Sync(false) })
	cost("fsync without changes", 0, 0, func() error { return in.Sync(false) })
	write(t, in, make([]byte, 8192), 0)
	cost("fdatasync after an overwrite", 0, 1, func() error { return in.Sync(true) })
	cost("fdatasync again", 0, 0, func() error { return in.Sync(true) })
	cost("fsync after it", 2, 2, func() error { return in.Sync(false) })
	cost("append and fsync", 3, 2, func() error {
		write(t, in, make([]byte, 100), 64<<10)
		return in.Sync(false)
	})
	in.DecRef()
	root.DecRef()
	if err := f.Unmount(); err != nil {
		t.Fatal(err)
	}
}

// TestContiguous checks that files written in order are in one piece.
func TestContiguous(t *testing.T) {
	m, f, root := setup(t, "256M", "-t", "ext4", "-b", "4096")
	in := create(t, root, "big")
	p := make([]byte, 128<<10)
	for off := int64(0); off < 64<<20; off += int64(len(p)) {
		write(t, in, p, off)
	}
	pieces := 0
	for at := uint64(0); at < 64<<20/4096; pieces++ {
		e, err := in.(*inode).mapBlock(at, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		at = e.end()
	}
	if pieces > 4 {
		t.Errorf("64 MB are in %d pieces", pieces)
	}
	in.DecRef()
	finish(t, m, f, root)
}

func TestTimes(t *testing.T) {
	m, f, root := setup(t, "16M", "-t", "ext4", "-I", "256")
	in := create(t, root, "file")
	for _, want := range []time.Time{
		time.Unix(0, 1), time.Unix(-1, 999_999_999), time.Unix(1<<31, 5), time.Unix(1<<32+7, 123_456_789), time.Unix(3<<32+5, 1),
	} {
		if err := in.SetAttr(fs.SetAttr{Mtime: &want, Atime: &want}); err != nil {
			t.Fatal(err)
		}
		in.DecRef()
		f.Shrink()
		var err error
		if in, err = root.Lookup("file"); err != nil {
			t.Fatal(err)
		}
		if a, _ := in.Attr(); !a.Mtime.Equal(want) || !a.Atime.Equal(want) || a.Btime.IsZero() {
			t.Errorf("times %v and %v, want %v", a.Mtime, a.Atime, want)
		}
	}
	in.DecRef()
	finish(t, m, f, root)
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

// TestSharedXattrs changes attributes that two inodes share.
func TestSharedXattrs(t *testing.T) {
	m, f, root := setup(t, "16M", "-t", "ext4", "-b", "1024", "-I", "128")
	a, b := create(t, root, "a"), create(t, root, "b")
	if err := a.Setxattr("user.shared", []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	// As Linux does when it finds the same attributes elsewhere.
	x, y := a.(*inode), b.(*inode)
	if err := f.begin(creditsTree); err != nil {
		t.Fatal(err)
	}
	buf, err := x.xattrBlock()
	if err != nil || buf == nil {
		t.Fatal("no block", err)
	}
	le.PutUint32(f.dirty(buf, kindXattr, 0)[xattrRefOff:], 2)
	if err := y.touch(false); err != nil {
		t.Fatal(err)
	}
	y.acl = x.acl
	y.addBlocks(1)
	f.end()
	if err := b.Setxattr("user.own", []byte("own"), fs.XattrCreate); err != nil {
		t.Fatal(err)
	}
	if v, err := a.Getxattr("user.own"); !errors.Is(err, syscall.ENODATA) {
		t.Errorf("a has b's attribute: %q, %v", v, err)
	}
	if v, err := b.Getxattr("user.shared"); string(v) != "value" {
		t.Errorf("b lost the shared attribute: %q, %v", v, err)
	}
	for _, tt := range []struct {
		err  error
		want syscall.Errno
	}{
		{a.Setxattr("user.shared", nil, fs.XattrCreate), syscall.EEXIST},
		{a.Setxattr("user.none", nil, fs.XattrReplace), syscall.ENODATA},
		{a.Setxattr("other.name", nil, 0), syscall.EOPNOTSUPP},
		{a.Removexattr("user.none"), syscall.ENODATA},
		{a.Setxattr("user.huge", make([]byte, 5000), 0), syscall.ENOSPC},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("got %v, want %v", tt.err, tt.want)
		}
	}
	a.DecRef()
	b.DecRef()
	finish(t, m, f, root)
}

// TestACL checks that ACLs come back as they were set, and that debugfs knows
// them.
func TestACL(t *testing.T) {
	m, f, root := setup(t, "16M", "-t", "ext4")
	in := create(t, root, "file")
	acl := le.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, aclNoID}, {2, 7, 1000}, {4, 4, aclNoID}, {8, 5, 2000}, {0x10, 7, aclNoID}, {0x20, 4, aclNoID}} {
		acl = le.AppendUint16(acl, e.tag)
		acl = le.AppendUint16(acl, e.perm)
		acl = le.AppendUint32(acl, e.id)
	}
	if err := in.Setxattr("system.posix_acl_access", acl, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := in.Getxattr("system.posix_acl_access"); err != nil || !bytes.Equal(got, acl) {
		t.Errorf("ACL %x, %v, want %x", got, err, acl)
	}
	if err := in.Setxattr("system.posix_acl_access", acl[:9], 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a cut ACL: %v, want EINVAL", err)
	}
	in.DecRef()
	finish(t, m, f, root)
	img := filepath.Join(t.TempDir(), "acl")
	if err := m.Save(img); err != nil {
		t.Fatal(err)
	}
	if out := run(t, tool(t, "debugfs"), "-R", "ea_list file", img); !strings.Contains(out, "system.posix_acl_access") {
		t.Errorf("debugfs lists %q", out)
	}
}

// TestConcurrent has several goroutines work in directories of their own and
// in a common one, while others sync, list and shrink.
func TestConcurrent(t *testing.T) {
	m, f, root := setup(t, "64M", "-t", "ext4", "-b", "1024")
	common := mkdir(t, root, "common")
	steps := 150
	if long {
		steps = 3000
	}
	var stop atomic.Bool
	var workers, others sync.WaitGroup
	for g := range 6 {
		own := mkdir(t, root, fmt.Sprintf("own%d", g))
		workers.Go(func() {
			defer own.DecRef()
			work(t, own, common, g, steps)
		})
	}
	for _, do := range []func(){
		func() { _ = f.Sync(); time.Sleep(time.Millisecond) },
		func() { f.Shrink(); time.Sleep(time.Millisecond) },
		func() {
			_ = common.ReadDir(0, func(e fs.Dirent) bool {
				if in, err := common.Lookup(e.Name); err == nil {
					_, _ = in.Attr()
					_, _ = in.ReadAt(make([]byte, 5000), 0)
					in.DecRef()
				}
				return true
			})
		},
	} {
		others.Go(func() {
			for !stop.Load() {
				do()
			}
		})
	}
	workers.Wait()
	stop.Store(true)
	others.Wait()
	common.DecRef()
	finish(t, m, f, root)
}

func mkdir(t testing.TB, dir fs.Inode, name string) fs.Inode {
	t.Helper()
	in, err := dir.Create(name, fs.New{Mode: syscall.S_IFDIR | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// work creates, writes, renames and removes, and checks what it reads.
func work(t *testing.T, own, common fs.Inode, g, steps int) {
	for i := range steps {
		name := fmt.Sprintf("w%d-%d", g, i%20)
		want := bytes.Repeat([]byte{byte(g), byte(i)}, 1+i*37%4000)
		in, err := own.Create("tmp", fs.New{Mode: syscall.S_IFREG})
		if err != nil {
			t.Errorf("create: %v", err)
			return
		}
		_, err1 := in.WriteAt(want, 0)
		err2 := in.Sync(true)
		err3 := own.Rename("tmp", common, name, 0)
		got := make([]byte, len(want)+1)
		n, err4 := in.ReadAt(got, 0)
		in.DecRef()
		if err := errors.Join(err1, err2, err3); err != nil || err4 != io.EOF || !bytes.Equal(got[:n], want) {
			t.Errorf("worker %d, step %d: %v, read %d bytes of %d, %v", g, i, err, n, len(want), err4)
			return
		}
		if i%3 == 0 {
			if err := common.Unlink(name); err != nil {
				t.Errorf("unlink: %v", err)
			}
		}
	}
}

// TestReadDirWhileChanging checks that a pass sees each entry that stays
// exactly once, while leaves split and blocks merge.
func TestReadDirWhileChanging(t *testing.T) {
	for _, args := range [][]string{{"-t", "ext4", "-b", "1024"}, {"-t", "ext2", "-b", "1024", "-O", "^dir_index"}} {
		m, f, root := setup(t, "32M", args...)
		d := mkdir(t, root, "d")
		for i := range 20 {
			create(t, d, fmt.Sprintf("stays%d", i)).DecRef()
		}
		seen := map[string]int{}
		extra := 0
		for pos := int64(0); ; {
			got := 0
			err := d.ReadDir(pos, func(e fs.Dirent) bool {
				if got == 1 {
					return false
				}
				got++
				seen[e.Name]++
				pos = e.Next
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			if got == 0 {
				break
			}
			for range 10 {
				if extra++; extra < 2000 {
					create(t, d, fmt.Sprintf("extra%d", extra)).DecRef()
				}
			}
			if extra > 30 && extra < 2000 {
				if err := d.Unlink(fmt.Sprintf("extra%d", extra-25)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 20 {
			if n := seen[fmt.Sprintf("stays%d", i)]; n != 1 {
				t.Errorf("%v: stays%d was seen %d times", args, i, n)
			}
		}
		for name, n := range seen {
			if n > 1 {
				t.Errorf("%v: %s was seen %d times", args, name, n)
			}
		}
		d.DecRef()
		finish(t, m, f, root)
	}
}

// TestLongExtents preallocates more than fits one extent, and changes parts.
func TestLongExtents(t *testing.T) {
	m, f, root := setup(t, "512M", "-t", "ext4", "-b", "4096")
	in := create(t, root, "file")
	const size = 300 << 20
	if err := in.Fallocate(0, 0, size); err != nil {
		t.Fatal(err)
	}
	if a, _ := in.Attr(); a.Size != size || a.Blocks < size/512 {
		t.Errorf("size %d, %d blocks, want %d", a.Size, a.Blocks, size)
	}
	p := bytes.Repeat([]byte("x"), 4<<20)
	for off := int64(0); off < 140<<20; off += int64(len(p)) {
		write(t, in, p, off)
	}
	if got, err := in.SeekHole(0); got != 140<<20 || err != nil {
		t.Errorf("SeekHole = %d, %v, want %d", got, err, 140<<20)
	}
	if err := in.Fallocate(fs.FallocZeroRange, 0, 139<<20); err != nil {
		t.Fatal(err)
	}
	if got, err := in.SeekData(0); got != 139<<20 || err != nil {
		t.Errorf("SeekData = %d, %v, want %d", got, err, 139<<20)
	}
	if err := in.Fallocate(fs.FallocPunchHole|fs.FallocKeepSize, 1<<20, 298<<20); err != nil {
		t.Fatal(err)
	}
	if a, _ := in.Attr(); a.Blocks > 3<<20/512 {
		t.Errorf("%d blocks after punching", a.Blocks)
	}
	in.DecRef()
	finish(t, m, f, root)
}

// TestLargeSectors uses a device with sectors of 4096 bytes.
func TestLargeSectors(t *testing.T) {
	load := func(blockSize string) *memory {
		name := filepath.Join(t.TempDir(), "image")
		run(t, tool(t, "mke2fs"), "-q", "-F", "-t", "ext4", "-b", blockSize, name, "32M")
		m, err := blocktest.Load(name, 4096)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if _, err := Mount(load("1024"), Options{}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("blocks of 1024 bytes on sectors of 4096: %v, want EINVAL", err)
	}
	m := load("4096")
	f := mount(t, m, Options{})
	mo := newModel(t, f, 1)
	for range 300 {
		mo.step()
	}
	mo.compare()
	root, _ := f.Root()
	finish(t, m, f, root)
}
