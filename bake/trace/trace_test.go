package trace

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hexed returns s as strace -xx writes it.
func hexed(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString(`\x`)
		b.WriteString(string("0123456789abcdef"[s[i]>>4]) + string("0123456789abcdef"[s[i]&15]))
	}
	return b.String()
}

func TestParse(t *testing.T) {
	h := hexed
	log := strings.Join([]string{
		`10 execve("` + h("/bin/sh") + `", ["` + h("sh") + `"...], 0x7ff /* 3 vars */) = 0`,
		`10 openat(AT_FDCWD<` + h("/home") + `>, "` + h("a\n\"b") + `", O_RDONLY) = 3<` + h("/home/a") + `>`,
		`10 openat(3<` + h("/srv/dir") + `>, "` + h("../x") + `", O_RDONLY|O_CLOEXEC) = 4<>`,
		`11 chdir("` + h("/tmp") + `")        = 0`,
		`11 execve("` + h("./tool") + `", [], 0x0) = 0`,
		`12 execve("` + h("./tool") + `", [], 0x0) = 0`,
		`12   openat2(5<` + h("/d") + `>(deleted), "` + h("f") + `", {flags=0}, 24) = 6`,
		`12 open("` + h("/etc/x/") + `", O_RDONLY) = 3`,
		`12 execveat(3<` + h("/p") + `>, "", ["` + h("x") + `"], NULL, AT_EMPTY_PATH) = 0`,
		`+++ exited with 0 +++`, ``, `garbage "`,
		`10 open("` + h("/cut"),
	}, "\n")
	got, err := parse(strings.NewReader(log), "/start")
	want := []string{"/bin/sh", "/d/f", "/etc/x", "/home/a\n\"b", "/srv/x", "/start/tool", "/tmp/tool"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("parse = %q, %v, want %q", got, err, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`10 openat(AT_FDCWD<\x2f>, "\x61", O_RDONLY) = 3`)
	f.Fuzz(func(t *testing.T, log string) {
		paths, err := parse(strings.NewReader(log), "/")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if !filepath.IsAbs(p) || filepath.Clean(p) != p {
				t.Errorf("a path %q", p)
			}
		}
	})
}

func TestRun(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"read", "included", "untouched", "odd \n\"name\xff"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("echo "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond) // file systems stamp with the tick before
	t.Chdir(dir)
	var out bytes.Buffer
	paths, status, err := Run(t.Context(), Command{
		Path: "/bin/sh", Args: []string{"-c", `. ./included; cd /; cat "$DIR/read" "$DIR"/odd*; echo new >"$DIR/made"; exit 3`},
		Env: []string{"PATH=/usr/bin:/bin", "DIR=" + dir}, Stdio: Stdio{Out: &out},
	})
	if err != nil || status != 3 || !strings.HasPrefix(out.String(), "included\n") {
		t.Fatalf("Run: status %d, %q, %v", status, out.String(), err)
	}
	for name, want := range map[string]bool{"read": true, "included": true, "untouched": false, "made": false, "odd \n\"name\xff": true} {
		if got := slices.Contains(paths, filepath.Join(dir, name)); got != want {
			t.Errorf("%q was opened: %v, want %v; in %q", name, got, want, paths)
		}
	}
	if !slices.Contains(paths, "/bin/sh") || slices.Contains(paths, "/dev/null") {
		t.Errorf("opened: %q", paths)
	}
}

// TestRunEnds ends a command that does not end by itself.
func TestRunEnds(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	time.AfterFunc(300*time.Millisecond, func() { cancel(cause) })
	_, _, err := Run(ctx, Command{Path: "/bin/sleep", Args: []string{"1000"}})
	if !errors.Is(err, cause) {
		t.Errorf("Run = %v, want %v", err, cause)
	}
}
