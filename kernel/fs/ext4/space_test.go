package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
)

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
