package disk_test

import (
	"slices"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/sentry/disk"
	"kiln/kernel/sentry/disk/disktest"
)

func (w *world) mkdir(p string) error {
	return w.vfs.MkdirAt(w.ctx, w.creds, w.final(p), &vfs.MkdirOptions{Mode: 0755})
}

func (w *world) unlink(p string) error { return w.vfs.UnlinkAt(w.ctx, w.creds, w.final(p)) }
func (w *world) rmdir(p string) error  { return w.vfs.RmdirAt(w.ctx, w.creds, w.final(p)) }

func (w *world) rename(from, to string, flags uint32) error {
	return w.vfs.RenameAt(w.ctx, w.creds, w.final(from), w.final(to), &vfs.RenameOptions{Flags: flags})
}

func (w *world) stat(p string) (linux.Statx, error) {
	return w.vfs.StatAt(w.ctx, w.creds, w.at(p), &vfs.StatOptions{})
}

// list returns a directory's names, sorted, without "." and "..".
func (w *world) list(p string) string {
	w.t.Helper()
	fd := w.open(p, linux.O_RDONLY|linux.O_DIRECTORY)
	defer fd.DecRef(w.ctx)
	var names []string
	err := fd.IterDirents(w.ctx, vfs.IterDirentsCallbackFunc(func(d vfs.Dirent) error {
		names = append(names, d.Name)
		return nil
	}))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(names) < 2 || names[0] != "." || names[1] != ".." {
		w.t.Errorf("%s begins with %q", p, names)
	}
	names = names[2:]
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestRename(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.put("/a", "A")
	w.put("/b", "B")
	w.is("mkdir", w.mkdir("/d"), nil)
	w.is("mkdir", w.mkdir("/d/sub"), nil)
	w.is("mkdir", w.mkdir("/e"), nil)
	w.is("onto another", w.rename("/a", "/b", 0), nil)
	if got := w.get("/b"); got != "A" {
		t.Errorf("/b = %q after the rename, want A", got)
	}
	w.is("of what is gone", w.rename("/a", "/c", 0), linuxerr.ENOENT)
	w.put("/a", "new")
	w.is("noreplace", w.rename("/a", "/b", linux.RENAME_NOREPLACE), linuxerr.EEXIST)
	w.is("exchange", w.rename("/a", "/b", linux.RENAME_EXCHANGE), nil)
	if a, b := w.get("/a"), w.get("/b"); a != "A" || b != "new" {
		t.Errorf("after the exchange /a = %q, /b = %q", a, b)
	}
	w.is("exchange with nothing", w.rename("/a", "/x", linux.RENAME_EXCHANGE), linuxerr.ENOENT)
	w.is("into itself", w.rename("/d", "/d/sub/x", 0), linuxerr.EINVAL)
	w.is("onto its parent", w.rename("/d/sub", "/d", 0), linuxerr.ENOTEMPTY)
	w.is("exchange with its parent", w.rename("/d/sub", "/d", linux.RENAME_EXCHANGE), linuxerr.EINVAL)
	w.is("file onto directory", w.rename("/a", "/e", 0), linuxerr.EISDIR)
	w.is("directory onto file", w.rename("/e", "/a", 0), linuxerr.ENOTDIR)
	w.is("directory onto one with entries", w.rename("/e", "/d", 0), linuxerr.ENOTEMPTY)
	w.is("directory to another", w.rename("/d", "/e/d", 0), nil)
	w.is("exchange across directories", w.rename("/e/d", "/a", linux.RENAME_EXCHANGE), nil)
	if got := w.list("/a"); got != "sub" {
		t.Errorf("/a has %q, want sub", got)
	}
	if got := w.get("/e/d"); got != "A" {
		t.Errorf("/e/d = %q, want A", got)
	}
	if got := w.list("/"); got != "a b e" {
		t.Errorf("/ has %q, want a b e", got)
	}
	w.is("unknown flag", w.rename("/b", "/c", linux.RENAME_WHITEOUT), linuxerr.EINVAL)
}

func TestRemove(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.is("mkdir", w.mkdir("/d"), nil)
	w.put("/d/f", "x")
	w.is("rmdir of one with entries", w.rmdir("/d"), linuxerr.ENOTEMPTY)
	w.is("unlink of a directory", w.unlink("/d"), linuxerr.EISDIR)
	w.is("rmdir of a file", w.rmdir("/d/f"), linuxerr.ENOTDIR)
	dir := w.open("/d", linux.O_RDONLY)
	defer dir.DecRef(w.ctx)
	fd := w.open("/d/f", linux.O_RDWR)
	w.is("unlink", w.unlink("/d/f"), nil)
	w.is("again", w.unlink("/d/f"), linuxerr.ENOENT)
	w.is("rmdir", w.rmdir("/d"), nil)
	if _, err := w.stat("/d"); !linuxerr.Equals(linuxerr.ENOENT, err) {
		t.Errorf("stat: %v", err)
	}
	// The file lives on without a name, the directory without entries.
	w.write(fd, []byte("more"), 1)
	if got := string(w.read(fd, 10, 0)); got != "xmore" {
		t.Errorf("content without a name = %q", got)
	}
	if s, err := fd.Stat(w.ctx, vfs.StatOptions{}); err != nil || s.Nlink != 0 {
		t.Errorf("links = %d, %v, want 0", s.Nlink, err)
	}
	before := w.fs.Inodes()
	fd.DecRef(w.ctx)
	if got := w.fs.Inodes(); got != before-1 {
		t.Errorf("%d inodes after the last close, want %d", got, before-1)
	}
}

func TestHardLinks(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.put("/a", "one")
	w.is("link", w.vfs.LinkAt(w.ctx, w.creds, w.at("/a"), w.final("/b")), nil)
	w.is("again", w.vfs.LinkAt(w.ctx, w.creds, w.at("/a"), w.final("/b")), linuxerr.EEXIST)
	w.put("/b", "other")
	if got := w.get("/a"); got != "other" {
		t.Errorf("/a = %q, want what /b was given", got)
	}
	w.is("rename of one name to the other", w.rename("/a", "/b", 0), nil)
	if got := w.list("/"); got != "a b" {
		t.Errorf("names %q, want both", got)
	}
	w.is("unlink", w.unlink("/a"), nil)
	if s, err := w.stat("/b"); err != nil || s.Nlink != 1 {
		t.Errorf("links = %d, %v, want 1", s.Nlink, err)
	}
}

func TestOpenFlags(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.put("/a", "content")
	try := func(p string, flags uint32) error {
		fd, err := w.vfs.OpenAt(w.ctx, w.creds, w.at(p), &vfs.OpenOptions{Flags: flags, Mode: 0600})
		if err == nil {
			fd.DecRef(w.ctx)
		}
		return err
	}
	w.is("O_EXCL", try("/a", linux.O_CREAT|linux.O_EXCL|linux.O_RDWR), linuxerr.EEXIST)
	w.is("O_CREAT of a directory", try("/", linux.O_CREAT|linux.O_RDWR), linuxerr.EISDIR)
	w.is("writing a directory", try("/", linux.O_WRONLY), linuxerr.EISDIR)
	w.is("nothing there", try("/x", linux.O_RDONLY), linuxerr.ENOENT)
	w.is("file as directory", try("/a/x", linux.O_RDONLY), linuxerr.ENOTDIR)
	w.is("long name", try("/"+strings.Repeat("n", 256), linux.O_RDONLY), linuxerr.ENAMETOOLONG)
	w.is("symlink", w.vfs.SymlinkAt(w.ctx, w.creds, w.final("/link"), "new"), nil)
	w.is("O_EXCL through a link", try("/link", linux.O_CREAT|linux.O_EXCL|linux.O_RDWR), linuxerr.EEXIST)
	w.is("O_CREAT through a link", try("/link", linux.O_CREAT|linux.O_RDWR), nil)
	if got := w.list("/"); got != "a link new" {
		t.Errorf("names %q, want a link new", got)
	}
	w.is("symlink", w.vfs.SymlinkAt(w.ctx, w.creds, w.final("/loop"), "loop"), nil)
	w.is("loop", try("/loop", linux.O_RDONLY), linuxerr.ELOOP)
	w.is("O_TRUNC", try("/a", linux.O_TRUNC|linux.O_WRONLY), nil)
	if got := w.get("/a"); got != "" {
		t.Errorf("after O_TRUNC %q", got)
	}

	before := w.fs.Inodes()
	fd := w.open("/", linux.O_TMPFILE|linux.O_DIRECTORY|linux.O_RDWR)
	w.write(fd, []byte("secret"), 0)
	if got := string(w.read(fd, 10, 0)); got != "secret" {
		t.Errorf("O_TMPFILE = %q", got)
	}
	if got := w.list("/"); got != "a link loop new" {
		t.Errorf("names %q with an O_TMPFILE open", got)
	}
	fd.DecRef(w.ctx)
	if got := w.fs.Inodes(); got != before {
		t.Errorf("%d inodes after O_TMPFILE, want %d", got, before)
	}
}

func TestXattr(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.put("/a", "")
	set := func(name, value string, flags uint32) error {
		return w.vfs.SetXattrAt(w.ctx, w.creds, w.at("/a"), &vfs.SetXattrOptions{Name: name, Value: value, Flags: flags})
	}
	w.is("set", set("user.one", "1", 0), nil)
	w.is("create again", set("user.one", "2", linux.XATTR_CREATE), linuxerr.EEXIST)
	w.is("replace nothing", set("user.two", "2", linux.XATTR_REPLACE), linuxerr.ENODATA)
	w.is("ACL", set("system.posix_acl_access", "2", 0), linuxerr.EOPNOTSUPP)
	w.is("trusted", set("trusted.t", "3", 0), nil)
	got, err := w.vfs.GetXattrAt(w.ctx, w.creds, w.at("/a"), &vfs.GetXattrOptions{Name: "user.one", Size: 100})
	if got != "1" || err != nil {
		t.Errorf("get = %q, %v", got, err)
	}
	names, err := w.vfs.ListXattrAt(w.ctx, w.creds, w.at("/a"), 100)
	if slices.Sort(names); !slices.Equal(names, []string{"trusted.t", "user.one"}) || err != nil {
		t.Errorf("list = %q, %v", names, err)
	}
	w.is("remove", w.vfs.RemoveXattrAt(w.ctx, w.creds, w.at("/a"), "user.one"), nil)
	w.is("again", w.vfs.RemoveXattrAt(w.ctx, w.creds, w.at("/a"), "user.one"), linuxerr.ENODATA)
}

// TestManyNames: names that nobody uses are forgotten, and found again.
func TestManyNames(t *testing.T) {
	w := newWorld(t, disktest.New(10000), disk.Options{})
	const n = 2500
	for i := range n {
		w.put("/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+string(rune('0'+i/26%10))+string(rune('A'+i/260)), "content")
	}
	count := len(strings.Fields(w.list("/")))
	for _, name := range strings.Fields(w.list("/")) {
		if got := w.get("/" + name); got != "content" {
			t.Fatalf("%s = %q", name, got)
		}
	}
	if refs := w.fs.Referenced(); refs > 1500 || count < 1000 {
		t.Errorf("%d of %d inodes are kept", refs, count)
	}
}

// TestSpecial: FIFOs and device nodes have their type and number.
func TestSpecial(t *testing.T) {
	w := newWorld(t, disktest.New(100), disk.Options{})
	w.is("mknod", w.vfs.MknodAt(w.ctx, w.creds, w.final("/tty"), &vfs.MknodOptions{Mode: linux.S_IFCHR | 0600, DevMajor: 5, DevMinor: 300}), nil)
	w.is("mkfifo", w.vfs.MknodAt(w.ctx, w.creds, w.final("/fifo"), &vfs.MknodOptions{Mode: linux.S_IFIFO | 0600}), nil)
	if s, err := w.stat("/tty"); err != nil || s.RdevMajor != 5 || s.RdevMinor != 300 || s.Mode&linux.S_IFMT != linux.S_IFCHR {
		t.Errorf("stat = %d:%d mode %#o, %v", s.RdevMajor, s.RdevMinor, s.Mode, err)
	}
	r := w.open("/fifo", linux.O_RDONLY|linux.O_NONBLOCK)
	defer r.DecRef(w.ctx)
	f := w.open("/fifo", linux.O_WRONLY)
	defer f.DecRef(w.ctx)
}
