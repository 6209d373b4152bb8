package powercut_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What recorder.c has.
const (
	slots = 16
	keep  = 8
)

// numbers are the latest of each kind that recorder acknowledged, or found.
type numbers struct {
	log, state, file int
	slot             [slots]int
}

// ledger follows what recorder says.
type ledger struct {
	acked numbers
	found numbers
	files map[int]bool // that were found whole
	ready bool         // it has told all that it found
	deaf  bool         // what it acknowledged last may not have been heard
}

// hear takes in a line. It returns what is wrong, "" if nothing.
func (l *ledger) hear(line string) string {
	var n, slot int
	scan := func(format string, into ...any) bool {
		got, err := fmt.Sscanf(line, format, into...)
		return err == nil && got == len(into)
	}
	switch {
	case scan("found log %d", &n):
		l.found.log = n
	case scan("found state %d", &n):
		l.found.state = n
	case scan("found slot %d %d", &slot, &n) && slot < slots:
		l.found.slot[slot] = n
	case scan("found file %d", &n):
		l.files[n] = true
		l.found.file = max(l.found.file, n)
	case line == "ready":
		l.ready = true
		return l.compare()
	case scan("ack log %d", &n):
		l.acked.log = n
	case scan("ack state %d", &n):
		l.acked.state = n
	case scan("ack slot %d", &n):
		l.acked.slot[n%slots] = n
	case scan("ack file %d", &n):
		l.acked.file = n
	default:
		return line
	}
	return ""
}

// compare tells what was acknowledged but is not there, or is there but was
// never written. One of each kind may have been under way.
func (l *ledger) compare() string {
	var wrong []string
	check := func(what string, found, acked int) {
		if found < acked {
			wrong = append(wrong, fmt.Sprintf("%s %d was acknowledged, %d is there", what, acked, found))
		}
	}
	check("log", l.found.log, l.acked.log)
	check("state", l.found.state, l.acked.state)
	for i := range slots {
		check(fmt.Sprintf("in slot %d", i), l.found.slot[i], l.acked.slot[i])
	}
	if !l.deaf && (l.found.log > l.acked.log+1 || l.found.state > l.acked.state+1 || l.found.file > l.acked.file+1) {
		wrong = append(wrong, fmt.Sprintf("found %+v after acknowledgements up to %+v", l.found, l.acked))
	}
	// The one before the next may be removed already.
	last := l.acked.file
	if l.deaf {
		last = max(last, l.found.file)
	}
	for n := max(1, last-keep+2); n <= l.acked.file; n++ {
		if !l.files[n] {
			wrong = append(wrong, fmt.Sprintf("file %d was acknowledged, and is not there or not whole", n))
		}
	}
	// What was found is durable: it goes on from there.
	l.acked = l.found
	return strings.Join(wrong, "; ")
}

// restart prepares for the next boot.
func (l *ledger) restart() {
	l.found, l.files, l.ready = numbers{}, make(map[int]bool), false
}

// bakeRecorder compiles and bakes recorder.c.
func bakeRecorder(r *rig) string {
	program, image := filepath.Join(r.dir, "recorder"), filepath.Join(r.dir, "recorder.kiln")
	r.command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, "testdata/recorder.c")
	r.command(r.kiln, "bake", "-o", image, program)
	return image
}

// round boots recorder, lets it run for a while after it is ready, or if early
// is set for a while from the start, and cuts the power. It returns what is
// wrong.
func (l *ledger) round(r *rig, image string, early bool) string {
	r.t.Helper()
	l.restart()
	g := r.boot(image, "--", "/data")
	limit := time.After(bootTime)
	var cut <-chan time.Time
	if early {
		cut = time.After(r.moment(2 * time.Second))
	}
	for {
		select {
		case line, ok := <-g.lines:
			if !ok {
				g.cut()
				return fmt.Sprintf("the guest ended by itself\n%s", g.stderr.String())
			}
			if wrong := l.hear(line); wrong != "" {
				g.cmd.Process.Kill()
				return wrong
			}
			if l.ready && cut == nil {
				cut = time.After(r.moment(1500 * time.Millisecond))
			}
		case <-cut:
			g.cut()
			for line := range g.lines { // what it said before
				if wrong := l.hear(line); wrong != "" {
					return wrong
				}
			}
			g.end()
			return ""
		case <-limit:
			g.cmd.Process.Kill()
			return fmt.Sprintf("the guest is not ready after %v", bootTime)
		}
	}
}

func TestRecorder(t *testing.T) {
	r := newRig(t)
	image := bakeRecorder(r)
	l := &ledger{}
	for i := range cuts() {
		before := l.acked
		// Now and then in the middle of the boot, and of the replay.
		if wrong := l.round(r, image, i%4 == 3); wrong != "" {
			t.Fatalf("cut %d: %s", i+1, wrong)
		}
		t.Logf("cut %d: log %d → %d, state %d, file %d", i+1, before.log, l.acked.log, l.acked.state, l.acked.file)
	}
	l.restart()
	g := r.boot(image, "--", "/data", "verify")
	for line := range g.lines {
		if wrong := l.hear(line); wrong != "" {
			t.Errorf("after the last cut: %s", wrong)
		}
	}
	if status := g.finish(); status != 0 || !l.ready {
		t.Errorf("recorder ended with status %d\n%s", status, g.stderr.String())
	}
	t.Logf("%+v", r.disk.Stats())
	if s := r.disk.Stats(); s.Flushes == 0 || l.acked.log == 0 {
		t.Errorf("%d records, %+v: the test tests nothing", l.acked.log, s)
	}
	// A clean shutdown leaves nothing to replay.
	r.command("/usr/sbin/e2fsck", "-fn", r.image)
}

// A disk that says it has flushed, but has not, loses what was acknowledged, or
// leaves a file system that is damaged: the test must notice. The ext4 volume
// is as good as a real one, so that a cut now and then does no harm.
func TestLyingDiskIsNoticed(t *testing.T) {
	r := newRig(t)
	r.disk.IgnoreFlush = true
	image := bakeRecorder(r)
	l := &ledger{}
	for i := range 10 {
		wrong := l.round(r, image, false)
		if r.damage != nil {
			wrong = r.damage.Error()
		}
		if wrong != "" {
			t.Logf("noticed at cut %d: %.500s", i+1, wrong)
			return
		}
	}
	t.Error("10 cuts, and nothing was noticed")
}
