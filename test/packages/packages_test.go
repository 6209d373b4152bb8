// Package packages_test builds packages from their recipes and carries out
// their checks: three of them, and all with KILN_LONG=1. And it runs SQLite's
// speedtest1 (speedtest_test.go).
package packages_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/packages"
	"kiln/test/kilncmd"
)

// ordinary are the packages of the ordinary test run.
var ordinary = map[string]bool{"lua": true, "leveldb": true, "redis": true}

func TestPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("builds software, which -short excludes")
	}
	kiln := kilncmd.Path(t)
	long := os.Getenv("KILN_LONG") != ""
	// Images go to a place of their own; builds may be kept in the cache.
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, name := range packages.Names() {
		t.Run(name, func(t *testing.T) {
			if !ordinary[name] && !long {
				t.Skip("takes long, for KILN_LONG=1")
			}
			run(t, 30*time.Minute, kiln, "package", "build", name)
			run(t, 10*time.Minute, kiln, "package", "check", name)
		})
	}
}

// run runs a command that must succeed, under a time limit, and returns its
// output.
func run(t *testing.T, limit time.Duration, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// A group of its own, so that the time limit ends all that it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s: still running after %v\n%s", strings.Join(argv, " "), limit, out)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	t.Logf("%s", out)
	return string(out)
}
