package interop_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kiln/test/linuxguest"
)

// linuxLimit bounds what a Linux guest does in one boot.
const linuxLimit = 20 * time.Minute

// linux is a guest with Debian's kernel and the two programs that Kiln runs.
type linux struct {
	kernel        linuxguest.Kernel
	tree, treesum string // static
}

// newLinux finds the kernel that bench keeps, or fetches it. Where that cannot
// be done, the ordinary test run does without.
func newLinux(t *testing.T) *linux {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	kernel, err := linuxguest.Fetch(ctx, "../../build/bench/linux")
	if err != nil && os.Getenv("KILN_LONG") == "" {
		t.Skipf("no kernel of Debian's: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := &linux{kernel, filepath.Join(dir, "tree"), filepath.Join(dir, "treesum")}
	run(t, "gcc", "-static", "-O2", "-o", l.tree, "testdata/tree.c")
	run(t, "env", "CGO_ENABLED=0", "go", "build", "-ldflags=-s -w", "-o", l.treesum, "./treesum")
	return l
}

// onData mounts a volume, does what the commands say, each of which must
// succeed, and unmounts it.
func onData(fs string, commands ...string) string {
	return "set -e\n$bb mkdir /data\n$bb mount -t " + fs + " /dev/vda /data\n" +
		strings.Join(commands, "\n") +
		"\n$bb umount /data\n$bb dmesg | $bb grep EXT4-fs\necho linux: ok\n$bb poweroff -f\n"
}

// complaints match what Linux says of a file system that is not sound.
var complaints = regexp.MustCompile(`(?i)EXT4-fs.*(error|warning|recover|orphan|check)`)

// run boots with the volume as its disk, and returns what the script printed.
func (l *linux) run(t *testing.T, vol, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), linuxLimit)
	defer cancel()
	var fs linuxguest.Initramfs
	fs.AddInit(l.kernel, script)
	fs.AddProgram(ctx, "/tree", l.tree)
	fs.AddProgram(ctx, "/treesum", l.treesum)
	m := linuxguest.Machine{
		Type: "q35", Accel: "tcg", Kernel: l.kernel.Vmlinux, Init: "/init", Memory: 256,
		Initramfs: filepath.Join(t.TempDir(), "initramfs"), Disks: []string{vol},
	}
	if err := fs.Write(ctx, m.Initramfs); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", m.Flags()...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "linux: ok") {
		t.Fatalf("Linux did not do\n%s: %v\n%s", script, err, out)
	}
	if bad := complaints.Find(out); bad != nil {
		t.Errorf("Linux says: %s\nafter\n%s", bad, script)
	}
	return string(out)
}

// sumLine is what treesum prints.
var sumLine = regexp.MustCompile(`sum of \d+ entries: [0-9a-f]{64}`)

// sums returns the lines of treesum's in an output, of which there must be n.
func sums(t *testing.T, n int, out string) []string {
	t.Helper()
	lines := sumLine.FindAllString(out, -1)
	if len(lines) != n {
		t.Fatalf("%d sums, want %d:\n%s", len(lines), n, out)
	}
	return lines
}

// TestLinuxGuest has Kiln and Linux mount the same volume in turns. Each finds
// what the other has left, adds to it and removes from it.
func TestLinuxGuest(t *testing.T) {
	kiln, program, image := setUp(t)
	linux, size, systems := newLinux(t), load{files: 400, size: 512 << 20}, []string{"ext4"}
	if os.Getenv("KILN_LONG") != "" {
		size, systems = theLoad(), []string{"ext4", "ext2"}
	}
	sumImage := filepath.Join(t.TempDir(), "treesum.kiln")
	run(t, kiln, "bake", "-o", sumImage, linux.treesum)
	native := t.TempDir()
	run(t, append([]string{program}, size.args("write", native)...)...)
	want := sums(t, 1, run(t, linux.treesum, native))[0]
	for _, fs := range systems {
		t.Run(fs, func(t *testing.T) {
			s := &shared{kiln: kiln, linux: linux, fs: fs, volume: volume(t, size.size), tree: image, treesum: sumImage}
			run(t, "/usr/sbin/mke2fs", "-q", "-F", "-t", fs, s.volume)
			s.takeTurns(t, size, want)
		})
	}
}

// shared is a volume that Kiln and Linux have in turns.
type shared struct {
	kiln          string
	linux         *linux
	fs, volume    string
	tree, treesum string // images
}

// inKiln runs an image with the volume at /data, and has e2fsck look at it.
func (s *shared) inKiln(t *testing.T, image string, args ...string) string {
	t.Helper()
	out := run(t, slices.Concat([]string{s.kiln, "run", "qemu", "-M", "128", "-b", s.volume + ",/data", image, "--"}, args)...)
	run(t, "/usr/sbin/e2fsck", "-fn", s.volume)
	return out
}

// inLinux does the same with commands.
func (s *shared) inLinux(t *testing.T, commands ...string) string {
	t.Helper()
	out := s.linux.run(t, s.volume, onData(s.fs, commands...))
	run(t, "/usr/sbin/e2fsck", "-fn", s.volume)
	return out
}

// takeTurns moves trees. want is the sum of the one that Kiln writes.
func (s *shared) takeTurns(t *testing.T, size load, want string) {
	t.Helper()
	other := load{files: size.files} // what Linux writes
	s.inKiln(t, s.tree, size.args("write", "/data")...)
	found := sums(t, 2, s.inLinux(t,
		"/treesum /data",
		"/tree "+strings.Join(size.args("check", "/data"), " "),
		"$bb mkdir /data/linux",
		"/tree "+strings.Join(other.args("write", "/data/linux"), " "),
		"/treesum /data many/flat deep sparse",
	))
	if found[0] != want {
		t.Errorf("Linux finds the %s of Kiln's, want %s", found[0], want)
	}
	s.inKiln(t, s.tree, other.args("check", "/data/linux")...)
	if got := sums(t, 1, s.inKiln(t, s.treesum, "/data"))[0]; got != found[1] {
		t.Errorf("Kiln finds the %s of Linux', want %s", got, found[1])
	}
	left := sums(t, 1, s.inKiln(t, s.treesum, "/data", "linux/many/flat", "linux/deep", "linux/sparse", "many"))[0]
	if got := sums(t, 1, s.inLinux(t, "/treesum /data"))[0]; got != left {
		t.Errorf("Linux finds the %s of Kiln's after removals, want %s", got, left)
	}
}
