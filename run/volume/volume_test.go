package volume

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// store returns an empty store.
func store(t *testing.T) Store {
	t.Helper()
	s, err := Default(env(map[string]string{"XDG_DATA_HOME": t.TempDir()}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

// wantError checks that err is an Error with a word in it.
func wantError(t *testing.T, err error, word string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(e.Msg+e.Hint, word) {
		t.Errorf("error %v, want one about %q", err, word)
	}
}

func needMkfs(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("/usr/sbin/mkfs.ext4"); err != nil {
		t.Skip("there is no mkfs.ext4: ", err)
	}
}

func TestDefault(t *testing.T) {
	for _, tt := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"XDG_DATA_HOME": "/d", "HOME": "/h"}, "/d/kiln/volumes"},
		{map[string]string{"HOME": "/h"}, "/h/.local/share/kiln/volumes"},
		{map[string]string{"XDG_DATA_HOME": "relative", "HOME": "/h"}, "/h/.local/share/kiln/volumes"},
	} {
		if got, err := Default(env(tt.vars)); err != nil || got.dir != tt.want {
			t.Errorf("Default(%v) = %q, %v; want %q", tt.vars, got.dir, err, tt.want)
		}
	}
	_, err := Default(env(nil))
	wantError(t, err, "HOME")
}

func TestLife(t *testing.T) {
	needMkfs(t)
	s := store(t)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("List of nothing = %v, %v", list, err)
	}
	for name, fs := range map[string]string{"data": "ext4", "old.one": "ext2"} {
		if err := s.Create(name, 64<<20, fs); err != nil {
			t.Fatal(err)
		}
		path, err := s.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("/usr/sbin/e2fsck", "-fn", path).CombinedOutput(); err != nil {
			t.Errorf("e2fsck: %v\n%s", err, out)
		}
	}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("List = %v, %v", list, err)
	}
	if v := list[0]; v.Name != "data" || v.Size != 64<<20 || v.FS != "ext4" || v.InUse || v.Allocated >= v.Size/2 {
		t.Errorf("first volume %+v", v)
	}
	if v := list[1]; v.Name != "old.one" || v.FS != "ext2" {
		t.Errorf("second volume %+v", v)
	}
	wantError(t, s.Create("data", 64<<20, "ext4"), "already")
	for _, name := range []string{"data", "old.one"} {
		if err := s.Remove(name); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("left in the store: %v, %v", left, err)
	}
}

func TestRefusals(t *testing.T) {
	s := store(t)
	for _, name := range []string{"", ".x", "a/b", "a:b", "a,b", "ä", strings.Repeat("x", 64)} {
		wantError(t, s.Create(name, 64<<20, "ext4"), "name")
	}
	wantError(t, s.Create("x", 4096, "ext4"), "small")
	wantError(t, s.Create("x", 1<<60, "ext4"), "large")
	wantError(t, s.Create("x", 64<<20, "fat"), "fat")
	_, err := s.Find("x")
	wantError(t, err, "create x")
	wantError(t, s.Remove("x"), "kiln volume ls")
}

// Nothing is left behind if the file system cannot be made.
func TestCreateFails(t *testing.T) {
	s := store(t)
	makers["broken"] = maker{"false", nil}
	makers["missing"] = maker{"no-such-mkfs", nil}
	defer delete(makers, "broken")
	defer delete(makers, "missing")
	if err := s.Create("x", 64<<20, "broken"); err == nil {
		t.Error("a failure is not reported")
	}
	wantError(t, s.Create("x", 64<<20, "missing"), "e2fsprogs")
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("left in the store: %v, %v", left, err)
	}
}

// What a machine has is not removed.
func TestInUse(t *testing.T) {
	s := store(t)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(s.dir, "x"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: lockBase + 3, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Remove("x"), "in use")
	if list, err := s.List(); err != nil || len(list) != 1 || !list[0].InUse {
		t.Errorf("List = %+v, %v", list, err)
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"4096": 4096, "8K": 8 << 10, "10m": 10 << 20, "1G": 1 << 30, "2GiB": 2 << 30, "3TB": 3 << 40} {
		if got, err := ParseSize(in); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "-1", "G", "1X", "1.5G", "99999999T", "1GG"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
}

// TestHoldStill has a QEMU program try to write to an image that is read, and
// the reverse.
func TestHoldStill(t *testing.T) {
	qemuIO, err := exec.LookPath("qemu-io")
	if err != nil {
		t.Skip("the package qemu-utils has it: ", err)
	}
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if free, err := HoldStill(f); !free || err != nil {
		t.Errorf("HoldStill of an image that nobody has = %v, %v", free, err)
	}
	if out, err := exec.Command(qemuIO, "-f", "raw", "-c", "write 0 4096", path).CombinedOutput(); err == nil || !strings.Contains(string(out), "lock") {
		t.Errorf("QEMU writes to an image that is held (%v):\n%s", err, out)
	}
	if out, err := exec.Command(qemuIO, "-r", "-f", "raw", "-c", "read 0 4096", path).CombinedOutput(); err != nil {
		t.Errorf("QEMU does not read an image that is held: %v\n%s", err, out)
	}
	f.Close()

	// qemu-io keeps the image open until its input ends.
	cmd := exec.Command(qemuIO, "-f", "raw", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil { // its prompt
		t.Fatal(err)
	}
	if f, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if free, err := HoldStill(f); free || err != nil {
		t.Errorf("HoldStill of an image that QEMU writes to = %v, %v", free, err)
	}
}
