package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

func mkdir(t testing.TB, dir fs.Inode, name string) fs.Inode {
	t.Helper()
	in, err := dir.Create(name, fs.New{Mode: syscall.S_IFDIR | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	return in
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
