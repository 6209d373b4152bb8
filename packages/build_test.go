package packages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// testBuilder returns a Builder with folders of its own, and what it says.
func testBuilder(t *testing.T) (*Builder, *[]string) {
	t.Helper()
	var said []string
	dir := t.TempDir()
	b := &Builder{
		Kiln: "/bin/true", Cache: filepath.Join(dir, "cache"), Data: filepath.Join(dir, "data"),
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "CFLAGS=-Wfoo", "LC_MESSAGES=xx"},
		Say: func(line string) { said = append(said, line) },
	}
	return b, &said
}

// testJob returns a job with a prepared folder.
func testJob(t *testing.T, b *Builder) *job {
	t.Helper()
	dir := filepath.Join(b.Cache, "x")
	if err := os.MkdirAll(filepath.Join(dir, "source"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &Recipe{Name: "x", files: fstest.MapFS{recipeFile: {}, "sub/file": {Data: []byte("content")}}}
	j, err := b.newJob(r, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.close)
	if err := j.prepare(); err != nil {
		t.Fatal(err)
	}
	return j
}

// TestScript runs a script as a build does, and looks at its environment.
func TestScript(t *testing.T) {
	b, _ := testBuilder(t)
	j := testJob(t, b)
	script := `
test "$(cat "$RECIPE/sub/file")" = content
test "$HOST $CC $AR" = "x86_64-kiln-linux x86_64-kiln-linux-gcc x86_64-kiln-linux-gcc-ar"
command -v "$CXX" | grep -x "$BUILD/tools/x86_64-kiln-linux-g++"
test -d "$KILN_SYSROOT/lib" -a -f "$CMAKE_TOOLCHAIN_FILE" -a -f "$CONFIG_SITE" -a -f "$XDG_DATA_HOME/meson/cross/$HOST"
test -z "${CFLAGS:-}" -a -z "${LC_MESSAGES:-}" -a -n "$HOME"
test "$(pwd)" = "$BUILD/source"
touch "$ROOT/done"
`
	if err := j.script(script); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(j.tail.last(10), "\n"))
	}
	if _, err := os.Stat(filepath.Join(j.dir, "root/done")); err != nil {
		t.Error(err)
	}
}

// TestFailedScript checks that a failure shows the end of the log and names
// it.
func TestFailedScript(t *testing.T) {
	b, said := testBuilder(t)
	j := testJob(t, b)
	err := j.script("for i in $(seq 100); do echo line $i; done; false; echo not here")
	if err == nil {
		t.Fatal("a script goes on after a command that failed")
	}
	err = j.failed("building", err)
	if !strings.Contains(err.Error(), j.logPath()) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %q, want the log's path in one line", err)
	}
	text := strings.Join(*said, "\n")
	if !strings.Contains(text, "| line 100") || strings.Contains(text, "| line 50\n") {
		t.Errorf("said %q, want the last lines only", text)
	}
	log, err := os.ReadFile(j.logPath())
	if err != nil || !strings.Contains(string(log), "line 1\n") {
		t.Errorf("the log: %q, %v", log, err)
	}
}

func TestTail(t *testing.T) {
	tl := &tail{}
	for i := range 20000 {
		fmt.Fprintf(tl, "line %d\n\n", i)
	}
	if got, want := tl.last(2), []string{"line 19998", "line 19999"}; !slices.Equal(got, want) {
		t.Errorf("last(2) = %q, want %q", got, want)
	}
	if len(tl.text) > 3*tailSize {
		t.Errorf("it keeps %d bytes", len(tl.text))
	}
}

func TestMissing(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skipf("not Debian: %v", err)
	}
	gone, err := missing([]string{"dpkg", "no-such-package-as-this"})
	if err != nil || !slices.Equal(gone, []string{"no-such-package-as-this"}) {
		t.Errorf("missing = %q, %v", gone, err)
	}
	b, _ := testBuilder(t)
	err = b.requireInstalled("x", []string{"no-such-package-as-this"}, false)
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Msg, "no-such-package-as-this") || !strings.Contains(e.Hint, "apt-get install") {
		t.Errorf("requireInstalled = %v", err)
	}
}

// guestScript stands for kiln: as kiln run it prints and serves until it is
// told to end.
const guestScript = `#!/bin/sh
echo "guest: $*"
case $* in *crash*) exit 254 ;; esac
trap 'echo ending; exit 0' TERM
while :; do sleep 0.05; done
`

func TestCheck(t *testing.T) {
	b, said := testBuilder(t)
	b.Kiln = filepath.Join(t.TempDir(), "kiln")
	if err := os.WriteFile(b.Kiln, []byte(guestScript), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &Recipe{Name: "x", Image: Image{Ports: []string{"80:8080", "81:9090"}}, files: fstest.MapFS{"f": {Data: []byte("content")}}}
	if err := b.Check(r); err == nil || !strings.Contains(err.Error(), "not built") {
		t.Errorf("checking what is not built: %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(ImagePath(b.Data, "x")), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ImagePath(b.Data, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const ready = `grep -q "guest: run -p $PORT:8080 -p $PORT_9090:9090" console`
	second := duration(time.Second)
	for _, tt := range []struct {
		name  string
		check Check
		want  string // in the error, "" for none
	}{
		{"sound", Check{Ready: ready, Script: `test "$(cat "$RECIPE/f")" = content -a "$PORT" = "$PORT_8080"`}, ""},
		{"arguments", Check{Ready: ready, Arguments: []string{"a", "b"}, Script: `grep -e "-- a b" console`}, ""},
		{"a script that fails", Check{Ready: ready, Script: "echo because; exit 3"}, "exit status 3: because"},
		{"a script that hangs", Check{Ready: ready, Script: "sleep 60", Timeout: second}, "still running"},
		{"a guest that never serves", Check{Ready: "echo no answer; false", Script: "true", Timeout: second}, "no answer"},
		{"a guest that crashes", Check{Ready: "false", Arguments: []string{"crash"}, Script: "true"}, "ended by itself: exit status 254"},
		{"without a guest", Check{Script: `"$KILN" crash >out || test $? = 254; test "$(cat out)" = "guest: crash"`}, ""},
		{"without a guest, failing", Check{Script: "false"}, "exit status 1"},
	} {
		*said = nil
		tt.check.Name = tt.name
		r.Check = []Check{tt.check}
		err := b.Check(r)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q\n%s", tt.name, err, tt.want, strings.Join(*said, "\n"))
		}
	}
}

// TestInterrupted ends scripts of both kinds while they sleep.
func TestInterrupted(t *testing.T) {
	b, _ := testBuilder(t)
	j := testJob(t, b)
	for name, script := range map[string]func() error{
		"build": func() error { return j.failed("building", j.script("sleep 60 & wait")) },
		"check": func() error { return b.shell("sleep 60 & wait", t.TempDir(), b.Env, time.Minute) },
	} {
		ctx, cancel := context.WithCancel(context.Background())
		b.Context = ctx
		time.AfterFunc(200*time.Millisecond, cancel)
		began := time.Now()
		err := script()
		if err == nil || !strings.Contains(err.Error(), "interrupted") || time.Since(began) > 30*time.Second {
			t.Errorf("%s: after %v: %v, want that it was interrupted", name, time.Since(began), err)
		}
	}
}

func TestEmptyExcept(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/b", "c"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "keep"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a/b"), 0o500); err != nil {
		t.Fatal(err)
	}
	if err := emptyExcept(dir, "keep"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}
