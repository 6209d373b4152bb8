package iso9660_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	kfs "kiln/kernel/fs"
	"kiln/kernel/fs/iso9660"
)

// disk is a read-only device over an io.ReaderAt.
type disk struct {
	r      io.ReaderAt
	size   int64
	sector int
}

func (d *disk) SectorSize() int { return d.sector }
func (d *disk) Size() int64     { return d.size }
func (d *disk) ReadOnly() bool  { return true }

func (d *disk) ReadAt(p []byte, off int64) error {
	s := int64(d.sector)
	if off%s != 0 || int64(len(p))%s != 0 || off < 0 || off+int64(len(p)) > d.size {
		return fmt.Errorf("read of %d bytes at %d: %w", len(p), off, syscall.EINVAL)
	}
	_, err := d.r.ReadAt(p, off)
	return err
}

func (d *disk) WriteAt([]byte, int64) error    { return syscall.EROFS }
func (d *disk) Flush() error                   { return nil }
func (d *disk) Discard(int64, int64) error     { return syscall.EROFS }
func (d *disk) WriteZeroes(int64, int64) error { return syscall.EROFS }

// openDisk opens an image file as a device.
func openDisk(t testing.TB, path string, sector int) *disk {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return &disk{file, info.Size() / int64(sector) * int64(sector), sector}
}

// mount mounts a device and notes what is logged.
func mount(t testing.TB, d *disk, o iso9660.Options) *iso9660.FS {
	t.Helper()
	o.Log = func(line string) { t.Log("log:", line) }
	f, err := iso9660.Mount(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// master makes an image of dir with a tool: genisoimage, or xorriso in its
// place.
func master(t testing.TB, tool, dir string, flags ...string) string {
	t.Helper()
	args := append([]string{}, flags...)
	if tool == "xorriso" {
		args = append([]string{"-as", "mkisofs"}, args...)
	}
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip(tool, "is not installed")
	}
	out := filepath.Join(t.TempDir(), "image.iso")
	args = append(args, "-quiet", "-V", "TEST", "-o", out, dir)
	if b, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", tool, args, err, b)
	}
	return out
}

// write makes a file of the tree in dir.
func write(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o640); err != nil {
		t.Fatal(err)
	}
}

// pattern is content of n bytes that differs from place to place.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i) ^ byte(i>>8)
	}
	return b
}

// tree makes a folder with a bit of everything that names of 8+3 capitals can
// express, if plain, or that a Linux file system can.
func tree(t testing.TB, plain bool) string {
	dir := t.TempDir()
	write(t, dir, "empty", nil)
	write(t, dir, "one.txt", []byte("one\n"))
	write(t, dir, "sub/block.bin", pattern(1, 2048))
	write(t, dir, "sub/odd.bin", pattern(2, 300_001))
	write(t, dir, "a/b/c/d/e/f/leaf.txt", []byte("deep"))
	for i := range 300 {
		write(t, dir, fmt.Sprintf("many/f%d.txt", i), pattern(byte(i), i))
	}
	if plain {
		return dir
	}
	write(t, dir, "Mixed Case, blanks.tar.gz", []byte("mixed"))
	write(t, dir, "umlaut-äöü-日本-"+strings.Repeat("x", 30), []byte("unicode"))
	return dir
}

// treeRock adds what takes Rock Ridge.
func treeRock(t testing.TB, tool string) string {
	dir := tree(t, false)
	write(t, dir, strings.Repeat("n", 240)+".txt", []byte("long name"))
	deep := "deep"
	for i := range 20 {
		deep += fmt.Sprintf("/level-%02d", i)
		write(t, dir, deep+"/file", []byte(deep))
	}
	long := strings.Repeat("directory/", 90) + "end" // takes several SL entries
	if tool == "genisoimage" {
		long = long[len(long)-100:] // of longer ones it loses a part
	}
	for name, target := range map[string]string{
		"link": "one.txt", "absolute": "/etc/passwd", "up": "../../x/./y", "root": "/", "long-link": long,
		"sub/back": "..", "component": strings.Repeat("c", 250) + "/z",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, "one.txt"), 1234, 70000); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "one.txt"), 0o4751); err != nil {
		t.Fatal(err)
	}
	return dir
}

// compare walks a folder and the volume and tells of each difference. full
// also compares what only Rock Ridge records.
func compare(t *testing.T, f *iso9660.FS, dir string, full bool) {
	t.Helper()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.DecRef()
	compareDirectory(t, root, dir, full)
}

func compareDirectory(t *testing.T, in kfs.Inode, dir string, full bool) {
	want := make(map[string]fs.DirEntry)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want[e.Name()] = e
	}
	var names []string
	err = in.ReadDir(0, func(d kfs.Dirent) bool {
		names = append(names, d.Name)
		return true
	})
	if err != nil {
		t.Errorf("%s: ReadDir: %v", dir, err)
	}
	for _, name := range names {
		if name == "rr_moved" {
			continue // genisoimage keeps deep directories there
		}
		if want[name] == nil {
			t.Errorf("%s has %q in the volume only", dir, name)
			continue
		}
		delete(want, name)
		child, err := in.Lookup(name)
		if err != nil {
			t.Errorf("%s: Lookup(%q): %v", dir, name, err)
			continue
		}
		compareInode(t, child, filepath.Join(dir, name), full)
		child.DecRef()
	}
	for name := range want {
		t.Errorf("%s: %q is not in the volume", dir, name)
	}
}

func compareInode(t *testing.T, in kfs.Inode, path string, full bool) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	a, err := in.Attr()
	if err != nil {
		t.Fatal(err)
	}
	if full {
		if a.Mode != st.Mode || a.UID != st.Uid || a.GID != st.Gid || a.Rdev != st.Rdev {
			t.Errorf("%s: mode %#o, owner %d:%d, device %#x; want %#o, %d:%d, %#x",
				path, a.Mode, a.UID, a.GID, a.Rdev, st.Mode, st.Uid, st.Gid, st.Rdev)
		}
		if got, want := a.Mtime.Unix(), st.Mtim.Sec; got != want {
			t.Errorf("%s: modified at %d, want %d", path, got, want)
		}
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		compareDirectory(t, in, path, full)
	case syscall.S_IFLNK:
		want, _ := os.Readlink(path)
		if got, err := in.Readlink(); got != want || err != nil {
			t.Errorf("%s: link to %q, %v; want %q", path, got, err, want)
		}
		if a.Size != uint64(len(want)) {
			t.Errorf("%s: link of size %d, want %d", path, a.Size, len(want))
		}
	case syscall.S_IFREG:
		if a.Size != uint64(st.Size) {
			t.Errorf("%s: size %d, want %d", path, a.Size, st.Size)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := hash(t, in, 10_000); got != sha256.Sum256(want) {
			t.Errorf("%s: content differs", path)
		}
	}
}

// hash reads a file in pieces of a size and returns its SHA-256.
func hash(t testing.TB, in kfs.Inode, piece int) (sum [32]byte) {
	h := sha256.New()
	buf := make([]byte, piece)
	for off := int64(0); ; {
		n, err := in.ReadAt(buf, off)
		h.Write(buf[:n])
		off += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("ReadAt(%d): %v", off, err)
			break
		}
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// lookup finds a file by its path.
func lookup(t testing.TB, f *iso9660.FS, path string) kfs.Inode {
	t.Helper()
	in, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, "/") {
		next, err := in.Lookup(name)
		in.DecRef()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		in = next
	}
	t.Cleanup(in.DecRef)
	return in
}

// memory is a device over bytes.
func memory(b []byte) *disk { return &disk{bytes.NewReader(b), int64(len(b)), 512} }
