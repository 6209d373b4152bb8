package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVolumeFiles reads what is in an image from the command line.
func TestVolumeFiles(t *testing.T) {
	mke2fs, err := exec.LookPath("/usr/sbin/mke2fs")
	if err != nil {
		t.Skip("the package e2fsprogs has it: ", err)
	}
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("tree/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tree/dir/file": "hello\n", "tree/e\x1b[31m": "", "garbage": strings.Repeat("x", 10_000)} {
		if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("dir/file", "tree/link"); err != nil {
		t.Fatal(err)
	}
	// The name of a file may have a colon.
	if out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-d", "tree", "a:b.img", "4M").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	mustFail(t, []string{"volume", "ls", "garbage:/"}, "garbage", "./garbage:/")
	mustFail(t, []string{"volume", "ls", "./garbage:/"}, "garbage", "no file system")
	mustFail(t, []string{"volume", "cat", "./a:b.img:/dir/none"}, "./a:b.img:/dir/none", "no such file")
	mustFail(t, []string{"volume", "cp", "./a:b.img:/dir", "garbage"}, "garbage is there already")

	code, stdout, stderr := call("volume", "ls", "./a:b.img:/")
	for _, want := range []string{" link -> dir/file\n", ` "e\x1b[31m"` + "\n", "drwxr-xr-x "} {
		if code != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("ls: status %d, %q, %s, want %q in it", code, stderr, stdout, want)
		}
	}
	code, stdout, _ = call("volume", "ls", "--json", "./a:b.img:/dir")
	var list []struct {
		Name, Mode string
		Size       int
	}
	if err := json.Unmarshal([]byte(stdout), &list); code != 0 || err != nil || len(list) != 1 || list[0].Name != "file" || list[0].Mode != "-rw-r-----" || list[0].Size != 6 {
		t.Errorf("ls --json: status %d, %v, %s", code, err, stdout)
	}
	if code, stdout, stderr := call("volume", "cat", "./a:b.img:/dir/file", "./a:b.img:/link"); code != 0 || stdout != "hello\nhello\n" {
		t.Errorf("cat: status %d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := call("volume", "cp", "./a:b.img:/dir", "copy"); code != 0 {
		t.Errorf("cp: status %d, %q", code, stderr)
	}
	if b, err := os.ReadFile(filepath.Join("copy", "file")); err != nil || string(b) != "hello\n" {
		t.Errorf("the copy has %q, %v", b, err)
	}
}
