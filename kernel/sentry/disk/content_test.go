package disk_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/sentry/disk"
	"kiln/kernel/sentry/disk/disktest"
)

func (w *world) truncate(fd *vfs.FileDescription, size uint64) error {
	return fd.SetStat(w.ctx, vfs.SetStatOptions{Stat: linux.Statx{Mask: linux.STATX_SIZE, Size: size}})
}

// small is a machine that is always short of memory.
var small = disk.Options{Memory: func() disk.Memory { return disk.Memory{Total: 4 << 20, Free: 1 << 20} }}

// TestRandom does the same to files and to models, from several goroutines, with
// a cache that evicts all the time.
func TestRandom(t *testing.T) {
	w := newWorld(t, disktest.New(1<<20), small)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(i), 7))
			fd := w.open(fmt.Sprintf("/file%d", i), linux.O_RDWR|linux.O_CREAT)
			defer fd.DecRef(w.ctx)
			model := []byte{}
			for range 150 {
				if err := w.step(fd, r, &model); err != nil {
					t.Error(err)
					return
				}
			}
			if err := fd.Sync(w.ctx); err != nil {
				t.Error(err)
			}
			if got := w.fs.Content(fmt.Sprintf("file%d", i)); !bytes.Equal(got, model) {
				t.Errorf("%d bytes on disk differ from the model's %d", len(got), len(model))
			}
		}()
	}
	wg.Wait()
}

// step does one thing at random to a file and its model.
func (w *world) step(fd *vfs.FileDescription, r *rand.Rand, model *[]byte) error {
	off, n := r.IntN(600_000), 1+r.IntN(200_000)
	grow := func(size int) {
		if size > len(*model) {
			*model = append(*model, make([]byte, size-len(*model))...)
		}
	}
	switch r.IntN(8) {
	case 0, 1, 2:
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		got, err := fd.PWrite(w.ctx, usermem.BytesIOSequence(b), int64(off), vfs.WriteOptions{})
		if err != nil || got != int64(n) {
			return fmt.Errorf("write = %d, %v", got, err)
		}
		grow(off + n)
		copy((*model)[off:], b)
	case 3, 4, 5:
		b := make([]byte, n)
		got, err := fd.PRead(w.ctx, usermem.BytesIOSequence(b), int64(off), vfs.ReadOptions{})
		if err != nil && err != io.EOF {
			return err
		}
		want := (*model)[min(off, len(*model)):min(off+n, len(*model))]
		if !bytes.Equal(b[:got], want) {
			return fmt.Errorf("read of %d at %d of %d: %d bytes, which differ", n, off, len(*model), got)
		}
	case 6:
		if err := w.truncate(fd, uint64(off)); err != nil {
			return err
		}
		grow(off)
		*model = (*model)[:off:off]
	default:
		const punch = 3
		if err := fd.Allocate(w.ctx, punch, uint64(off), uint64(n)); err != nil {
			return err
		}
		if off < len(*model) {
			clear((*model)[off:min(off+n, len(*model))])
		}
	}
	return nil
}

// TestNoSpace: a write that does not fit fails at once, not when it is written
// back, and what did fit is there.
func TestNoSpace(t *testing.T) {
	w := newWorld(t, disktest.New(100), disk.Options{})
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	defer fd.DecRef(w.ctx)
	big := bytes.Repeat([]byte{7}, 1<<20)
	n, err := fd.PWrite(w.ctx, usermem.BytesIOSequence(big), 0, vfs.WriteOptions{})
	if err != nil && !linuxerr.Equals(linuxerr.ENOSPC, err) {
		t.Fatalf("write = %d, %v", n, err)
	}
	rest, err := fd.PWrite(w.ctx, usermem.BytesIOSequence(big), n, vfs.WriteOptions{})
	if !linuxerr.Equals(linuxerr.ENOSPC, err) || rest != 0 {
		t.Errorf("next write = %d, %v, want ENOSPC", rest, err)
	}
	if err := fd.Sync(w.ctx); err != nil {
		t.Errorf("fsync: %v", err)
	}
	if got := w.fs.Content("a"); !bytes.Equal(got, big[:n]) || n == 0 {
		t.Errorf("%d bytes on disk, want %d", len(got), n)
	}
	// A file that goes gives its room back, though none was written.
	w.is("truncate", w.truncate(fd, 0), nil)
	w.put("/b", string(big[:300<<10]))
}

// TestFailures: errors of the device reach whoever asked, once each.
func TestFailures(t *testing.T) {
	f := disktest.New(1000)
	var failing atomic.Value
	failing.Store("")
	f.Fail = func(call string, off int64) error {
		if failing.Load() == call {
			return fmt.Errorf("test: %w", syscall.EIO)
		}
		return nil
	}
	w := newWorld(t, f, disk.Options{})
	w.put("/a", "content")
	fd := w.open("/a", linux.O_RDWR)
	defer fd.DecRef(w.ctx)
	failing.Store("write")
	w.is("fsync", fd.Sync(w.ctx), linuxerr.EIO)
	failing.Store("")
	w.is("fsync afterwards", fd.Sync(w.ctx), nil)
	w.write(fd, []byte("again"), 0)
	failing.Store("sync")
	w.is("fsync without flush", fd.Sync(w.ctx), linuxerr.EIO)
	failing.Store("read")
	w.is("truncate", w.truncate(fd, 1<<20), nil)
	_, err := fd.PRead(w.ctx, usermem.BytesIOSequence(make([]byte, 10)), 500_000, vfs.ReadOptions{})
	w.is("read", err, linuxerr.EIO)
	failing.Store("")
	if got := w.read(fd, 10, 500_000); !bytes.Equal(got, make([]byte, 10)) {
		t.Errorf("read afterwards = %q", got)
	}
}

// TestNoMemory: where nothing can be evicted, the kernel's garbage goes before a
// read or a write fails.
func TestNoMemory(t *testing.T) {
	var full, collected bool
	garbage := true
	w := newWorld(t, disktest.New(1000), disk.Options{
		Populate: func([]byte) error {
			if full {
				return syscall.ENOMEM
			}
			return nil
		},
		Collect: func() {
			collected = true
			full = full && !garbage
		},
	})
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	defer fd.DecRef(w.ctx)
	w.is("truncate", w.truncate(fd, 1<<20), nil)
	read := func(off int64) error {
		_, err := fd.PRead(w.ctx, usermem.BytesIOSequence(make([]byte, 10)), off, vfs.ReadOptions{})
		return err
	}
	w.is("read", read(0), nil)
	if collected {
		t.Error("garbage is collected while there is memory")
	}
	full = true
	w.is("read without memory", read(300_000), nil)
	full = true
	w.write(fd, []byte("text"), 600_000)
	if !collected {
		t.Error("garbage was not collected")
	}
	full, garbage = true, false
	w.is("read without memory and garbage", read(900_000), linuxerr.ENOMEM)
	full = false
	w.is("read afterwards", read(900_000), nil)
}

// TestFlusher: what is dirty is written back without anybody asking.
func TestFlusher(t *testing.T) {
	w := newWorld(t, disktest.New(1<<20), small)
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	defer fd.DecRef(w.ctx)
	big := make([]byte, 4<<20) // more than may be dirty
	w.write(fd, big, 0)
	for begin := time.Now(); len(w.fs.Content("a")) == 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("nothing was written back")
		}
	}
}

// TestRemoveWhileFlushed: a file that is being written back when it is removed
// is gone, and its space free, when the call returns.
func TestRemoveWhileFlushed(t *testing.T) {
	f := disktest.New(1 << 20)
	w := newWorld(t, f, disk.Options{})
	before := f.Inodes()
	fd := w.open("/big", linux.O_RDWR|linux.O_CREAT)
	for i := range 40 { // pages apart are written one by one
		w.write(fd, []byte("x"), int64(i)<<20)
	}
	fd.DecRef(w.ctx)
	begun := make(chan bool, 100)
	f.Fail = func(call string, _ int64) error {
		if call == "write" {
			begun <- true
			time.Sleep(2 * time.Millisecond)
		}
		return nil
	}
	synced := make(chan error)
	go func() { synced <- w.vfs.SyncAllFilesystems(w.ctx) }()
	<-begun
	if err := w.unlink("/big"); err != nil {
		t.Error(err)
	}
	if n := f.Inodes(); n != before {
		t.Errorf("%d inodes after the only file was removed, want %d", n, before)
	}
	if err := <-synced; err != nil {
		t.Error(err)
	}
}

// TestTimes: the time of a change is the write's, not that of writing back, and
// utimensat(2) is not undone by it.
func TestTimes(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	defer fd.DecRef(w.ctx)
	w.write(fd, []byte("x"), 0)
	written, err := w.stat("/a")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	w.is("fsync", fd.Sync(w.ctx), nil)
	if s, _ := w.stat("/a"); s.Mtime != written.Mtime {
		t.Errorf("mtime after fsync = %v, want %v", s.Mtime, written.Mtime)
	}
	w.write(fd, []byte("y"), 0)
	old := linux.StatxTimestamp{Sec: 1000, Nsec: 5}
	w.is("utimens", w.vfs.SetStatAt(w.ctx, w.creds, w.at("/a"), &vfs.SetStatOptions{Stat: linux.Statx{Mask: linux.STATX_MTIME, Mtime: old}}), nil)
	w.is("fsync", fd.Sync(w.ctx), nil)
	if s, _ := w.stat("/a"); s.Mtime != old {
		t.Errorf("mtime = %v, want what was set, %v", s.Mtime, old)
	}
}

// TestRemote: files that change by other hands are seen as they are.
func TestRemote(t *testing.T) {
	f := disktest.New(1000)
	f.IsRemote = true
	w := newWorld(t, f, disk.Options{})
	w.put("/a", "ours")
	if got := w.fs.Content("a"); string(got) != "ours" {
		t.Errorf("on the other side: %q", got)
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.DecRef()
	i, err := root.Lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	fd := w.open("/a", linux.O_RDONLY)
	defer fd.DecRef(w.ctx)
	if _, err := i.WriteAt([]byte("theirs, and longer"), 0); err != nil {
		t.Fatal(err)
	}
	i.DecRef()
	if got := string(w.read(fd, 100, 0)); got != "theirs, and longer" {
		t.Errorf("an open file = %q", got)
	}
	if s, err := w.stat("/a"); err != nil || s.Size != 18 {
		t.Errorf("size = %d, %v, want 18", s.Size, err)
	}
	if err := root.Unlink("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.stat("/a"); !linuxerr.Equals(linuxerr.ENOENT, err) {
		t.Errorf("stat of what they removed: %v", err)
	}
}

// TestShutdown: open files do not hold it up, and fail afterwards.
func TestShutdown(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	w.write(fd, []byte("late"), 0)
	gone := w.open("/b", linux.O_RDWR|linux.O_CREAT)
	w.write(gone, []byte("never"), 0)
	w.is("unlink", w.unlink("/b"), nil)
	w.cache.Shutdown()
	if got := w.fs.Content("a"); string(got) != "late" {
		t.Errorf("on disk %q, want late", got)
	}
	w.is("fsync", fd.Sync(w.ctx), linuxerr.EIO)
	_, err := fd.PWrite(w.ctx, usermem.BytesIOSequence([]byte("x")), 0, vfs.WriteOptions{})
	w.is("write", err, linuxerr.EIO)
	fd.DecRef(w.ctx)
	gone.DecRef(w.ctx)
}
