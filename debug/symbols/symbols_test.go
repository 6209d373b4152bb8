package symbols

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const source = `
int zeroed;
int set = 3;
const int fixed = 4;
static int hidden = 5;
static int __attribute__((noinline)) local(int n) { return n + hidden++; }
int __attribute__((noinline)) shown(int n) { return local(n) + fixed + set; }
int main(void) { return zeroed + shown(1); }
`

// compiled returns the program that gcc makes of source with flags.
func compiled(t testing.TB, flags ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	dir := t.TempDir()
	run(t, dir, "sh", "-c", "cat > p.c <<'END'\n"+source+"END")
	run(t, dir, "gcc", append([]string{"-g", "-O1", "-o", "p", "p.c"}, flags...)...)
	return filepath.Join(dir, "p")
}

func run(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// load returns what programs says of the file at path, as /bin/p of an image.
func load(t testing.TB, path, debug string) *Object {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := programs(fstest.MapFS{
		"bin/p":     {Data: b},
		"bin/text":  {Data: []byte("#!/bin/sh\n")},
		"bin/torn":  {Data: b[:len(b)/2]},
		"bin/tiny":  {Data: b[:3]},
		"bin/empty": {},
	}, debug)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.Name == "/bin/p" {
			return o
		}
	}
	return &Object{}
}

func (o *Object) find(name string) Symbol {
	for _, s := range o.Symbols {
		if s.Name == name {
			return s
		}
	}
	return Symbol{}
}

// TestPrograms compares with nm.
func TestPrograms(t *testing.T) {
	for _, flags := range [][]string{{"-pie", "-fPIE"}, {"-no-pie"}, {"-static", "-no-pie"}} {
		path := compiled(t, flags...)
		o := load(t, path, "")
		if want := flags[0] == "-pie"; o.Movable != want {
			t.Errorf("%v: Movable = %v, want %v", flags, o.Movable, want)
		}
		out, err := exec.Command("nm", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"zeroed", "set", "fixed", "hidden", "local", "shown", "main"} {
			s := o.find(name)
			line := ""
			for _, l := range strings.Split(string(out), "\n") {
				if strings.HasSuffix(l, " "+name) {
					line = l
				}
			}
			f := strings.Fields(line)
			if len(f) != 3 || f[1] != s.Kind || strings.TrimLeft(f[0], "0") != strconv.FormatUint(s.Address, 16) {
				t.Errorf("%v: %s = %+v, nm says %q", flags, name, s, line)
			}
		}
	}
}

func TestAt(t *testing.T) {
	o := load(t, compiled(t, "-pie", "-fPIE"), "")
	shown := o.find("shown")
	if shown.Size < 4 {
		t.Fatalf("shown = %+v", shown)
	}
	for _, off := range []uint64{0, 1, shown.Size - 1} {
		got := o.At(shown.Address + off)
		if len(got) != 1 || got[0] != shown {
			t.Errorf("At(shown+%d) = %+v, want %+v", off, got, shown)
		}
	}
	if line := o.Line(shown.Address); !strings.HasSuffix(line, "p.c:7") {
		t.Errorf("line of shown = %q, want p.c:7", line)
	}
	for _, addr := range []uint64{0, 1 << 40, 1<<64 - 1} {
		if got := o.At(addr); len(got) != 0 {
			t.Errorf("At(%#x) = %+v, want nothing", addr, got)
		}
		if line := o.Line(addr); line != "" {
			t.Errorf("line of %#x = %q, want none", addr, line)
		}
	}
}

// TestDebugFiles strips a program and keeps its symbols as Debian's packages do.
func TestDebugFiles(t *testing.T) {
	path := compiled(t, "-pie", "-fPIE", "-Wl,--build-id=0x1234567890abcdef")
	dir := filepath.Dir(path)
	want := load(t, path, "").find("shown")
	run(t, dir, "objcopy", "--only-keep-debug", "p", "kept")
	run(t, dir, "strip", "p")
	if s := load(t, path, dir).find("shown"); s.Name != "" {
		t.Fatalf("a stripped program has %+v", s)
	}

	ids := t.TempDir()
	run(t, dir, "mkdir", "-p", ids+"/.build-id/12")
	run(t, dir, "cp", "kept", ids+"/.build-id/12/34567890abcdef.debug")
	o := load(t, path, ids)
	if got := o.find("shown"); got != want {
		t.Errorf("by build ID: shown = %+v, want %+v", got, want)
	}
	if line := o.Line(want.Address); !strings.HasSuffix(line, "p.c:7") {
		t.Errorf("by build ID: line of shown = %q", line)
	}

	links := t.TempDir()
	run(t, dir, "mkdir", "-p", links+"/bin")
	run(t, dir, "cp", "kept", links+"/bin/p.debug")
	run(t, links+"/bin", "objcopy", "--add-gnu-debuglink=p.debug", path)
	if got := load(t, path, links).find("shown"); got != want {
		t.Errorf("by debug link: shown = %+v, want %+v", got, want)
	}
	// Another file of that name is not its.
	run(t, links+"/bin", "sh", "-c", "echo >> p.debug")
	if got := load(t, path, links).find("shown"); got.Name != "" {
		t.Errorf("by the debug link of another file: shown = %+v", got)
	}
}

// FuzzProgram bends a program: it may have no symbols, but nothing may panic.
func FuzzProgram(f *testing.F) {
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		f.Skip(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := program("/bin/p", b, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if o != nil {
			o.At(o.Symbols[0].Address)
			o.Line(o.Symbols[0].Address)
		}
		if e, err := elf.NewFile(bytes.NewReader(b)); err == nil {
			buildID(e)
			debugLink(e)
		}
	})
}
