package bake

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAddTraced adds what a run opened, but nothing that is the guest's own.
func TestAddTraced(t *testing.T) {
	dir := t.TempDir()
	const when = 1_600_000_000
	write(t, dir, map[string]string{
		"data": "x", "listed/inside": "x", "m.py": "source", "__pycache__/m.cpython-399.pyc": pyc(0, when, 6),
	})
	links(t, dir, map[string]string{"link": "data"})
	if err := os.Chtimes(filepath.Join(dir, "m.py"), time.Unix(when, 0), time.Unix(when, 0)); err != nil {
		t.Fatal(err)
	}
	b, said := testBaker(t)
	var hints []string
	b.options.Hint = func(line string) { hints = append(hints, line) }
	for _, name := range []string{"link", "listed", "m.py", "__pycache__/m.cpython-399.pyc", "gone"} {
		b.options.Traced = append(b.options.Traced, filepath.Join(dir, name))
	}
	b.options.Traced = append(b.options.Traced, "/proc/self/status", "/etc/passwd", "/etc/ld.so.cache", "/dev/null", "/etc/shadow")
	if err := b.addTraced(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"link": true, "data": true, "listed": true, "listed/inside": false, "m.py": true, "gone": false,
	} {
		if got := b.root.lookup(filepath.Join(dir, name)) != nil; got != want {
			t.Errorf("%s is in the image: %v, want %v", name, got, want)
		}
	}
	if e := b.root.lookup(filepath.Join(dir, "m.py")); e == nil || e.mtime != when || e.from != fromTraced {
		t.Errorf("m.py is %+v, want it traced, with the time that its compiled form names", e)
	}
	if e := b.root.lookup("/etc/passwd"); e.from != fromBase {
		t.Errorf("/etc/passwd is %+v, want the base's", e)
	}
	for _, p := range []string{"/proc/self", "/etc/ld.so.cache", "/etc/shadow"} {
		if b.root.lookup(p) != nil {
			t.Errorf("%s is in the image", p)
		}
	}
	if _, err := os.Stat("/etc/shadow"); err == nil && !strings.Contains(strings.Join(hints, "\n"), "/etc/shadow") {
		t.Errorf("hints %q and %q do not name /etc/shadow", hints, *said)
	}
}
