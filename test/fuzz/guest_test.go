package fuzz_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiln/test/kilncmd"
)

// silence is how long a guest may say nothing. A program takes two seconds at
// most, and half a minute if it does not die.
const silence = 2 * time.Minute

// rig is what guests are made of.
type rig struct {
	t    *testing.T
	kiln string
	dir  string
	n    int // of guests so far
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, kiln: kilncmd.Path(t), dir: t.TempDir()}
	out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-o", r.path("fuzz"), "src/fuzz.c").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// result is how a guest's run ended.
type result struct {
	output   string // its last lines
	seed     uint64 // of the last program
	programs int    // that were begun
	lasted   bool   // the guest was there to say that it is done
}

// guest runs fuzz with arguments in a guest with an ext4 and a folder of this
// machine.
func (r *rig) guest(args ...string) result {
	r.t.Helper()
	r.n++
	image, disk, folder := r.path("fuzz.img"), r.path("disk.img"), r.path(fmt.Sprintf("folder%d", r.n))
	if err := os.Mkdir(folder, 0o777); err != nil {
		r.t.Fatal(err)
	}
	r.command(r.kiln, append([]string{"bake", "-o", image, r.path("fuzz"), "--"}, args...)...)
	os.Remove(disk)
	r.command("mkfs.ext4", "-q", "-F", disk, "32M")
	return r.watch(exec.Command(r.kiln, "run", "-M", "256", "-b", disk+",/mnt", "-v", folder+":/media", image))
}

func (r *rig) command(name string, args ...string) {
	r.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// watch runs a guest and ends it when it is silent for too long.
func (r *rig) watch(cmd *exec.Cmd) result {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	// A group of its own, so that QEMU ends, too.
	watched.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	watched.Cancel = func() error { return syscall.Kill(-watched.Process.Pid, syscall.SIGKILL) }
	watched.WaitDelay = 10 * time.Second
	out, in := io.Pipe()
	watched.Stdout, watched.Stderr = in, in
	if err := watched.Start(); err != nil {
		r.t.Fatal(err)
	}
	timer := time.AfterFunc(silence, cancel)
	var l log
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			timer.Reset(silence)
			l.add(strings.TrimRight(lines.Text(), "\r"))
		}
		io.Copy(io.Discard, out) // a line longer than a Scanner's
	})
	err := watched.Wait()
	silent := !timer.Stop()
	in.Close()
	reading.Wait()
	if silent {
		l.add(fmt.Sprintf("(silent for %v)", silence))
	}
	return l.result(err)
}

// log is what a guest said.
type log struct {
	last     []string
	seed     uint64
	programs int
	done     bool // it said so
}

// lastLines is how many lines of a guest a failure shows: a kernel's traceback.
const lastLines = 150

func (l *log) add(line string) {
	var seed uint64
	if n, err := fmt.Sscanf(line+"\n", "%d\n", &seed); n == 1 && err == nil {
		l.seed = seed
		l.programs++
		return
	}
	if strings.HasPrefix(line, "free ") {
		return
	}
	l.done = strings.HasPrefix(line, "fuzz: ") && strings.HasSuffix(line, "ok")
	if l.last = append(l.last, line); len(l.last) > lastLines {
		l.last = l.last[1:]
	}
}

// result judges what the guest said, and how kiln run ended.
func (l *log) result(err error) result {
	if err != nil {
		l.last = append(l.last, fmt.Sprintf("(kiln run: %v)", err))
	}
	return result{strings.Join(l.last, "\n"), l.seed, l.programs, l.done && err == nil}
}
