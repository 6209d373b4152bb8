package iso9660_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	kfs "kiln/kernel/fs"
	"kiln/kernel/fs/iso9660"
)

var tools = []string{"genisoimage", "xorriso"}

func TestRockRidge(t *testing.T) {
	for _, tool := range tools {
		dir := treeRock(t, tool)
		for _, flags := range [][]string{{"-R"}, {"-R", "-J", "-joliet-long"}} {
			t.Run(fmt.Sprint(tool, flags), func(t *testing.T) {
				image := master(t, tool, dir, flags...)
				for _, sector := range []int{512, 4096} {
					compare(t, mount(t, openDisk(t, image, sector), iso9660.Options{}), dir, true)
				}
			})
		}
	}
}

func TestJoliet(t *testing.T) {
	dir := tree(t, false)
	for _, tool := range tools {
		t.Run(tool, func(t *testing.T) {
			f := mount(t, openDisk(t, master(t, tool, dir, "-J", "-input-charset", "utf-8"), 512), iso9660.Options{})
			compare(t, f, dir, false)
			if got := f.Label(); got != "TEST" {
				t.Errorf("Label() = %q, want TEST", got)
			}
		})
	}
}

func TestJolietBesideRockRidge(t *testing.T) {
	dir := tree(t, false)
	image := master(t, "xorriso", dir, "-R", "-J", "-input-charset", "utf-8")
	compare(t, mount(t, openDisk(t, image, 512), iso9660.Options{NoRockRidge: true}), dir, false)
}

func TestPlain(t *testing.T) {
	dir := tree(t, true)
	for _, tool := range tools {
		t.Run(tool, func(t *testing.T) {
			flags := []string{"-iso-level", "1"}
			if tool == "xorriso" {
				flags = append(flags, "--norock")
			}
			compare(t, mount(t, openDisk(t, master(t, tool, dir, flags...), 512), iso9660.Options{}), dir, false)
		})
	}
}

// Files of 4 GiB and more have several sections.
func TestLargeFile(t *testing.T) {
	if os.Getenv("KILN_LONG") == "" {
		t.Skip("writes an image of 5 GB; KILN_LONG=1 runs it")
	}
	dir := t.TempDir()
	const size = 4<<30 + 5<<20 + 123
	file, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	marks := []int64{0, 1<<32 - 2048 - 7, 1<<32 - 5, size - 20}
	for i, off := range marks {
		if _, err := fmt.Fprintf(io.NewOffsetWriter(file, off), "mark number %d", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	// genisoimage cannot write such a file.
	image := master(t, "xorriso", dir, "-R", "-iso-level", "3")
	in := lookup(t, mount(t, openDisk(t, image, 512), iso9660.Options{}), "large")
	if a, _ := in.Attr(); a.Size != size {
		t.Fatalf("size %d, want %d", a.Size, int64(size))
	}
	for i, off := range marks {
		want := fmt.Sprintf("mark number %d", i)
		got := make([]byte, len(want))
		if _, err := in.ReadAt(got, off); err != nil || string(got) != want {
			t.Errorf("at %d: %q, %v; want %q", off, got, err, want)
		}
	}
}

func TestProbe(t *testing.T) {
	if iso9660.Probe(memory(make([]byte, 100*2048))) {
		t.Error("Probe finds a volume among zeros")
	}
	if iso9660.Probe(memory(make([]byte, 2048))) {
		t.Error("Probe finds a volume on a device that is too small")
	}
	if !iso9660.Probe(memory(built().bytes())) {
		t.Error("Probe does not find the volume")
	}
}

func TestChangesAreRefused(t *testing.T) {
	f := mount(t, memory(built().bytes()), iso9660.Options{})
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.DecRef()
	if _, err := root.Create("x", kfs.New{Mode: syscall.S_IFREG}); err != syscall.EROFS {
		t.Errorf("Create: %v, want EROFS", err)
	}
	if err := root.Unlink("file"); err != syscall.EROFS {
		t.Errorf("Unlink: %v, want EROFS", err)
	}
	if _, err := root.ReadAt(make([]byte, 1), 0); err != syscall.EISDIR {
		t.Errorf("ReadAt of a directory: %v, want EISDIR", err)
	}
	if _, err := root.Lookup("nothing"); err != syscall.ENOENT {
		t.Errorf("Lookup: %v, want ENOENT", err)
	}
	file := lookup(t, f, "file")
	if _, err := file.Lookup("x"); err != syscall.ENOTDIR {
		t.Errorf("Lookup in a file: %v, want ENOTDIR", err)
	}
}

// An inode is the same value for as long as it is referenced.
func TestInodeIdentity(t *testing.T) {
	f := mount(t, memory(built().bytes()), iso9660.Options{})
	a, b := lookup(t, f, "file"), lookup(t, f, "file")
	if a != b {
		t.Error("two lookups of one file give two inodes")
	}
	r1, _ := f.Root()
	r2, _ := f.Root()
	defer r1.DecRef()
	defer r2.DecRef()
	if r1 != r2 {
		t.Error("there are two roots")
	}
}

func TestReadDirGoesOn(t *testing.T) {
	f := mount(t, memory(built().bytes()), iso9660.Options{})
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.DecRef()
	var got []string
	for pos, more := int64(0), true; more; {
		more = false
		err := root.ReadDir(pos, func(d kfs.Dirent) bool {
			got = append(got, d.Name)
			pos, more = d.Next, true
			return false
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "file link sub"; strings.Join(got, " ") != want {
		t.Errorf("entries %q, want %q", got, want)
	}
}

func TestRead(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		d := memory(built().bytes())
		d.sector = sector
		in := lookup(t, mount(t, d, iso9660.Options{}), "file")
		want := sha256.Sum256(builtContent)
		for _, piece := range []int{1, 7, 512, 2048, 4096, 1 << 20} {
			if got := hash(t, in, piece); got != want {
				t.Errorf("in pieces of %d with sectors of %d, the content differs", piece, sector)
			}
		}
		if n, err := in.ReadAt(make([]byte, 10), int64(len(builtContent))); n != 0 || err != io.EOF {
			t.Errorf("ReadAt the end = %d, %v; want 0, EOF", n, err)
		}
		if off, err := in.SeekHole(3); off != int64(len(builtContent)) || err != nil {
			t.Errorf("SeekHole = %d, %v", off, err)
		}
		if _, err := in.SeekData(int64(len(builtContent))); !errors.Is(err, syscall.ENXIO) {
			t.Errorf("SeekData at the end: %v, want ENXIO", err)
		}
	}
}
