// Package kilncmd finds what tests need to boot guests: the kiln command that
// build.sh made, and QEMU.
package kilncmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Path returns the path of the kiln command, which is $KILN if that is set. The
// test, whose package lies two folders deep, is skipped with -short, and fails
// without the command or QEMU.
func Path(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("boots virtual machines, which -short excludes")
	}
	kiln := os.Getenv("KILN")
	if kiln == "" {
		var err error
		if kiln, err = filepath.Abs("../../bin/kiln"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(kiln); err != nil {
		t.Fatalf("no kiln command: %v; build it with ./build.sh", err)
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatalf("%v; install the package qemu-system-x86", err)
	}
	return kiln
}
