package tracing

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/log"

	"kiln/image"
)

// lines is a log that keeps its lines.
type lines []string

func (l *lines) Emit(_ int, _ log.Level, _ time.Time, format string, _ ...any) {
	*l = append(*l, format)
}

func emit(t *Tracer, level log.Level, format string, v ...any) {
	t.Emit(0, level, time.Time{}, format, v...)
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		format string
		v      []any
		want   string
	}{
		{"[   1:   1] %s X %s(%s, %s, %s) = %s", []any{"sh", "write", `0x1 pipe:[3]`, `0x7f00deadbeef "hello\n"`, "0x6", "6 (0x6) (21.5µs)"},
			`[pid     1] write(1<pipe:[3]>, "hello\n", 6) = 6 <0.000022>`},
		{"[   2:  17] %s X %s(%s, %s, %s, %s) = %s", []any{"sh", "openat", "AT_FDCWD /tmp", "0x7f00deadbeef etc/none", "O_RDONLY|O_CLOEXEC", "0o0", "-1 errno=2 (no such file or directory) (1.2ms)"},
			`[pid    17] openat(AT_FDCWD</tmp>, "etc/none", O_RDONLY|O_CLOEXEC, 0o0) = -1 ENOENT (no such file or directory) <0.001200>`},
		{"[   1:   1] %s X %s(%s, %s, %s, %s, %s, %s) = %s", []any{"sh", "mmap", "0x0", "0x2000", "PROT_READ", "MAP_PRIVATE", "0xffffffffffffffff (bad FD)", "0x0", "140101010101010 (0x7f6c12345678) (3µs)"},
			`[pid     1] mmap(0, 8192, PROT_READ, MAP_PRIVATE, -1, 0) = 0x7f6bcef09312 <0.000003>`},
		{"[   1:   1] %s X %s(%s) = %s", []any{"sh", "exit_group", "0x3", "0 (0x0) (2µs)"}, `[pid     1] exit_group(3) = ? <0.000002>`},
		{"[   1:   1] %s X %s(%s, %s, %s, %s) = %s", []any{"sh", "newfstatat", "0x3 /lib/libc.so.6", "0x7f00deadbeef ", "0x7f00deadbe00 {dev=1}", "AT_EMPTY_PATH", "0 (0x0) (1µs)"},
			`[pid     1] newfstatat(3</lib/libc.so.6>, "", {dev=1}, AT_EMPTY_PATH) = 0 <0.000001>`},
		{"[   1:   1] %s X %s() = %s", []any{"sh", "getpid", "1 (0x1) (800ns)"}, `[pid     1] getpid() = 1 <0.000001>`},
		{"[   1:   1] %s X %s(%s) = %s", []any{"sh", "pause", "0x0", "-1 errno=514 (to be restarted if no handler) (1s)"}, `[pid     1] pause(0) = ? ERRNO_514 <1.000000>`},
		{"[   1:   1] %s X %s(%s, %s, %s) = %s", []any{"a b", "execve", "0x7f00deadbeef /bin/ls", `0x7ffe00000000 ["ls", "-l"]`, `0x7ffe00000010 ["A=b"]`, "0 (0x0) (2ms)"},
			`[pid     1] execve("/bin/ls", ["ls", "-l"], ["A=b"]) = 0 <0.002000>`},
	} {
		var out strings.Builder
		emit(New(image.StraceCalls, &out, new(lines), log.Warning), log.Info, tt.format, tt.v...)
		if got := strings.TrimSuffix(out.String(), "\n"); got != tt.want {
			t.Errorf("%v\n got %s\nwant %s", tt.v, got, tt.want)
		}
	}
}

// TestRest looks at what is no call.
func TestRest(t *testing.T) {
	var out strings.Builder
	var rest lines
	tr := New(image.StraceCalls, &out, &rest, log.Warning)
	emit(tr, log.Info, "[   1:   1] %s E %s(%s)", "sh", "exit", "0x0")
	emit(tr, log.Info, "of no interest")
	emit(tr, log.Warning, "a warning %d", 3)
	emit(tr, log.Warning, exitMark+"cut short", "sh", "x")
	if want := (lines{"a warning %d", exitMark + "cut short"}); out.String() != "" || !reflect.DeepEqual(rest, want) {
		t.Errorf("out %q, rest %q, want nothing and %q", out.String(), rest, want)
	}
}

// TestWritten looks at what the Sentry shows at the entry only.
func TestWritten(t *testing.T) {
	var out strings.Builder
	tr := New(image.StraceCalls, &out, new(lines), log.Warning)
	emit(tr, log.Info, "[   1:   1] %s E %s(%s, %s, %s)", "sh", "write", "0x1 /stdout", `0x7f00deadbeef "hello"`, "0x5")
	emit(tr, log.Info, "[   1:   2] %s E %s(%s, %s, %s)", "sh", "write", "0x2 /stderr", `0x7f00deadbeef "other"`, "0x5")
	emit(tr, log.Info, "[   1:   1] %s X %s(%s, %s, %s) = %s", "sh", "write", "0x1 /stdout", "...", "0x5", "5 (0x5) (1µs)")
	if want := "[pid     1] write(1</stdout>, \"hello\", 5) = 5 <0.000001>\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestCounts(t *testing.T) {
	var out strings.Builder
	tr := New(image.StraceCount, &out, new(lines), log.Warning)
	for range 3 {
		emit(tr, log.Info, "[   1:   1] %s X %s(%s) = %s", "sh", "read", "0x0", "0 (0x0) (2ms)")
	}
	emit(tr, log.Info, "[   1:   1] %s X %s(%s) = %s", "sh", "close", "0x63", "-1 errno=9 (bad file number) (2ms)")
	if out.String() != "" {
		t.Errorf("before the end it printed %q", out.String())
	}
	tr.Summary()
	want := `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 75.00    0.006000        2000         3           read
 25.00    0.002000        2000         1         1 close
------ ----------- ----------- --------- --------- ----------------
100.00    0.008000        2000         4         1 total
`
	if out.String() != want {
		t.Errorf("Summary:\n%s\nwant:\n%s", out.String(), want)
	}
	if empty := table(nil); !strings.Contains(empty, "  0.00    0.000000           0         0           total\n") {
		t.Errorf("of no calls:\n%s", empty)
	}
}

// FuzzLine bends what a program has a say in: paths, strings, names.
func FuzzLine(f *testing.F) {
	for _, w := range []string{"", " ", "0x", "0x3 ", "0x3 (", "AT_FDCWD", "AT_FDCWD ", "-1 errno=", "-1 errno=2 (", "(", "1 (0x1) (1s)"} {
		f.Add("[   1:   1] ", w, w)
	}
	f.Fuzz(func(t *testing.T, prefix, arg, result string) {
		c, _, ok := parse(prefix+exitMark+"%s) = %s", []any{"sh", "read", arg, result})
		if ok && c.String() == "" {
			t.Error("an empty line")
		}
	})
}
