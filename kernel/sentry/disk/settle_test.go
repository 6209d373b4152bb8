package disk_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"

	"kiln/kernel/sentry/disk"
	"kiln/kernel/sentry/disk/disktest"
)

// evictAll has the dentries evicted that nobody uses, by looking at others.
func (w *world) evictAll() {
	w.t.Helper()
	for i := range 1200 {
		w.put(fmt.Sprintf("/other%d", i), "")
	}
}

func (w *world) link(from, to string) error {
	return w.vfs.LinkAt(w.ctx, w.creds, w.at(from), w.final(to))
}

// gate stops the first write of so many bytes until it is opened.
type gate struct {
	armed   atomic.Bool
	bytes   int
	reached chan bool
	open    chan bool
}

func newGate(f *disktest.FS, bytes int) *gate {
	g := &gate{bytes: bytes, reached: make(chan bool), open: make(chan bool)}
	f.Before = func(call string, _ uint64, _ int64, n int) {
		if call == "write" && n == g.bytes && g.armed.CompareAndSwap(true, false) {
			g.reached <- true
			<-g.open
		}
	}
	g.armed.Store(true)
	return g
}

// TestLostWhileSettling: while the last reference of a file goes and its dirty
// pages are written back, others find the file, write elsewhere and are gone
// again. What they wrote is there.
func TestLostWhileSettling(t *testing.T) {
	for _, tt := range []struct {
		name    string
		between func(w *world) // ends with /b as a name of the file, unused
	}{
		{"unlinked", func(w *world) {
			w.later("/a", "precious")
			w.is("unlink", w.unlink("/a"), nil)
		}},
		{"linked", func(w *world) {
			w.later("/a", "precious")
			w.is("link", w.link("/a", "/c"), nil)
			w.is("unlink", w.unlink("/a"), nil)
			w.is("unlink", w.unlink("/c"), nil)
		}},
		{"renamed", func(w *world) {
			w.later("/a", "precious")
			w.is("rename", w.rename("/a", "/c", 0), nil)
		}},
		{"replaced", func(w *world) {
			w.later("/a", "precious")
			w.put("/c", "")
			w.is("rename", w.rename("/c", "/a", 0), nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := disktest.New(100000)
			w := newWorld(t, f, disk.Options{})
			w.put("/a", "first")
			w.is("link", w.link("/a", "/b"), nil)
			_ = w.vfs.SyncAllFilesystems(w.ctx)
			fd := w.open("/a", linux.O_RDWR)
			w.write(fd, []byte("second"), 0)
			fd.DecRef(w.ctx)
			g := newGate(f, len("second"))
			w.evictAll()
			select {
			case <-g.reached:
			case <-time.After(20 * time.Second):
				t.Fatal("eviction wrote nothing back")
			}
			tt.between(w)
			g.open <- true
			time.Sleep(20 * time.Millisecond)
			w.evictAll()
			fd = w.open("/b", linux.O_RDWR)
			defer fd.DecRef(w.ctx)
			if got := string(w.read(fd, 8, 1<<20)); got != "precious" {
				t.Errorf("written, never removed, but reads as %q", got)
			}
			w.is("fsync", fd.Sync(w.ctx), nil)
			if got := w.fs.Content("b"); len(got) != 1<<20+8 || string(got[1<<20:]) != "precious" {
				t.Errorf("%d bytes on disk", len(got))
			}
		})
	}
}

// later writes far behind what the file has.
func (w *world) later(p, content string) {
	w.t.Helper()
	fd := w.open(p, linux.O_RDWR)
	defer fd.DecRef(w.ctx)
	w.write(fd, []byte(content), 1<<20)
}

// TestRemoveWhileSettling: a file that is removed while another's last reference
// goes is gone, and its space free, when the call returns.
func TestRemoveWhileSettling(t *testing.T) {
	f := disktest.New(100000)
	w := newWorld(t, f, disk.Options{})
	w.put("/a", "second")
	g := newGate(f, len("second"))
	w.evictAll()
	<-g.reached
	before := f.Inodes()
	removed := make(chan error)
	go func() { removed <- w.unlink("/a") }()
	time.Sleep(20 * time.Millisecond)
	g.open <- true
	w.is("unlink", <-removed, nil)
	if got := f.Inodes(); got != before-1 {
		t.Errorf("%d inodes after the file was removed, want %d", got, before-1)
	}
}

// TestShutdownWaits: what works on files when the file system is shut down is
// let finish: no inode is used afterwards, which newWorld checks.
func TestShutdownWaits(t *testing.T) {
	t.Run("read ahead", func(t *testing.T) {
		f := disktest.New(100000)
		w := newWorld(t, f, disk.Options{})
		fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
		w.is("truncate", w.truncate(fd, 4<<20), nil)
		var reads atomic.Int64
		f.Before = func(call string, _ uint64, _ int64, _ int) {
			if call == "read" && reads.Add(1) > 1 {
				time.Sleep(50 * time.Millisecond)
			}
		}
		for off := int64(0); off < 1<<20; off += 32 << 10 {
			w.read(fd, 32<<10, off)
		}
		fd.DecRef(w.ctx)
		w.cache.Shutdown()
		if reads.Load() < 3 {
			t.Fatal("nothing was read ahead")
		}
	})
	t.Run("writing back", func(t *testing.T) {
		f := disktest.New(100000)
		w := newWorld(t, f, disk.Options{})
		fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
		defer fd.DecRef(w.ctx)
		w.write(fd, []byte("second"), 0)
		g := newGate(f, len("second"))
		done := make(chan bool)
		go func() { _ = w.vfs.SyncAllFilesystems(w.ctx); done <- true }()
		<-g.reached
		go func() { time.Sleep(50 * time.Millisecond); g.open <- true }()
		w.cache.Shutdown()
		<-done
	})
	t.Run("settling", func(t *testing.T) {
		f := disktest.New(100000)
		w := newWorld(t, f, disk.Options{})
		w.put("/a", "second")
		g := newGate(f, len("second"))
		w.evictAll()
		<-g.reached
		go func() { time.Sleep(50 * time.Millisecond); g.open <- true }()
		w.cache.Shutdown()
		if got := string(w.fs.Content("a")); got != "second" {
			t.Errorf("on disk %q", got)
		}
	})
}

// TestManyUsers has goroutines open, write, link, rename and remove the same few
// files while dentries are evicted all the time. Each keeps count of what it
// acknowledged in a part of the file that is its own.
func TestManyUsers(t *testing.T) {
	f := disktest.New(1 << 20)
	w := newWorld(t, f, small)
	const users, rounds = 4, 150
	w.put("/keep", "x") // a name that stays
	var wg sync.WaitGroup
	for u := range users {
		wg.Add(1)
		go func() {
			defer wg.Done()
			mine := fmt.Sprintf("/user%d", u)
			for r := range rounds {
				w.is("link", w.link("/keep", mine), nil)
				fd := w.open(mine, linux.O_RDWR)
				at := int64(u)<<20 + int64(r)*4096
				w.write(fd, []byte{byte(r), byte(u), 7}, at)
				fd.DecRef(w.ctx)
				if r%3 == 0 {
					w.is("rename", w.rename(mine, mine+"x", 0), nil)
					w.is("unlink", w.unlink(mine+"x"), nil)
				} else {
					w.is("unlink", w.unlink(mine), nil)
				}
				for i := range 30 {
					w.put(fmt.Sprintf("/z%d.%d.%d", u, r%20, i), "")
				}
			}
		}()
	}
	wg.Wait()
	fd := w.open("/keep", linux.O_RDONLY)
	defer fd.DecRef(w.ctx)
	for u := range users {
		for r := range rounds {
			at := int64(u)<<20 + int64(r)*4096
			if got := w.read(fd, 3, at); string(got) != string([]byte{byte(r), byte(u), 7}) {
				t.Fatalf("what user %d wrote in round %d reads as %v", u, r, got)
			}
		}
	}
}
