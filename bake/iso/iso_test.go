package iso

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// image writes something in an image's place.
func image(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kiln.img")
	if err := os.WriteFile(path, bytes.Repeat([]byte("kiln"), 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWrite makes a CD image, and reads its boot record: El Torito 1.0 §2.0,
// in sector 17.
func TestWrite(t *testing.T) {
	if _, err := exec.LookPath(maker); err != nil {
		t.Skipf("%v (packages %s)", err, packages)
	}
	out := filepath.Join(t.TempDir(), "out.iso")
	if err := Write(image(t), []byte("{}"), out, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if record := b[17*2048:]; string(record[1:6]) != "CD001" || !bytes.HasPrefix(record[7:], []byte("EL TORITO SPECIFICATION")) {
		t.Errorf("sector 17 begins with %q, want a boot record", record[:40])
	}
	for _, want := range []string{"multiboot2 /boot/kiln.img", strings.Repeat("kiln", 5000)} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%.30q is not in the CD image", want)
		}
	}
	// What is there already stays.
	if err := Write(image(t), []byte("{}"), out, t.TempDir()); err == nil || !strings.Contains(err.Error(), out) {
		t.Errorf("over an existing file: %v", err)
	}
	if again, err := os.ReadFile(out); err != nil || !bytes.Equal(again, b) {
		t.Errorf("the existing file has changed, %v", err)
	}
}

func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	out := filepath.Join(t.TempDir(), "out.iso")
	err := Write(image(t), nil, out, t.TempDir())
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Hint, "grub-pc-bin") {
		t.Errorf("without %s: %v, want an Error that names the packages", maker, err)
	}
	for name, script := range map[string]string{"fails": "echo no mformat >&2; exit 1", "makes nothing": "exit 0"} {
		if err := os.WriteFile(filepath.Join(dir, maker), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := Write(image(t), nil, out, t.TempDir())
		if _, ok := errors.AsType[*Error](err); !ok || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an Error of one line", name, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: there is an output", name)
		}
	}
}
