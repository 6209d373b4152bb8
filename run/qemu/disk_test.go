package qemu

import "testing"

// TestLocked: as QEMU 7.2 to 10 word it (block/file-posix.c).
func TestLocked(t *testing.T) {
	for stderr, want := range map[string]string{
		"qemu-system-x86_64: -blockdev …: Failed to get \"write\" lock\nIs another process using the image [/d/a.img]?\n":          "/d/a.img",
		"qemu-system-x86_64: -blockdev …: Failed to get shared \"write\" lock\nIs another process using the image [/d/a b.img]?\n": "/d/a b.img",
		"qemu-system-x86_64: -blockdev …: Failed to get \"consistent read\" lock\nIs another process using the image [x]?\n":       "x",
		"qemu-system-x86_64: -blockdev …: Could not open 'x': No such file or directory\n":                                         "",
		"": "",
	} {
		if got := (Status{Stderr: stderr}).Locked(); got != want {
			t.Errorf("Locked of %q = %q, want %q", stderr, got, want)
		}
	}
}
