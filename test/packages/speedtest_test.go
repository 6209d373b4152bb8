package packages_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"kiln/cc"
	"kiln/packages"
	"kiln/test/kilncmd"
)

// verified matches the line of speedtest1's with the hash of all that its
// queries returned.
var verified = regexp.MustCompile(`Verification Hash: .*`)

// speedtestLimit is for the usual size on a busy machine without KVM.
const speedtestLimit = 20 * time.Minute

// TestSpeedtest1 runs SQLite's speedtest1, built by Kiln's compiler, on a volume
// with a rollback journal and with a write-ahead log: the hash and the database
// itself must be those of the same program on the host. KILN_LONG=1 takes
// speedtest1's usual size, whose files are larger than what the guest's memory
// has room for; so those of VACUUM are on the volume, too.
func TestSpeedtest1(t *testing.T) {
	kiln := kilncmd.Path(t)
	size := "5"
	if os.Getenv("KILN_LONG") != "" {
		size = "100"
	}
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	run(t, 10*time.Minute, kiln, "package", "build", "./testdata/speedtest1")
	run(t, 10*time.Minute, kiln, "package", "check", "./testdata/speedtest1")
	cache, err := cc.CacheDir(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(cache, "packages/speedtest1/root/usr/bin/speedtest1")
	image := packages.ImagePath(filepath.Join(data, "kiln"), "speedtest1")

	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			args := []string{"--journal", mode, "--size", size, "--verify"}
			host := filepath.Join(dir, "host.db")
			want := verified.FindString(run(t, speedtestLimit, slices.Concat([]string{program}, args, []string{host})...))

			vol := filepath.Join(dir, "volume.img")
			run(t, time.Minute, "truncate", "-s", "512M", vol)
			run(t, time.Minute, "/usr/sbin/mkfs.ext4", "-q", "-F", vol)
			out := run(t, speedtestLimit, slices.Concat([]string{kiln, "run", "qemu", "-e", "SQLITE_TMPDIR=/mnt", "-b", vol + ",/mnt", image, "--"}, args, []string{"/mnt/test.db"})...)
			if got := verified.FindString(out); got != want || got == "" {
				t.Errorf("in a guest: %q, on the host: %q", got, want)
			}
			run(t, time.Minute, "/usr/sbin/e2fsck", "-fn", vol)

			guest := filepath.Join(dir, "guest.db")
			run(t, time.Minute, "/usr/sbin/debugfs", "-R", "dump test.db "+guest, vol)
			if got := run(t, time.Minute, "sqlite3", guest, "PRAGMA integrity_check; PRAGMA journal_mode"); got != "ok\n"+mode+"\n" {
				t.Errorf("sqlite3 says of the database: %s", got)
			}
			run(t, time.Minute, "cmp", guest, host)
		})
	}
}
