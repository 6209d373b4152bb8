package ext4

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// describeHost describes a file of the host as describe does.
func describeHost(t testing.TB, p string) string {
	var st syscall.Stat_t
	if err := syscall.Lstat(p, &st); err != nil {
		t.Fatal(err)
	}
	s := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
	switch st.Mode & 0xf000 {
	case 0x8000:
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s links %d size %d %x", s, st.Nlink, st.Size, h.Sum(nil)[:8])
	case 0xa000:
		target, err := os.Readlink(p)
		if err != nil {
			t.Fatal(err)
		}
		return s + " -> " + target
	case 0x4000:
		sub, err := os.ReadDir(p)
		if err != nil {
			t.Fatal(err)
		}
		links := 2
		for _, e := range sub {
			if e.IsDir() {
				links++
			}
		}
		return fmt.Sprintf("%s links %d", s, links)
	}
	return fmt.Sprintf("%s dev %#x", s, st.Rdev)
}

// makeTree fills a directory of the host with files of all kinds.
func makeTree(t testing.TB, root string, files int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	bytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	must(os.MkdirAll(filepath.Join(root, "many"), 0o755))
	for i := range files {
		name := fmt.Sprintf("many/%d-%s", i, strings.Repeat("n", i%200))
		must(os.WriteFile(filepath.Join(root, name), bytes(r.IntN(3000)), 0o640))
	}
	deep := root
	for i := range 40 {
		deep = filepath.Join(deep, fmt.Sprintf("d%d", i))
	}
	must(os.MkdirAll(deep, 0o711))
	must(os.WriteFile(filepath.Join(deep, "bottom"), []byte("bottom\n"), 0o600))
	must(os.WriteFile(filepath.Join(root, "big"), bytes(3<<20+123), 0o644))
	must(os.WriteFile(filepath.Join(root, strings.Repeat("L", 255)), bytes(10), 0o644))
	must(os.Link(filepath.Join(root, "big"), filepath.Join(root, "hard")))
	must(os.Symlink("short", filepath.Join(root, "fast")))
	must(os.Symlink(strings.Repeat("x/", 300), filepath.Join(root, "slow")))
	must(os.Symlink(strings.Repeat("y", 59), filepath.Join(root, "fast59")))
	must(os.Symlink(strings.Repeat("z", 60), filepath.Join(root, "slow60")))
	must(syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	f, err := os.Create(filepath.Join(root, "sparse"))
	must(err)
	for i := range 200 {
		_, err := f.WriteAt(bytes(100+r.IntN(5000)), int64(i)*300_000)
		must(err)
	}
	must(f.Truncate(100 << 20))
	must(f.Close())
	if os.Getuid() == 0 {
		must(syscall.Mknod(filepath.Join(root, "null"), syscall.S_IFCHR|0o666, 1<<8|3))
		must(syscall.Mknod(filepath.Join(root, "wide"), syscall.S_IFBLK|0o660, int(259<<8|0x12345&0xff|0x12300<<12)))
		must(os.Chown(filepath.Join(root, "big"), 100_000, 70_000))
	}
}

// layouts are the file systems that tests run on.
var layouts = []struct {
	name string
	args []string // of mke2fs
	tune []string // of tune2fs, if any
}{
	{"default", []string{"-t", "ext4"}, nil},
	{"1k", []string{"-t", "ext4", "-b", "1024"}, nil},
	{"2k", []string{"-t", "ext4", "-b", "2048"}, nil},
	{"ext2", []string{"-t", "ext2", "-b", "1024"}, nil},
	{"ext2-4k", []string{"-t", "ext2", "-b", "4096", "-I", "128"}, nil},
	{"ext3", []string{"-t", "ext3", "-b", "1024"}, nil},
	{"nocsum", []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg,^64bit"}, nil},
	{"seed", []string{"-t", "ext4", "-b", "1024", "-O", "metadata_csum_seed,orphan_file,large_dir"}, nil},
	{"metabg", []string{"-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,sparse_super2", "-g", "1024"}, nil},
	{"noflex", []string{"-t", "ext4", "-b", "1024", "-O", "^flex_bg,^has_journal", "-E", "lazy_itable_init=1"}, nil},
	{"legacy", []string{"-t", "ext4", "-b", "1024"}, []string{"-E", "hash_alg=legacy"}},
	{"tea", []string{"-t", "ext4", "-b", "1024"}, []string{"-E", "hash_alg=tea"}},
}

// TestRead compares trees that mke2fs -d made with what we read.
func TestRead(t *testing.T) {
	root := t.TempDir()
	makeTree(t, root, 600)
	want := hostTree(t, root)
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			m := mkfs(t, "96M", l.tune, append(l.args, "-d", root)...)
			// mke2fs -d makes no index; e2fsck does.
			name := filepath.Join(t.TempDir(), "indexed")
			if err := m.Save(name); err != nil {
				t.Fatal(err)
			}
			reindex(t, name)
			indexed, err := loadImage(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, dev := range []*memory{m, indexed} {
				f := mount(t, dev, Options{ReadOnly: true})
				got := make(map[string]string)
				rootDir, err := f.Root()
				if err != nil {
					t.Fatal(err)
				}
				tree(t, rootDir, "", got)
				rootDir.DecRef()
				compareTrees(t, got, want)
				if err := f.Unmount(); err != nil {
					t.Error(err)
				}
				if len(f.inodes) != 0 {
					t.Errorf("%d inodes in use after all", len(f.inodes))
				}
			}
		})
	}
}
