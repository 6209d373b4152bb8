package erofs

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	reader "github.com/erofs/go-erofs"
)

// TestFsck lets the tools of EROFS's authors check and extract the trees.
func TestFsck(t *testing.T) {
	fsck, err := exec.LookPath("fsck.erofs")
	if err != nil {
		t.Skipf("erofs-utils is not installed: %v", err)
	}
	for name, files := range trees() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			img, out := filepath.Join(dir, "image"), filepath.Join(dir, "out")
			if err := os.WriteFile(img, image(t, tree(t, files, pathsOf(files))), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(fsck, "--extract="+out, "--no-preserve-owner", "--preserve-perms", img)
			if msg, err := cmd.CombinedOutput(); err != nil || bytes.Contains(msg, []byte("<W>")) {
				t.Fatalf("%s: %v\n%.2000s", cmd, err, msg)
			}
			for p, want := range files {
				checkExtracted(t, filepath.Join(out, p), want)
			}
		})
	}
}

// checkExtracted compares a file of the host with what was put in the image.
func checkExtracted(t *testing.T, p string, want file) {
	t.Helper()
	st, err := os.Lstat(p)
	if err != nil {
		t.Error(err)
		return
	}
	if want.mode&fs.ModeSymlink == 0 && st.Mode() != want.mode {
		t.Errorf("%s: mode %v, want %v", short(p), st.Mode(), want.mode)
	}
	var got string
	switch {
	case want.mode.IsDir():
		return
	case want.mode&fs.ModeSymlink != 0:
		got, err = os.Readlink(p)
	case want.mode.Perm()&0o400 == 0 && os.Geteuid() != 0:
		return // extracted, but not for us to read
	default:
		var b []byte
		b, err = os.ReadFile(p)
		got = string(b)
	}
	if err != nil || got != want.data {
		t.Errorf("%s: %d bytes, %v, want %d", short(p), len(got), err, len(want.data))
	}
}

// A sparse file is zeros but for what is in it, by block.
type sparse map[int64][]byte

// A sparseWriter writes a sparse file from its start to its end.
type sparseWriter struct {
	blocks sparse
	size   int64
}

// Write implements io.Writer.
func (w *sparseWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		at := w.size / BlockSize
		part := b[:min(int64(len(b)), (at+1)*BlockSize-w.size)]
		if !bytes.Equal(part, zeros[:len(part)]) {
			if w.blocks[at] == nil {
				w.blocks[at] = make([]byte, BlockSize)
			}
			copy(w.blocks[at][w.size%BlockSize:], part)
		}
		w.size += int64(len(part))
		b = b[len(part):]
	}
	return n, nil
}

// ReadAt implements io.ReaderAt.
func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	for n := 0; n < len(b); {
		at := (off + int64(n)) / BlockSize
		block := s[at]
		if block == nil {
			block = zeros
		}
		n += copy(b[n:], block[(off+int64(n))%BlockSize:])
	}
	return len(b), nil
}

var zeros = make([]byte, BlockSize)

// TestLargeFile has a file of more than 4 GB, whose size takes an inode of its
// own kind, and one behind it.
func TestLargeFile(t *testing.T) {
	const size = 4<<30 + 5
	src := sparse{0: []byte(strings.Repeat("first", BlockSize)[:BlockSize]), 4 << 30 / BlockSize: append([]byte("last!"), zeros[5:]...)}
	tr := New()
	open := func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(src, 0, size)), nil }
	if err := tr.Create("/large", 0o644, 0, size, open); err != nil {
		t.Fatal(err)
	}
	if err := tr.Create("/next", 0o644, 0, 4, content("next")); err != nil {
		t.Fatal(err)
	}
	p, err := tr.Plan()
	if err != nil {
		t.Fatal(err)
	}
	out := &sparseWriter{blocks: sparse{}}
	if n, err := p.WriteTo(out); err != nil || n != p.Size() {
		t.Fatalf("WriteTo = %d, %v, want %d", n, err, p.Size())
	}
	fsys, err := reader.Open(out.blocks)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := fs.Stat(fsys, "large"); err != nil || st.Size() != size {
		t.Fatalf("large: %v, %v, want %d bytes", st, err, int64(size))
	}
	if next, err := fs.ReadFile(fsys, "next"); err != nil || string(next) != "next" {
		t.Errorf("next is %q, %v", next, err)
	}
	f, err := fsys.Open("large")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 10)
	if _, err := io.ReadFull(f, head); err != nil || string(head) != "firstfirst" {
		t.Errorf("large begins with %q, %v", head, err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// Reading it to its end would take as long as writing it.
	at := st.(interface{ DataRange() []reader.DataRange }).DataRange()[0].Offset
	tail := make([]byte, 5)
	if _, err := out.blocks.ReadAt(tail, at+size-5); err != nil || string(tail) != "last!" {
		t.Errorf("large ends with %q, %v", tail, err)
	}
}
