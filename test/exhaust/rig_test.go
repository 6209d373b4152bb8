package exhaust_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/test/kilncmd"
)

const (
	volumeSize = 64 << 20 // bytes
	// slack is how long a mode may take beyond its limit: its processes end,
	// its files are removed, and the machine may be busy.
	slack = 2 * time.Minute
)

// rig is the driver's image and a program that lists the modes.
type rig struct {
	kiln, dir, driver, image string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{kiln: kilncmd.Path(t), dir: t.TempDir()}
	r.driver = filepath.Join(r.dir, "exhaust")
	r.image = filepath.Join(r.dir, "exhaust.img")
	sources, err := filepath.Glob("src/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	command(t, "gcc", append([]string{"-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-pthread", "-o", r.driver}, sources...)...)
	// At a second path, where no mode removes it.
	command(t, r.kiln, "bake", "-o", r.image, r.driver, "--add", r.driver+":/usr/bin/exhaust")
	return r
}

// command runs a command that must succeed and returns its output.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// modes returns the names of all modes, in the driver's order.
func (r *rig) modes(t *testing.T) []string {
	t.Helper()
	return strings.Fields(command(t, r.driver, "list"))
}

// A machine is what modes are run in.
type machine struct {
	memory int // in MB
	limit  time.Duration
	user   int
	faults int      // one in so many promises of memory fails; 0: none
	only   []string // the modes that it is for; all if none
}

func (m machine) String() string {
	return fmt.Sprintf("%d MB, user %d", m.memory, m.user)
}

// run runs modes in one machine after the other: where a mode ends the machine,
// the next machine goes on with the mode after it. The results are in the order
// of the modes.
func (r *rig) run(t *testing.T, m machine, modes []string) []result {
	t.Helper()
	var all []result
	for len(modes) > 0 {
		got := r.boot(t, m, modes)
		if len(got) == 0 {
			t.Fatalf("%v: the driver ran no mode", m)
		}
		all = append(all, got...)
		modes = modes[len(got):]
	}
	return all
}

// boot runs modes in one machine and returns the results of those that were
// begun.
func (r *rig) boot(t *testing.T, m machine, modes []string) []result {
	t.Helper()
	volume := filepath.Join(r.dir, "volume.img")
	if err := os.WriteFile(volume, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(volume, volumeSize); err != nil {
		t.Fatal(err)
	}
	command(t, "/usr/sbin/mkfs.ext4", "-q", "-F", "-N", "8192", volume)
	args := []string{"run", "--verbose-kernel", "--faults", strconv.Itoa(m.faults), "-M", strconv.Itoa(m.memory), "-b", volume + ",/data", r.image, "--",
		strconv.Itoa(int(m.limit.Seconds())), strconv.Itoa(m.user)}
	cmd := exec.Command(r.kiln, append(args, modes...)...)
	// One stream for both, so that a line of the kernel's stands between the
	// lines of the driver that it belongs to.
	out := &watched{limit: m.limit + slack, t: t}
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own, so that the time limit ends QEMU too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	out.late = func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // if it is there still
	out.start()
	err := cmd.Run()
	silent := !out.stop()
	results := parse(out.text.String())
	if len(results) > 0 && results[len(results)-1].line == "" {
		last := &results[len(results)-1]
		last.end = fmt.Sprintf("the machine ended: %v", cmd.ProcessState)
		if silent {
			last.end = fmt.Sprintf("nothing more came from the machine for %v", out.limit)
		}
	}
	if len(results) == len(modes) && err != nil && results[len(results)-1].line != "" {
		t.Errorf("%v: after the last mode, the driver ended with %v", m, err)
	}
	if len(results) == 0 {
		t.Logf("%v: %v\n%s", m, err, &out.text)
	}
	return results
}

// watched is the output of a machine, which must say something now and then. The
// driver's results are logged as they come.
type watched struct {
	t     *testing.T
	limit time.Duration
	late  func() // called if nothing came for so long
	timer *time.Timer
	text  bytes.Buffer
	shown int // how much of text has been looked at for results
}

func (w *watched) start() { w.timer = time.AfterFunc(w.limit, w.late) }

// stop reports whether there was always something in time.
func (w *watched) stop() bool { return w.timer.Stop() }

func (w *watched) Write(b []byte) (int, error) {
	if w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
	n, err := w.text.Write(b)
	for {
		line, _, complete := bytes.Cut(w.text.Bytes()[w.shown:], []byte("\n"))
		if !complete {
			return n, err
		}
		w.shown += len(line) + 1
		if bytes.HasPrefix(line, []byte("result ")) {
			w.t.Logf("%s", bytes.TrimSpace(line))
		}
	}
}

// A result is what happened while a mode ran.
type result struct {
	mode     string
	line     string            // the driver's; "" if the machine ended
	end      string            // how the mode's first process ended, or the machine
	fields   map[string]string // of the line
	killed   []victim          // by the memory killer
	messages []string          // other lines
}

// A victim is a process that the memory killer says it has killed.
type victim struct {
	process int
	name    string
}

// victimLine is the memory killer's line.
var victimLine = regexp.MustCompile(`out of memory: killed process (\d+) \(([^)]*)\)`)

// parse reads the output of a machine.
func parse(output string) []result {
	var results []result
	for s := bufio.NewScanner(strings.NewReader(output)); s.Scan(); {
		line := strings.TrimRight(s.Text(), "\r")
		if name, ok := strings.CutPrefix(line, "start "); ok {
			results = append(results, result{mode: name})
			continue
		}
		if len(results) == 0 {
			continue
		}
		r := &results[len(results)-1]
		if v := victimLine.FindStringSubmatch(line); v != nil {
			process, _ := strconv.Atoi(v[1]) // the expression has digits only
			// The kernel's lines and the driver's are two streams: one may be late.
			if i := len(results) - 2; i >= 0 && results[i].mode == v[2] {
				r = &results[i]
			}
			r.killed = append(r.killed, victim{process, v[2]})
		} else if rest, ok := strings.CutPrefix(line, "result "+r.mode+" "); ok {
			r.line, r.fields = rest, map[string]string{}
			for field := range strings.FieldsSeq(rest) {
				key, value, _ := strings.Cut(field, "=")
				r.fields[key] = value
			}
			r.end = r.fields["end"]
		} else {
			r.messages = append(r.messages, line)
		}
	}
	return results
}

// crowds are the modes of many processes, none of which is larger than another
// program.
var crowds = strings.Fields("threads fork-bomb forks fork-touch zombies exec-args exec-env namespaces net-namespaces")

// heaps are the modes that fill the kernel's heap, from one process that can be
// told: meanwhile others may still make something.
var heaps = strings.Fields("pipes-full pairs-stream pairs-dgram pairs-seqpacket epoll-watches in-flight timers sysv-messages posix-messages")

// refused is how a program is not started while a mode has all that there is:
// fork or execve fails (EAGAIN, ENOMEM), or the program's own first call does.
var refused = []string{"errno:11", "errno:12", "exit:11", "exit:12", "exit:127"}

// wrong says what should not have happened, "" if nothing.
func (r result) wrong() string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	mine := 0
	for _, v := range r.killed {
		switch {
		case v.process == 1:
			say("process 1 was killed")
		case v.name == r.mode, v.name == "exhaust": // a process of the mode that executes the program
			mine++
		case slices.Contains(crowds, r.mode) && v.name == "alive": // one of many of its size
		default:
			say("process %d (%s) was killed, which had nothing to do with it", v.process, v.name)
		}
	}
	if r.line == "" {
		say("%s", r.end)
		wrong = append(wrong, r.messages[:min(len(r.messages), 40)]...)
		return strings.Join(wrong, "\n\t")
	}
	switch kind, _, _ := strings.Cut(r.end, ":"); {
	case r.end == "held", r.end == "timeout":
	case r.end == "signal:9" && mine > 0:
	case r.end == "signal:9":
		say("it was killed without a line that says so")
	case kind == "signal":
		say("it was ended by signal %s", strings.TrimPrefix(r.end, "signal:"))
	default:
		say("it ended with %s", r.end)
	}
	mayRefuse := !slices.Contains(heaps, r.mode)
	if alive := r.fields["alive"]; alive != "ok" && !(mayRefuse && slices.Contains(refused, alive)) && !slices.Contains(crowds, r.mode) {
		say("meanwhile another program could not run: %s", alive)
	}
	if back := r.fields["back"]; back != "ok" {
		say("its memory did not come back: %s KB are available, to touch half of what was ended with %s", r.fields["left"], back)
	}
	return strings.Join(wrong, "\n\t")
}
