package disk_test

import (
	"bytes"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/fs/block/blocktest"
	"kiln/kernel/sentry/disk"
	"kiln/kernel/sentry/disk/disktest"
)

// program maps a file from its start and touches its pages. mapped says which of
// them it has.
type program struct {
	w        *world
	file     memmap.Mappable
	mapped   map[uint64]bool
	touching bool // it touches each page again as soon as it has lost it, once
}

// newProgram returns a program that maps fd.
func (w *world) newProgram(fd *vfs.FileDescription, length uint64) *program {
	w.t.Helper()
	opts := memmap.MMapOpts{Length: length, Perms: hostarch.ReadWrite, MaxPerms: hostarch.AnyAccess}
	if err := fd.ConfigureMMap(w.ctx, &opts); err != nil {
		w.t.Fatal(err)
	}
	p := &program{w: w, file: opts.Mappable, mapped: map[uint64]bool{}}
	if err := p.file.AddMapping(w.ctx, p, hostarch.AddrRange{Start: 0, End: hostarch.Addr(length)}, 0, true); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.file.RemoveMapping(w.ctx, p, hostarch.AddrRange{Start: 0, End: hostarch.Addr(length)}, 0, true)
		if opts.MappingIdentity != nil {
			opts.MappingIdentity.DecRef(w.ctx)
		}
	})
	return p
}

// touch is a page fault at off.
func (p *program) touch(off uint64, write bool) error {
	mr := memmap.MappableRange{Start: off, End: off + 4096}
	_, err := p.file.Translate(p.w.ctx, mr, mr, hostarch.AccessType{Read: true, Write: write})
	if err == nil {
		p.mapped[off] = true
	}
	return err
}

// Invalidate implements memmap.MappingSpace.
func (p *program) Invalidate(ar hostarch.AddrRange, _ memmap.InvalidateOpts) {
	var lost []uint64
	for off := range p.mapped {
		if ar.Contains(hostarch.Addr(off)) {
			delete(p.mapped, off)
			lost = append(lost, off)
		}
	}
	if p.touching {
		p.touching = false
		for _, off := range lost {
			_ = p.touch(off, false)
		}
	}
}

const punchHole = 3 // FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE

// TestPunchTouched: a program that touches a page while it is punched out of the
// file keeps no frame that the cache gave back, and sees zeros afterwards.
func TestPunchTouched(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	defer fd.DecRef(w.ctx)
	w.write(fd, bytes.Repeat([]byte{7}, 64<<10), 0)
	w.is("fsync", fd.Sync(w.ctx), nil)
	p := w.newProgram(fd, 64<<10)
	w.is("touch", p.touch(8192, false), nil)
	p.touching = true
	w.is("punch", fd.Allocate(w.ctx, punchHole, 4096, 12288), nil)
	if p.mapped[8192] {
		t.Error("the program has a page that the file has lost")
	}
	if got := w.read(fd, 12288, 4096); !bytes.Equal(got, make([]byte, 12288)) {
		t.Error("content is left where a hole was punched")
	}
}

// TestPunchRead: who reads while a hole is punched does not put what was there
// into the cache for good.
func TestPunchRead(t *testing.T) {
	f := disktest.New(1000)
	w := newWorld(t, f, disk.Options{})
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	defer fd.DecRef(w.ctx)
	w.write(fd, bytes.Repeat([]byte{7}, 64<<10), 0)
	read := make(chan error)
	f.Before = func(call string, _ uint64, _ int64, _ int) {
		if call != "fallocate" {
			return
		}
		go func() {
			_, err := fd.PRead(w.ctx, usermem.BytesIOSequence(make([]byte, 64<<10)), 0, vfs.ReadOptions{})
			read <- err
		}()
		time.Sleep(50 * time.Millisecond)
	}
	w.is("punch", fd.Allocate(w.ctx, punchHole, 0, 64<<10), nil)
	w.is("read", <-read, nil)
	if got := w.read(fd, 64<<10, 0); !bytes.Equal(got, make([]byte, 64<<10)) {
		t.Error("the cache has what was there before")
	}
}

// TestReservedPunched: room on disk that a page fault has reserved and a punched
// hole has given back is reserved again. newWorld checks that nothing is written
// without.
func TestReservedPunched(t *testing.T) {
	f := disktest.New(1000)
	w := newWorld(t, f, disk.Options{})
	fd := w.open("/a", linux.O_RDWR|linux.O_CREAT)
	defer fd.DecRef(w.ctx)
	w.is("truncate", w.truncate(fd, 64<<10), nil)
	p := w.newProgram(fd, 64<<10)
	first := true
	f.Before = func(call string, _ uint64, _ int64, _ int) {
		if call == "reserve" && first {
			first = false
			f.After = func() { // the reservation is made, the page not yet dirty
				f.After = nil
				w.is("punch", fd.Allocate(w.ctx, punchHole, 0, 64<<10), nil)
				w.read(fd, 64<<10, 0) // the pages are there again
			}
		}
	}
	w.is("touch", p.touch(8192, true), nil)
	w.is("fsync", fd.Sync(w.ctx), nil)
}

// TestDeviceFile: a disk's own file is written back like others, by whoever needs
// the memory, and given to a file system while a program has it mapped.
func TestDeviceFile(t *testing.T) {
	w := newWorld(t, disktest.New(1000), disk.Options{})
	mem := blocktest.NewMemory(1<<20, 512)
	d := disk.NewDevice(mem, 0, w.cache)
	w.put("/dev", "")
	at := w.open("/dev", linux.O_RDONLY)
	defer at.DecRef(w.ctx)
	fd, err := d.Open(w.ctx, at.Mount(), at.Dentry(), vfs.OpenOptions{Flags: linux.O_RDWR})
	if err != nil {
		t.Fatal(err)
	}
	w.write(fd, []byte("content"), 8192)
	w.cache.Reclaim(1<<20, true)
	got := make([]byte, 512)
	if err := mem.ReadAt(got, 8192); err != nil || string(got[:7]) != "content" {
		t.Errorf("on disk %q, %v", got[:7], err)
	}
	if _, err := d.Claim(); err == nil {
		t.Error("a disk was given away that a program may write to")
	}
	fd.DecRef(w.ctx)

	if fd, err = d.Open(w.ctx, at.Mount(), at.Dentry(), vfs.OpenOptions{Flags: linux.O_RDONLY}); err != nil {
		t.Fatal(err)
	}
	defer fd.DecRef(w.ctx)
	p := w.newProgram(fd, 64<<10)
	w.is("touch", p.touch(8192, false), nil)
	p.touching = true
	release, err := d.Claim()
	if err != nil {
		t.Fatal(err)
	}
	release()
	if len(p.mapped) > 0 {
		t.Error("a program has a page that the cache has given back")
	}
}
