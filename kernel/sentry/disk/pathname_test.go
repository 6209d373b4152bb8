package disk_test

import (
	"bytes"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/sentry/disk"
	"kiln/kernel/sentry/disk/disktest"
)

// TestPathnames asks for the names of files and directories as /proc does:
// from the root, in the file system, below a bind mount, without a name.
func TestPathnames(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.is("mkdir", w.mkdir("/d"), nil)
	w.is("mkdir", w.mkdir("/m"), nil)
	w.is("mkdir", w.mkdir("/gone"), nil)
	w.put("/d/f", "")
	w.is("bind", w.bind("/d", "/m"), nil)
	file := w.open("/m/f", linux.O_RDONLY)
	defer file.DecRef(w.ctx)
	gone := w.open("/gone", linux.O_RDONLY)
	defer gone.DecRef(w.ctx)
	w.is("rmdir", w.rmdir("/gone"), nil)

	for _, tt := range []struct {
		what string
		of   vfs.VirtualDentry
		call func(vfs.VirtualDentry) (string, error)
		want string
	}{
		{"file below a bind mount", file.VirtualDentry(), w.pathname, "/m/f"},
		{"the same in its file system", file.VirtualDentry(), w.inFilesystem, "/d/f"},
		{"root", w.root, w.pathname, "/"},
		{"root in its file system", w.root, w.inFilesystem, "/"},
		{"removed directory", gone.VirtualDentry(), w.pathname, "/gone (deleted)"},
		{"the same in its file system", gone.VirtualDentry(), w.inFilesystem, "/gone//deleted"},
	} {
		if got, err := tt.call(tt.of); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.what, got, err, tt.want)
		}
	}
}

// TestMountInfo reads the lists of mounts.
func TestMountInfo(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.is("mkdir", w.mkdir("/d"), nil)
	w.is("mkdir", w.mkdir("/m"), nil)
	w.is("bind", w.bind("/d", "/m"), nil)
	var info, mounts bytes.Buffer
	if err := w.vfs.GenerateProcMountInfo(w.ctx, w.root, &info); err != nil {
		t.Fatal(err)
	}
	if err := w.vfs.GenerateProcMounts(w.ctx, w.root, &mounts); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" / / rw - memory none rw\n", " /d /m rw - memory none rw\n"} {
		if !strings.Contains(info.String(), want) {
			t.Errorf("mountinfo has no %q:\n%s", want, &info)
		}
	}
	if want := "none /m memory rw 0 0\n"; !strings.Contains(mounts.String(), want) {
		t.Errorf("mounts has no %q:\n%s", want, &mounts)
	}
}

func (w *world) bind(from, to string) error {
	return w.vfs.BindAt(w.ctx, w.creds, w.at(from), w.at(to), false)
}

func (w *world) pathname(vd vfs.VirtualDentry) (string, error) {
	return w.vfs.PathnameWithDeleted(w.ctx, w.root, vd)
}

func (w *world) inFilesystem(vd vfs.VirtualDentry) (string, error) {
	return w.vfs.PathnameInFilesystem(w.ctx, vd)
}

// TestRemovedDirectory: a directory that is removed and open has no entries to
// list, and none can be made.
func TestRemovedDirectory(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.is("mkdir", w.mkdir("/d"), nil)
	fd := w.open("/d", linux.O_RDONLY|linux.O_DIRECTORY)
	defer fd.DecRef(w.ctx)
	w.is("rmdir", w.rmdir("/d"), nil)
	w.is("list", fd.IterDirents(w.ctx, vfs.IterDirentsCallbackFunc(func(vfs.Dirent) error { return nil })), linuxerr.ENOENT)
	at := w.final("x")
	at.Start = fd.VirtualDentry()
	w.is("mkdir", w.vfs.MkdirAt(w.ctx, w.creds, at, &vfs.MkdirOptions{Mode: 0755}), linuxerr.ENOENT)
}

// TestMknodTypes: mknod(2) makes neither directories nor links.
func TestMknodTypes(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	mknod := func(mode linux.FileMode) error {
		return w.vfs.MknodAt(w.ctx, w.creds, w.final("/x"), &vfs.MknodOptions{Mode: mode | 0600})
	}
	w.is("directory", mknod(linux.S_IFDIR), linuxerr.EPERM)
	w.is("symbolic link", mknod(linux.S_IFLNK), linuxerr.EINVAL)
	w.is("FIFO", mknod(linux.S_IFIFO), nil)
	w.is("again", mknod(linux.S_IFIFO), linuxerr.EEXIST)
}
