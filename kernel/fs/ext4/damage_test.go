package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
)

// smallImages are file systems of a few hundred KB with a bit of everything,
// half of them without checksums, which let damage through to what is behind.
var smallImages = sync.OnceValues(func() ([]*blocktest.Memory, error) {
	dir, err := os.MkdirTemp("", "ext4-small")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return makeSmallImages(dir)
})

func makeSmallImages(dir string) ([]*blocktest.Memory, error) {
	root := filepath.Join(dir, "root")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "a/b/c"), 0o755), os.Mkdir(filepath.Join(root, "many"), 0o755)); err != nil {
		return nil, err
	}
	for i := range 120 {
		name := fmt.Sprintf("many/%d-%s", i, strings.Repeat("n", i%60))
		if err := os.WriteFile(filepath.Join(root, name), []byte(name), 0o644); err != nil {
			return nil, err
		}
	}
	sparse, err := os.Create(filepath.Join(root, "sparse"))
	if err != nil {
		return nil, err
	}
	defer sparse.Close()
	for i := range int64(30) {
		if _, err := sparse.WriteAt([]byte("x"), i*5000); err != nil {
			return nil, err
		}
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(root, "a/b/c/file"), bytes.Repeat([]byte("file"), 5000), 0o644),
		os.Symlink(strings.Repeat("s", 100), filepath.Join(root, "slow")),
		os.Symlink("fast", filepath.Join(root, "fast")),
	)
	if err != nil {
		return nil, err
	}
	var images []*blocktest.Memory
	for _, args := range [][]string{
		{"-t", "ext4", "-O", "^metadata_csum,^uninit_bg,^resize_inode,^has_journal"},
		{"-t", "ext2", "-O", "^resize_inode"},
		{"-t", "ext4", "-O", "^resize_inode,^has_journal"},
		{"-t", "ext4", "-O", "^metadata_csum,^resize_inode", "-J", "size=1"},
	} {
		m, err := smallImage(dir, root, args)
		if err != nil {
			return nil, err
		}
		images = append(images, m)
	}
	return images, nil
}

// damage applies patches to a copy of an image: each has the place, in units
// of bytes within the metadata at the start, and a new byte.
func damage(m *blocktest.Memory, patches []byte) *blocktest.Memory {
	c := m.Clone()
	sector := make([]byte, 512)
	for ; len(patches) >= 4; patches = patches[4:] {
		off := int64(binary.LittleEndian.Uint32(patches)&0xffffff) % c.Size()
		if c.ReadAt(sector, off/512*512) != nil {
			continue
		}
		sector[off%512] = patches[3]
		_ = c.WriteAt(sector, off/512*512)
	}
	return c
}

// explore mounts a file system that may be damaged, looks at everything, and
// unless readOnly changes something. Errors are what is expected; it must
// come back.
func explore(m *blocktest.Memory, readOnly bool) {
	f, err := Mount(m, Options{ReadOnly: readOnly})
	if err != nil {
		return
	}
	root, err := f.Root()
	if err != nil {
		return
	}
	left := 400
	exploreDir(root, 0, readOnly, &left)
	root.DecRef()
	_ = f.Unmount()
}

func exploreDir(in fs.Inode, depth int, readOnly bool, left *int) {
	var names []string
	for pos := int64(0); ; {
		got := 0
		err := in.ReadDir(pos, func(e fs.Dirent) bool {
			got++
			pos = e.Next
			names = append(names, e.Name)
			return got < 50
		})
		if err != nil || got == 0 || len(names) > 2000 {
			break
		}
	}
	for i, name := range names {
		if *left--; *left < 0 || depth > 12 {
			return
		}
		sub, err := in.Lookup(name)
		if err != nil {
			continue
		}
		exploreFile(sub, readOnly, i)
		exploreDir(sub, depth+1, readOnly, left)
		sub.DecRef()
		if !readOnly {
			exploreChange(in, name, i)
		}
	}
}

func exploreFile(in fs.Inode, readOnly bool, i int) {
	_, _ = in.Attr()
	_, _ = in.Readlink()
	if names, err := in.Listxattr(); err == nil {
		for _, name := range names {
			_, _ = in.Getxattr(name)
		}
	}
	_, _ = io.CopyN(io.Discard, io.NewSectionReader(in, 0, 1<<62), 256<<10)
	_, _ = in.SeekData(0)
	_, _ = in.SeekHole(0)
	if readOnly {
		return
	}
	switch i % 5 {
	case 0:
		_, _ = in.WriteAt(bytes.Repeat([]byte("w"), 5000), 3000)
	case 1:
		_ = in.Truncate(100)
	case 2:
		_ = in.Fallocate(fs.FallocPunchHole|fs.FallocKeepSize, 1000, 20_000)
	case 3:
		_ = in.Setxattr("user.new", []byte("value"), 0)
	case 4:
		_ = in.Fallocate(0, 100_000, 50_000)
	}
}

func exploreChange(in fs.Inode, name string, i int) {
	switch i % 5 {
	case 0:
		_ = in.Unlink(name)
	case 1:
		_ = in.Rmdir(name)
	case 2:
		_ = in.Rename(name, in, name+"2", 0)
	case 3:
		for j := range 10 {
			if n, err := in.Create(fmt.Sprintf("%s-%d-%s", name[:min(20, len(name))], j, strings.Repeat("c", 80)), fs.New{Mode: syscall.S_IFREG}); err == nil {
				n.DecRef()
			}
		}
	case 4:
		if n, err := in.Create("dir-"+name[:min(20, len(name))], fs.New{Mode: syscall.S_IFDIR | 0o755}); err == nil {
			n.DecRef()
		}
	}
}

// within fails the test if do does not come back.
func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s takes more than %v", what, limit)
	}
}

// TestDamage damages images at random.
func TestDamage(t *testing.T) {
	tool(t, "mke2fs")
	images, err := smallImages()
	if err != nil {
		t.Fatal(err)
	}
	rounds := 400
	if long {
		rounds = 100_000
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range rounds {
		base := images[i%len(images)]
		patches := make([]byte, 4*(1+r.IntN(12)))
		for j := 0; j < len(patches); j += 4 {
			// Mostly the first blocks, where the structures are.
			at := r.Uint32N(uint32(base.Size()))
			if r.IntN(4) > 0 {
				at = 1024 + r.Uint32N(60<<10)
			}
			binary.LittleEndian.PutUint32(patches[j:], at)
			patches[j+3] = []byte{0, 1, 0xff, 0x7f, 0x80, byte(r.Uint32()), byte(r.Uint32())}[r.IntN(7)]
		}
		m := damage(base, patches)
		within(t, 20*time.Second, fmt.Sprintf("image %d with patches %x", i%len(images), patches), func() {
			explore(m, i%3 == 0)
		})
	}
}

// FuzzMount damages images as the fuzzer says.
func FuzzMount(f *testing.F) {
	tool(f, "mke2fs")
	images, err := smallImages()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), true, []byte{0, 4, 0, 0xff})
	f.Add(uint8(1), false, []byte{0x18, 4, 0, 0xff, 0x20, 8, 0, 1})
	f.Add(uint8(2), false, []byte{0x80, 8, 0, 0x40})
	f.Add(uint8(3), false, []byte{0x60, 4, 0, 0x46})
	f.Fuzz(func(t *testing.T, image uint8, readOnly bool, patches []byte) {
		explore(damage(images[int(image)%len(images)], patches), readOnly)
	})
}
