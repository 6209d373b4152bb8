// Package linux_test compares Kiln with Linux: C programs that print what calls
// return run on this machine and in a guest, and must print the same. Programs
// about files run in several folders. Known differences stand in docs/linux.md.
//
// Run one with go test ./test/linux -run TestSame/NAME.
package linux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/test/doctable"
	"kiln/test/kilncmd"
)

// place is where a program runs: a folder of the guest, and one of the host
// that it is compared with.
type place struct{ name, guest, host string }

// run is a program in a place.
type run struct{ program, place string }

// everywhere are the programs that run in all places, and local those that run in
// all but the host's folder: 9P has no such calls, and takes long for each. The
// others have no files, or make theirs in /tmp.
var (
	everywhere = []string{"nofollow", "openflags", "locks", "sendfile"}
	local      = []string{"files", "slashes", "tmpfile", "holes", "fallocate", "readonly", "deadlock", "noatime", "textbusy",
		"xattrs", "renames", "paths", "copies"}
)

// defaults are settings that programs need: a host may have others, a guest has
// Linux' own.
var defaults = map[string]map[string]string{
	"bounds": {
		"/proc/sys/fs/pipe-user-pages-soft": "16384", "/proc/sys/fs/pipe-user-pages-hard": "0",
		"/proc/sys/fs/pipe-max-size": "1048576", "/proc/sys/fs/inotify/max_user_instances": "128",
		"/proc/sys/vm/max_map_count": "65530",
	},
}

// limits on how long the guest and a program may take, many times what they do.
const (
	guestLimit   = 9 * time.Minute
	programLimit = 30 // s
)

func places(t *testing.T) []place {
	here := t.TempDir()
	return []place{
		{"root", "/differential", filepath.Join(here, "root")},
		{"tmp", "/tmp/differential", filepath.Join(here, "tmp")},
		{"volume", "/volume/differential", filepath.Join(here, "volume")},
		{"folder", "/folder/differential", filepath.Join(here, "folder")},
	}
}

func TestSame(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine, which -short excludes")
	}
	if os.Getuid() != 0 {
		t.Skip("the programs are root in a guest, so they are compared with root's results")
	}
	bin := compile(t)
	where := places(t)
	runs := plan(programs(t))
	guest := inGuest(t, bin, where, runs)
	known := knownDifferences(t)
	lines := 0
	for _, program := range programs(t) {
		t.Run(program, func(t *testing.T) {
			for path, value := range defaults[program] {
				if got := setting(t, path); got != value {
					t.Skipf("this host has %s in %s, by default %s", got, path, value)
				}
			}
			for _, p := range where {
				r := run{program, p.name}
				if !slices.Contains(runs, r) {
					continue
				}
				want := onHost(t, filepath.Join(bin, program), p.host)
				got, ok := guest[r]
				if !ok {
					t.Errorf("the guest did not run %s on %s", program, p.name)
					continue
				}
				lines += len(want)
				compare(t, r, got, want, known)
			}
		})
	}
	t.Logf("%d lines compared", lines)
}

// setting returns what a file below /proc/sys holds.
func setting(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// programs returns the names of all programs.
func programs(t *testing.T) []string {
	t.Helper()
	sources, err := filepath.Glob("src/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	for i, s := range sources {
		sources[i] = strings.TrimSuffix(filepath.Base(s), ".c")
	}
	return sources
}

// plan says which program runs where.
func plan(programs []string) []run {
	var runs []run
	for _, p := range programs {
		where := []string{"tmp"}
		switch {
		case slices.Contains(everywhere, p):
			where = []string{"root", "tmp", "volume", "folder"}
		case slices.Contains(local, p):
			where = []string{"root", "tmp", "volume"}
		}
		for _, place := range where {
			runs = append(runs, run{p, place})
		}
	}
	return runs
}

// compile returns a folder with the programs, linked statically.
func compile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range programs(t) {
		out, err := exec.Command("gcc", "-O1", "-Wall", "-Wextra", "-Wno-unused-result", "-Wno-nonnull", "-Wno-format-truncation", "-static",
			"-o", filepath.Join(dir, p), filepath.Join("src", p+".c"), "-lpthread").CombinedOutput()
		if err != nil {
			t.Fatalf("gcc %s.c: %v\n%s", p, err, out)
		}
	}
	return dir
}

// onHost runs a program in an empty folder and returns its lines.
func onHost(t *testing.T, program, dir string) []string {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), programLimit*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Dir = dir
	out, err := cmd.Output()
	return lines(string(out), ending(ctx, err))
}

// ending is the line behind a program's own that says how it ended.
func ending(ctx context.Context, err error) string {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "end = too late"
	case err == nil:
		return "end = 0"
	case errors.As(err, &exit):
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return fmt.Sprintf("end = %d", 128+ws.Signal())
		}
		return fmt.Sprintf("end = %d", exit.ExitCode())
	}
	return "end = " + err.Error()
}

func lines(out, end string) []string {
	ls := strings.Split(strings.TrimRight(out, "\n"), "\n")
	return append(ls, end)
}

// script runs the programs in the guest. A line with a form feed stands before
// what each prints.
func script(where []place, runs []run) string {
	folder := map[string]string{}
	for _, p := range where {
		folder[p.name] = p.guest
	}
	var b strings.Builder
	for _, r := range runs {
		dir := folder[r.place] + "/" + r.program
		fmt.Fprintf(&b, "printf '\\f%s %s\\n'; mkdir -p %s; cd %s; timeout -s KILL %d /programs/%s; echo \"end = $?\"\n",
			r.program, r.place, dir, dir, programLimit, r.program)
	}
	return b.String()
}

// inGuest runs everything in one guest and returns the lines of each run.
func inGuest(t *testing.T, bin string, where []place, runs []run) map[run][]string {
	t.Helper()
	kiln := kilncmd.Path(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "all.sh"), []byte(script(where, runs)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, dir, kiln, "volume", "create", "differential", "--size", "256M")
	command(t, dir, kiln, "bake", "-M", "256", "-o", "all.img", "/bin/busybox", "--add", bin+":/programs")
	out := command(t, dir, kiln, "run", "-v", "differential:/volume", "-v", "./folder:/folder", "all.img", "--", "sh", "/programs/all.sh")
	found := map[run][]string{}
	for _, part := range strings.Split(out, "\f")[1:] {
		head, body, _ := strings.Cut(part, "\n")
		program, place, _ := strings.Cut(head, " ")
		found[run{program, place}] = strings.Split(strings.TrimRight(body, "\n"), "\n")
	}
	return found
}

// command runs a kiln command that must succeed in dir, which is also the home of
// its volumes, and returns what it prints.
func command(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), guestLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv[1:], " "), err, &stderr, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// results maps what a line is about to its result. What is printed again is
// "WHAT (2)", and so on.
func results(t *testing.T, ls []string) map[string]string {
	t.Helper()
	m, times := map[string]string{}, map[string]int{}
	for _, l := range ls {
		what, res, ok := strings.Cut(l, " = ")
		if !ok {
			t.Errorf("the line %q is not WHAT = RESULT", l)
		}
		if times[what]++; times[what] > 1 {
			what = fmt.Sprintf("%s (%d)", what, times[what])
		}
		m[what] = res
	}
	return m
}

// compare reports lines that differ and are not known to, and known differences
// that are none.
func compare(t *testing.T, r run, got, want []string, known map[run]map[string]bool) {
	t.Helper()
	g, w := results(t, got), results(t, want)
	known[r] = expand(known[r], w)
	for _, what := range slices.Sorted(maps.Keys(w)) {
		differs := g[what] != w[what]
		switch must, may := known[r][what]; {
		case differs && !may:
			t.Errorf("%s: %s = %s, on Linux %s", r.place, what, g[what], w[what])
		case !differs && must:
			t.Errorf("%s: %s no longer differs from Linux: take it out of docs/linux.md", r.place, what)
		}
	}
	for what := range g {
		if _, ok := w[what]; !ok {
			t.Errorf("%s: only the guest says %s = %s", r.place, what, g[what])
		}
	}
	for what := range known[r] {
		if _, ok := w[what]; !ok {
			t.Errorf("%s: docs/linux.md knows of %q, which %s does not print", r.place, what, r.program)
		}
	}
}

// expand replaces a known difference "PREFIX*", which must be known, by the lines
// that begin so, which may.
func expand(known map[string]bool, lines map[string]string) map[string]bool {
	all := map[string]bool{}
	for k := range known {
		prefix, many := strings.CutSuffix(k, "*")
		found := false
		for what := range lines {
			if many && strings.HasPrefix(what, prefix) {
				all[what], found = all[what], true
			}
		}
		if !found {
			all[k] = true
		}
	}
	return all
}

// knownDifferences reads docs/linux.md.
func knownDifferences(t *testing.T) map[run]map[string]bool {
	t.Helper()
	known := map[run]map[string]bool{}
	for _, row := range doctable.Rows(t, "linux.md", "What test/linux prints otherwise") {
		if len(row) != 4 || row[3] == "" {
			t.Fatalf("docs/linux.md: the known difference %q is not program, places, line, reason", row)
		}
		for _, p := range strings.Split(row[1], ", ") {
			r := run{row[0], p}
			if known[r] == nil {
				known[r] = map[string]bool{}
			}
			known[r][strings.ReplaceAll(row[2], "¦", "|")] = true
		}
	}
	return known
}
