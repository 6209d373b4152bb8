package files

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kiln/kernel/fs"
)

// TestHostileNames copies from an image whose names lead out of the folder.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "XXXXXescape"), []byte("out"), 0o644); err != nil {
		t.Fatal(err)
	}
	image := makeExt4(t, dir, "4M", "-O", "^metadata_csum")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, bytes.ReplaceAll(b, []byte("XXXXXescape"), []byte("../../escap")), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := open(t, image)
	place := t.TempDir()
	below := filepath.Join(place, "a/b")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.Copy(t.Context(), "/", filepath.Join(below, "copy")); !errors.Is(err, fs.EUCLEAN) {
		t.Errorf("Copy = %v, want EUCLEAN", err)
	}
	for _, d := range []string{place, filepath.Join(place, "a"), below} {
		list, err := os.ReadDir(d)
		if err != nil || len(list) > 1 || len(list) == 1 && !list[0].IsDir() {
			t.Errorf("%s has %v, %v", d, list, err)
		}
	}
}

// TestDirectoryTwice copies from an image whose tree never ends.
func TestDirectoryTwice(t *testing.T) {
	image := makeExt4(t, plant(t), "32M")
	command(t, "debugfs", "-w", "-R", "link d d/closed/again", image)
	m, _ := open(t, image)
	dir := t.TempDir()
	if err := m.Copy(t.Context(), "/", filepath.Join(dir, "copy")); !errors.Is(err, fs.EUCLEAN) {
		t.Errorf("Copy = %v, want EUCLEAN", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v, want nothing", left, err)
	}
}

// TestDamage reads images with random damage: whatever comes of it, it ends, and
// is nowhere but in the folder of the copy.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"d/closed/file", "d/file", "d/other"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fails := 0
	for kind, image := range map[string]string{"ext4": makeExt4(t, dir, "4M", "-O", "^metadata_csum"), "iso": makeISO(t, dir)} {
		whole, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		used := usedSectors(whole)
		damaged := filepath.Join(t.TempDir(), "damaged")
		for seed := range uint64(60) {
			r := rand.New(rand.NewPCG(seed, 7))
			b := bytes.Clone(whole)
			for range 30 {
				b[used[r.IntN(len(used))]+r.IntN(sectorSize)] ^= byte(1 << r.IntN(8))
			}
			if err := os.WriteFile(damaged, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if readAll(t, kind, damaged) != nil {
				fails++
			}
		}
	}
	t.Logf("%d of 120 images could not be copied", fails)
	if fails == 0 {
		t.Error("no damage was met")
	}
}

// usedSectors returns where sectors begin that are not empty, past an ext4's
// superblock.
func usedSectors(b []byte) []int {
	var used []int
	for off := 4096; off+sectorSize <= len(b); off += sectorSize {
		if bytes.Trim(b[off:off+sectorSize], "\x00\xff") != nil {
			used = append(used, off)
		}
	}
	return used
}

// readAll returns why the image could not be copied.
func readAll(t *testing.T, kind, image string) error {
	t.Helper()
	m, err := Open(image, kind, func(string) {})
	if err != nil {
		return err
	}
	defer m.Close()
	dir := t.TempDir()
	t.Cleanup(func() { // of folders that became read-only
		filepath.WalkDir(dir, func(path string, d iofs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = os.Chmod(path, 0o700)
			}
			return err
		})
	})
	// What these return is up to the damage; they say so.
	_, listErr := m.List("/d")
	catErr := m.Cat("/d/file", io.Discard)
	copyErr := m.Copy(t.Context(), "/", filepath.Join(dir, "copy"))
	for _, err := range []error{listErr, catErr, copyErr} {
		if err != nil && !strings.Contains(err.Error(), kind+":") {
			t.Errorf("%s: the error %v names no path", kind, err)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) > 1 || len(list) == 1 && list[0].Name() != "copy" {
		t.Errorf("%s: the folder has %v, %v", kind, list, err)
	}
	if copyErr != nil && len(list) > 0 {
		t.Errorf("%s: a copy that failed (%v) left %v", kind, copyErr, list)
	}
	return copyErr
}

func TestSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, []byte(strings.Repeat("a", 5000)), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := newSnapshot(f)
	if err != nil {
		t.Fatal(err)
	}
	if s.Size() != 9*sectorSize {
		t.Errorf("Size = %d, want %d", s.Size(), 9*sectorSize)
	}
	if err := s.WriteAt(bytes.Repeat([]byte("b"), 1024), 512); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteZeroes(1024, 512); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2048)
	if err := s.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("a", 512) + strings.Repeat("b", 512) + strings.Repeat("\x00", 512) + strings.Repeat("a", 512)
	if string(got) != want {
		t.Error("ReadAt does not return what was written")
	}
	for _, bad := range []int64{-512, 100, 8 * sectorSize} {
		if err := s.ReadAt(make([]byte, 1024), bad); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("ReadAt(%d) = %v, want EINVAL", bad, err)
		}
		if err := s.WriteAt(make([]byte, 1024), bad); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("WriteAt(%d) = %v, want EINVAL", bad, err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != strings.Repeat("a", 5000) {
		t.Errorf("the file has changed (%v)", err)
	}
	if err := os.Truncate(path, 512); err != nil {
		t.Fatal(err)
	}
	if err := s.ReadAt(got, 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("ReadAt of a file that became shorter = %v, want EIO", err)
	}
}
