// Package powercut_test cuts the power of guests that write to an ext4 volume,
// and checks what is there afterwards.
//
// The volume is on a disk with a volatile write cache (test/nbd): what the
// guest does not flush may be lost, reordered or torn. After each cut, the
// image must be sound when our ext4 has replayed its journal, and when
// e2fsprogs have, by e2fsck; and when the guest boots again, all that was
// acknowledged must be there and no file torn.
//
// KILN_LONG=1 makes 50 cuts for each program instead of 5. KILN_SEED=N repeats
// a run's random numbers.
package powercut_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/kernel/fs/block/blocktest"
	"kiln/kernel/fs/ext4"
	"kiln/test/kilncmd"
	"kiln/test/nbd"
)

const (
	imageSize = 128 << 20 // bytes
	// bootTime bounds how long a guest may take to be ready, many times what
	// the slowest needs.
	bootTime = 2 * time.Minute
)

// rig is a volume whose power can be cut.
type rig struct {
	t      *testing.T
	kiln   string
	dir    string
	image  string // what is durable
	random *rand.Rand
	disk   *nbd.Disk
	boots  int
	damage error    // what the last check found; fatal unless the disk lies
	env    []string // of kiln's, in addition to this process's
}

// newRig makes an empty volume.
func newRig(t *testing.T) *rig {
	t.Helper()
	kiln := kilncmd.Path(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KILN_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("KILN_SEED: %v", err)
		}
	}
	t.Logf("KILN_SEED=%d repeats the random numbers", seed)
	r := &rig{t: t, kiln: kiln, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0))}
	r.image = filepath.Join(r.dir, "volume.img")
	if err := os.WriteFile(r.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(r.image, imageSize); err != nil {
		t.Fatal(err)
	}
	r.command("/usr/sbin/mkfs.ext4", "-q", "-F", r.image)
	file, err := os.OpenFile(r.image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	r.disk = nbd.NewDisk(file, imageSize)
	return r
}

// command runs a command that must succeed.
func (r *rig) command(argv ...string) string {
	r.t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// cuts is how many cuts a test makes.
func cuts() int {
	if os.Getenv("KILN_LONG") != "" {
		return 50
	}
	return 5
}

// guest is a running machine.
type guest struct {
	r      *rig
	cmd    *exec.Cmd
	server *nbd.Server
	lines  chan string  // of its output; closed at its end
	stderr bytes.Buffer // guarded by lines being closed
}

// boot starts kiln run with the volume at /data.
func (r *rig) boot(args ...string) *guest {
	r.t.Helper()
	r.boots++
	socket := filepath.Join(r.dir, fmt.Sprintf("nbd%d", r.boots))
	server, err := nbd.Serve(r.disk, socket)
	if err != nil {
		r.t.Fatal(err)
	}
	args = append([]string{"run", "qemu", "-b", "nbd:unix:" + socket + ",/data"}, args...)
	g := &guest{r: r, server: server, cmd: exec.Command(r.kiln, args...), lines: make(chan string, 1000)}
	g.cmd.Env = append(os.Environ(), r.env...)
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	g.cmd.Stderr = &g.stderr
	if err := g.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { g.cmd.Process.Kill() }) // which takes QEMU along
	go func() {
		defer close(g.lines)
		read := bufio.NewReader(out)
		for {
			line, err := read.ReadString('\n')
			if err != nil { // the half of a line was never said
				io.Copy(io.Discard, read)
				return
			}
			g.lines <- strings.TrimRight(line, "\r\n")
		}
	}()
	return g
}

// cut kills QEMU, takes the power from its disk, and checks the image. What
// the guest had said until then is in lines.
func (g *guest) cut() {
	g.r.t.Helper()
	if pid := g.qemu(); pid != 0 {
		// It may have ended by itself, which the caller notices.
		_ = syscall.Kill(pid, syscall.SIGKILL)
	} else {
		_ = g.cmd.Process.Kill() // before there was a QEMU
	}
	// The guest is dead; what it had said is read by the caller.
	if err := g.server.Drain(); err != nil {
		g.r.t.Errorf("serving the disk: %v", err)
	}
	if err := g.r.disk.Cut(g.r.random); err != nil {
		g.r.t.Fatal(err)
	}
	g.r.check()
}

// qemu returns the process number of the guest's QEMU, 0 if there is none.
func (g *guest) qemu() int {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", g.cmd.Process.Pid))
	if err != nil {
		g.r.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for pid := range strings.FieldsSeq(string(b)) {
			name, err := os.ReadFile("/proc/" + pid + "/comm")
			if n, e := strconv.Atoi(pid); err == nil && e == nil && strings.HasPrefix(string(name), "qemu") {
				return n
			}
		}
	}
	return 0
}

// check replays the image's journal in two copies, with our ext4 and with
// e2fsck, and lets e2fsck look for damage in both. The image stays as it is,
// for the next boot to replay.
func (r *rig) check() {
	r.t.Helper()
	r.damage = errors.Join(r.checkCopy("our replay", replayOurs), r.checkCopy("e2fsck's replay", replayLinux))
	if r.damage != nil && !r.disk.IgnoreFlush {
		r.t.Fatalf("boot %d: %v", r.boots, r.damage)
	}
}

func (r *rig) checkCopy(name string, replay func(image string) error) error {
	image := filepath.Join(r.dir, "copy.img")
	r.command("cp", "--sparse=always", r.image, image)
	if err := replay(image); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if out, err := exec.Command("/usr/sbin/e2fsck", "-fn", image).CombinedOutput(); err != nil {
		return fmt.Errorf("after %s: e2fsck -fn: %w\n%s", name, err, out)
	}
	return nil
}

// replayOurs mounts and unmounts an image.
func replayOurs(image string) error {
	dev, err := blocktest.OpenFile(image, nbd.SectorSize)
	if err != nil {
		return err
	}
	defer dev.Close()
	fs, err := ext4.Mount(dev, ext4.Options{})
	if err != nil {
		return err
	}
	return fs.Unmount()
}

// replayLinux replays an image's journal with e2fsprogs.
func replayLinux(image string) error {
	out, err := exec.Command("/usr/sbin/e2fsck", "-y", "-E", "journal_only", image).CombinedOutput()
	// Status 1 is that something was changed.
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 1 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// end waits for the command to end, all of whose output has been read.
func (g *guest) end() {
	g.r.t.Helper()
	if err := g.cmd.Wait(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			g.r.t.Fatal(err)
		}
	}
}

// finish waits for the guest to end by itself and returns its exit status.
func (g *guest) finish() int {
	g.r.t.Helper()
	for range g.lines {
	}
	g.end()
	if err := g.server.Close(); err != nil {
		g.r.t.Errorf("serving the disk: %v", err)
	}
	return g.cmd.ProcessState.ExitCode()
}

// moment returns a random time up to longest.
func (r *rig) moment(longest time.Duration) time.Duration {
	return time.Duration(r.random.Int64N(int64(longest)))
}
