package disk_test

import (
	"bytes"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/memutil"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/limits"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/uniqueid"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/fs"
	"kiln/kernel/sentry/disk"
	"kiln/kernel/sentry/disk/disktest"
)

// memoryFile is the Sentry's; one for all tests.
var memoryFile = sync.OnceValues(func() (*pgalloc.MemoryFile, error) {
	fd, err := memutil.CreateMemFD("test", 0)
	if err != nil {
		return nil, err
	}
	return pgalloc.NewMemoryFile(os.NewFile(uintptr(fd), "test"), pgalloc.MemoryFileOpts{DisableIMAWorkAround: true})
})

// testContext is a context of root's.
type testContext struct {
	context.Context
	creds *auth.Credentials
	mns   *vfs.MountNamespace
}

// Value implements context.Context.
func (c *testContext) Value(key any) any {
	switch key {
	case auth.CtxCredentials:
		return c.creds
	case ktime.CtxRealtimeClock:
		return testClock{}
	case limits.CtxLimits:
		return limits.NewLimitSet()
	case uniqueid.CtxInotifyCookie:
		return uint32(1)
	case vfs.CtxMountNamespace:
		c.mns.IncRef()
		return c.mns
	}
	return c.Context.Value(key)
}

// testClock is the host's.
type testClock struct{ ktime.Clock }

// Now implements ktime.Clock.
func (testClock) Now() ktime.Time { return ktime.FromNanoseconds(time.Now().UnixNano()) }

// world is a mounted file system.
type world struct {
	t     *testing.T
	ctx   context.Context
	vfs   *vfs.VirtualFilesystem
	creds *auth.Credentials
	fs    *disktest.FS
	cache *disk.Cache
	mns   *vfs.MountNamespace
	root  vfs.VirtualDentry
}

// fsType makes fs a vfs.FilesystemType.
type fsType struct {
	fs    fs.Filesystem
	cache *disk.Cache
}

func (fsType) Name() string            { return "memory" }
func (fsType) Release(context.Context) {}
func (t fsType) GetFilesystem(ctx context.Context, v *vfs.VirtualFilesystem, creds *auth.Credentials, source string, opts vfs.GetFilesystemOptions) (*vfs.Filesystem, *vfs.Dentry, error) {
	d, err := disk.New(ctx, v, t, t.fs, t.cache, "test")
	if err != nil {
		return nil, nil, err
	}
	f, root := d.Mountable()
	return f, root, nil
}

// newWorld mounts f as root. The test's end checks that the contract was kept.
func newWorld(t *testing.T, f *disktest.FS, o disk.Options) *world {
	t.Helper()
	mf, err := memoryFile()
	if err != nil {
		t.Fatal(err)
	}
	o.MemoryFile = mf
	w := &world{t: t, vfs: &vfs.VirtualFilesystem{}, fs: f, cache: disk.NewCache(o)}
	w.creds = auth.NewRootCredentials(auth.NewRootUserNamespace())
	ctx := &testContext{Context: context.Background(), creds: w.creds}
	w.ctx = ctx
	if err := w.vfs.Init(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.vfs.MustRegisterFilesystemType("memory", fsType{f, w.cache}, &vfs.RegisterFilesystemTypeOptions{AllowUserMount: true})
	if w.mns, err = w.vfs.NewMountNamespace(w.ctx, w.creds, "", "memory", &vfs.MountOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	w.root = w.mns.Root(w.ctx)
	ctx.mns = w.mns
	t.Cleanup(func() {
		w.cache.Shutdown()
		if !f.Unmounted() {
			t.Error("the file system was not unmounted")
		}
		for _, rule := range f.Broken() {
			t.Errorf("broken rule: %s", rule)
		}
	})
	return w
}

func (w *world) at(p string) *vfs.PathOperation {
	return &vfs.PathOperation{Root: w.root, Start: w.root, Path: fspath.Parse(p), FollowFinalSymlink: true}
}

// final is at without following a link in the last place.
func (w *world) final(p string) *vfs.PathOperation {
	op := w.at(p)
	op.FollowFinalSymlink = false
	return op
}

func (w *world) open(p string, flags uint32) *vfs.FileDescription {
	w.t.Helper()
	fd, err := w.vfs.OpenAt(w.ctx, w.creds, w.at(p), &vfs.OpenOptions{Flags: flags, Mode: 0644})
	if err != nil {
		w.t.Fatalf("open %s: %v", p, err)
	}
	return fd
}

func (w *world) write(fd *vfs.FileDescription, b []byte, off int64) {
	w.t.Helper()
	n, err := fd.PWrite(w.ctx, usermem.BytesIOSequence(b), off, vfs.WriteOptions{})
	if err != nil || n != int64(len(b)) {
		w.t.Fatalf("write of %d bytes at %d = %d, %v", len(b), off, n, err)
	}
}

func (w *world) read(fd *vfs.FileDescription, n int, off int64) []byte {
	w.t.Helper()
	b := make([]byte, n)
	got, err := fd.PRead(w.ctx, usermem.BytesIOSequence(b), off, vfs.ReadOptions{})
	if err == io.EOF && got == 0 {
		err = nil
	}
	if err != nil {
		w.t.Fatalf("read of %d bytes at %d: %v", n, off, err)
	}
	return b[:got]
}

// put writes a whole file, get reads one.
func (w *world) put(p, content string) {
	w.t.Helper()
	fd := w.open(p, linux.O_WRONLY|linux.O_CREAT|linux.O_TRUNC)
	defer fd.DecRef(w.ctx)
	w.write(fd, []byte(content), 0)
}

func (w *world) get(p string) string {
	w.t.Helper()
	fd := w.open(p, linux.O_RDONLY)
	defer fd.DecRef(w.ctx)
	return string(w.read(fd, 1<<20, 0))
}

// is checks an error number.
func (w *world) is(what string, got error, want *errors.Error) {
	w.t.Helper()
	if !linuxerr.Equals(want, got) {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestReadWrite(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	w.put("/a", "hello")
	if got := w.get("/a"); got != "hello" {
		t.Errorf("content = %q", got)
	}
	if got := w.fs.Content("a"); len(got) != 0 {
		t.Errorf("%q is on disk before anybody asked", got)
	}
	fd := w.open("/a", linux.O_RDWR)
	defer fd.DecRef(w.ctx)
	if err := fd.Sync(w.ctx); err != nil {
		t.Fatal(err)
	}
	if got := string(w.fs.Content("a")); got != "hello" {
		t.Errorf("on disk after fsync: %q", got)
	}
	// A hole, several chunks, a part of a page at either end.
	big := bytes.Repeat([]byte("0123456789"), 50_000)
	w.write(fd, big, 300_001)
	if got := w.read(fd, len(big)+10, 300_001); !bytes.Equal(got, big) {
		t.Errorf("read back %d bytes that differ from the %d written", len(got), len(big))
	}
	if got := w.read(fd, 10, 0); !bytes.Equal(got, []byte("hello\x00\x00\x00\x00\x00")) {
		t.Errorf("start = %q", got)
	}
	if err := fd.Sync(w.ctx); err != nil {
		t.Fatal(err)
	}
	if got := w.fs.Content("a"); len(got) != 300_001+len(big) || !bytes.Equal(got[300_001:], big) {
		t.Errorf("%d bytes on disk differ", len(got))
	}
}
