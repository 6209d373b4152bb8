package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kiln/run/qemu"
)

// call runs kiln with args in this process.
func call(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(append([]string{"kiln"}, args...), os.Environ(), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// program compiles source, or skips the test where there is no compiler.
func program(t *testing.T, name, source string, flags ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	src, out := name+".c", name
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command("gcc", append([]string{"-o", out, src}, flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("gcc %s: %v\n%s", src, err, msg)
	}
	return out
}

// helloImage bakes a program in the current folder, or skips the test in a
// tree where build.sh has not made the kernel's components.
func helloImage(t *testing.T) string {
	t.Helper()
	if _, err := fs.Stat(os.DirFS(sourceRoot), "bake/components/kernel-hw_generic.zst"); err != nil {
		t.Skipf("no image can be baked before build.sh has run: %v", err)
	}
	hello := program(t, "hello", `int main(void) { return 0; }`)
	if code, _, stderr := call("bake", "-o", "hello.img", hello); code != 0 {
		t.Fatalf("kiln bake: status %d: %s", code, stderr)
	}
	return "hello.img"
}

// sourceRoot is the module's folder.
var sourceRoot = func() string {
	root, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return root
}()

// mustFail checks that kiln refuses args with status 2, one line for the
// cause, which has the words, and at most one for the hint.
func mustFail(t *testing.T, args []string, words ...string) {
	t.Helper()
	code, stdout, stderr := call(args...)
	if code != 2 {
		t.Errorf("kiln %q: status %d, want 2", args, code)
	}
	if stdout != "" {
		t.Errorf("kiln %q wrote to standard output: %.200q", args, stdout)
	}
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if len(lines) > 2 || !strings.HasPrefix(lines[0], "kiln") || !strings.Contains(lines[0], ": error: ") {
		t.Errorf("kiln %q said %.300q, want a line with the cause and perhaps a hint", args, stderr)
	}
	if len(lines) == 2 && !strings.Contains(lines[1], ": hint: ") {
		t.Errorf("kiln %q said %.300q, want its second line to be a hint", args, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			t.Errorf("kiln %q said %.300q, want %q in it", args, stderr, w)
		}
	}
}

func TestBadUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ args, words string }{
		{"nonsense", "nonsense"},
		{"help nonsense", "nonsense"},
		{"run", "IMAGE"},
		{"run kvm", "IMAGE"},
		{"run --no-such-flag x.img", "--no-such-flag"},
		{"run -Z x.img", "-Z"},
		{"run kvm --no-such-flag x.img", "--no-such-flag"},
		{"run kvm --accel qemu x.img", "contradict"},
		{"run -M lots x.img", "lots"},
		{"run missing.img", "missing.img"},
		{"bake", "PROGRAM"},
		{"bake --no-such-flag x", "--no-such-flag"},
		{"bake missing", "missing"},
		{"bake -p http missing", "http"},
		{"bake -W if,inet missing", "if,inet"},
		{"bake -e A missing", "KEY=VALUE"},
		{"bake --kernel missing more", "kernel program"},
		{"bake --config sel4 missing", "sel4"},
		{"bake --root no-such-folder /bin/sh", "no-such-folder"},
		{"bake --owner /x=root /bin/sh", "/x=root UID"},
		{"bake --owner x=1 /bin/sh", "x=1"},
		{"bake --user me /bin/sh", "me UID"},
		{"volume", "create"},
		{"volume mount x", "mount"},
		{"volume create x", "size"},
		{"volume create x --size lots", "lots"},
		{"volume create a/b --size 1G", "a/b"},
		{"volume create x --size 1G --fs fat", "fat ext4"},
		{"volume ls --size 1G", "--size"},
		{"volume rm no-such-volume", "no-such-volume"},
		{"volume ls no-such-volume:/", "no-such-volume"},
		{"volume ls data", "NAME:/PATH"},
		{"volume ls data:x", "data:x slash"},
		{"volume ls a:/ b:/", "2"},
		{"volume ls ./no-such-file:/", "no-such-file"},
		{"volume ls ../..:/", "neither"},
		{"volume cat", "NAME:/PATH"},
		{"volume cat --json data:/x", "--json"},
		{"volume cp data:/x", "NAME:/PATH"},
		{"volume cp x data:/x", "into"},
		{"inspect", "IMAGE"},
		{"inspect missing.img", "missing.img"},
		{"env x", "env"},
		{"version x", "version"},
		{"package", "ls"},
		{"package build", "named"},
		{"package frobnicate lua", "frobnicate"},
		{"package build no-such-package", "no-such-package ls"},
		{"package check ./no-such-folder", "no-such-folder"},
		{"package build --no-such-flag lua", "no-such-flag"},
		{"cc --libc=newlib x.c", "newlib"},
		{"cc --link=magic x.c", "magic static-pie"},
	} {
		mustFail(t, strings.Fields(tt.args), strings.Fields(tt.words)...)
	}
	if code, _, stderr := call(); code != 2 || !strings.Contains(stderr, "Usage") {
		t.Errorf("kiln alone: status %d, %q, want 2 and the overview", code, stderr)
	}
}

// TestBadPrograms gives bake and run what is no program for Kiln.
func TestBadPrograms(t *testing.T) {
	t.Chdir(t.TempDir())
	hello := program(t, "hello", `int main(void) { return 0; }`)
	elf, err := os.ReadFile(hello)
	if err != nil {
		t.Fatal(err)
	}
	arm := bytes.Clone(elf)
	arm[18] = 0xb7 // e_machine: AArch64
	program(t, "libgone.so", `int f(void) { return 1; }`, "-shared", "-fPIC")
	program(t, "needs", `int f(void); int main(void) { return f(); }`, "-L.", "-l:libgone.so")
	if err := os.Remove("libgone.so"); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"text": []byte("This is no program.\n"), "empty": nil, "arm": arm, "short": elf[:100],
	} {
		if err := os.WriteFile(name, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, words := range map[string][]string{
		"text":  {"text", "ELF"},
		"empty": {"empty"},
		"arm":   {"arm"},
		"short": {"short"},
		"needs": {"libgone.so"},
		".":     {"."},
	} {
		mustFail(t, []string{"bake", "-o", "out.img", name}, words...)
		mustFail(t, []string{"run", name}, words...)
	}
	mustFail(t, []string{"bake", "-o", "none/out.img", hello}, "none")
	mustFail(t, []string{"bake", "-o", ".", hello}, ".")
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), ".img") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestBadImages gives run and inspect images that are not sound.
func TestBadImages(t *testing.T) {
	t.Chdir(t.TempDir())
	b, err := os.ReadFile(helloImage(t))
	if err != nil {
		t.Fatal(err)
	}
	bent := func(off int) []byte {
		c := bytes.Clone(b)
		c[off] ^= 0x40
		return c
	}
	for name, content := range map[string][]byte{
		"cut in the kernel":    b[:3_000_000],
		"cut at the end":       b[:len(b)-1],
		"bent boot header":     bent(0x1000 + 0x400 + 8),
		"bent load address":    bent(64 + 25),
		"bent in the kernel":   bent(5_000_000),
		"bent file list":       bent(len(b) - 9000),
		"bent section headers": bent(len(b) - 200),
	} {
		if err := os.WriteFile("bad.img", content, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			mustFail(t, []string{"run", "bad.img"}, "bad.img")
			mustFail(t, []string{"inspect", "bad.img"}, "bad.img")
		})
	}
}

// TestBadHost asks for what this machine does not have.
func TestBadHost(t *testing.T) {
	t.Chdir(t.TempDir())
	img := helloImage(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	mustFail(t, []string{"run", "-p", port + ":80", img}, port, "in use", "-p")
	mustFail(t, []string{"run", "-M", "8", img}, "8 MB", "-M")
	mustFail(t, []string{"run", "-I", "if,vioif,-net tap,script=no,ifname=kilnnone7", "-W", "if,inet,dhcp", img}, "kilnnone7")
	t.Setenv("PATH", t.TempDir())
	mustFail(t, []string{"run", img}, qemu.Binary, qemu.Package)
	mustFail(t, []string{"cc", "x.c"}, "gcc", "package")
}

func TestHelp(t *testing.T) {
	for _, c := range commands() {
		for _, args := range [][]string{{"help", c.name}, {c.name, "--help"}} {
			if c.raw != nil && args[0] == c.name {
				continue // the compiler's own
			}
			code, stdout, stderr := call(args...)
			if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "Usage: kiln "+c.name) {
				t.Errorf("kiln %q: status %d, %q, %q", args, code, stdout, stderr)
			}
		}
	}
	code, stdout, _ := call("help")
	for _, c := range commands() {
		if code != 0 || !strings.Contains(stdout, "  "+c.name+" ") {
			t.Errorf("kiln help: status %d, and %s is not in it:\n%s", code, c.name, stdout)
		}
	}
}

func TestInspect(t *testing.T) {
	t.Chdir(t.TempDir())
	img := helloImage(t)
	code, stdout, stderr := call("inspect", img)
	if code != 0 || stderr != "" {
		t.Fatalf("kiln inspect: status %d, %s", code, stderr)
	}
	for _, want := range []string{"program", "hw_generic", "ADDRESS", "0x100000", "FILE", "ld-linux-x86-64.so.2"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("kiln inspect has no %q:\n%s", want, stdout)
		}
	}
	code, stdout, stderr = call("inspect", "--json", img)
	var doc struct {
		Manifest struct{ Config string }
		Segments []struct{ Address, Size uint64 }
		Files    []struct{ Path string }
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != 0 || stderr != "" {
		t.Fatalf("kiln inspect --json: status %d, %s, %v", code, stderr, err)
	}
	if doc.Manifest.Config != "hw_generic" || len(doc.Segments) < 4 || doc.Segments[0].Address != 0x100000 || len(doc.Files) < 2 {
		t.Errorf("kiln inspect --json: %+v", doc)
	}
}

// TestInspectSymbols finds the kernel's entries, by name and by address.
func TestInspectSymbols(t *testing.T) {
	t.Chdir(t.TempDir())
	img := helloImage(t)
	code, stdout, stderr := call("inspect", "--symbols", img, "^(_kiln_start|_rt0_amd64_linux)$")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || stderr != "" || len(lines) != 3 || !strings.HasPrefix(lines[1], "0xffffffff801") {
		t.Fatalf("kiln inspect --symbols: status %d, %s, %q, want a heading and two entries", code, stderr, lines)
	}
	type symbol struct {
		Program, Name           string
		Virtual, Physical, Size uint64
	}
	list := func(args ...string) (out []symbol) {
		code, stdout, stderr := call(append([]string{"inspect", "--symbols", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(stdout), &out); err != nil || code != 0 || stderr != "" {
			t.Fatalf("kiln inspect --symbols --json %q: status %d, %s, %v", args, code, stderr, err)
		}
		return out
	}
	all := list(img)
	programs := map[string]int{}
	for _, s := range all {
		programs[s.Program]++
	}
	if programs["metal"] < 500 || programs["kernel"] < 10000 || len(programs) != 2 {
		t.Errorf("functions of each program: %v", programs)
	}
	_, stdout, _ = call("inspect", "--json", img)
	var doc struct{ KernelEntry uint64 }
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatal(err)
	}
	at := list(img, fmt.Sprintf("%#x", doc.KernelEntry+1))
	if len(at) != 1 || at[0].Program != "kernel" || at[0].Name != "_rt0_amd64_linux" || at[0].Virtual != doc.KernelEntry {
		t.Fatalf("at the kernel's entry, %#x: %+v", doc.KernelEntry, at)
	}
	if same := list(img, fmt.Sprintf("%#x", at[0].Physical)); len(same) != 1 || same[0] != at[0] {
		t.Errorf("at the entry's physical address: %+v, want %+v", same, at)
	}
	mustFail(t, []string{"inspect", "--symbols"}, "IMAGE")
	mustFail(t, []string{"inspect", "--symbols", img, "a", "b"}, "IMAGE")
	mustFail(t, []string{"inspect", "--symbols", "missing.img"}, "missing.img")
	mustFail(t, []string{"inspect", "--symbols", "hello"}, "hello is not an image", "nm")
	mustFail(t, []string{"inspect", "--symbols", img, "("}, `"("`, "regular expression")
	mustFail(t, []string{"inspect", "--symbols", img, "0xnumber"}, "0xnumber")
	mustFail(t, []string{"inspect", "--symbols", img, "bmk_pgalloc"}, "none of", "bmk_pgalloc")
}

// TestInspectProgram looks at programs that our compiler and another linked,
// alone and in an image, and at what is no program.
func TestInspectProgram(t *testing.T) {
	t.Chdir(t.TempDir())
	program(t, "theirs", `int main(void) { return 0; }`)
	if code, _, stderr := call("cc", "-O1", "-o", "ours", "theirs.c"); code != 0 {
		t.Fatalf("kiln cc: status %d, %s", code, stderr)
	}
	for name, words := range map[string][]string{
		"ours":   {"static-pie", "x86_64-kiln-linux", "gcc ", "glibc ", "-O1"},
		"theirs": {"not by Kiln's compiler", "libc.so.6", "ld-linux"},
	} {
		code, stdout, stderr := call("inspect", name)
		for _, w := range words {
			if code != 0 || stderr != "" || !strings.Contains(stdout, w) {
				t.Errorf("kiln inspect %s: status %d, %s, no %q in %s", name, code, stderr, w, stdout)
			}
		}
	}
	var doc struct{ Build struct{ Link string } }
	if code, stdout, _ := call("inspect", "--json", "ours"); code != 0 || json.Unmarshal([]byte(stdout), &doc) != nil || doc.Build.Link != "static-pie" {
		t.Errorf("kiln inspect --json: status %d, %s", code, stdout)
	}
	if err := os.WriteFile("text", []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("ours")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("short", ours[:200], 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"text", "short", "."} {
		mustFail(t, []string{"inspect", name}, name)
	}
	helloImage(t) // or skip what follows
	if code, _, stderr := call("bake", "-o", "ours.img", "ours"); code != 0 {
		t.Fatalf("kiln bake: status %d, %s", code, stderr)
	}
	if code, stdout, _ := call("inspect", "ours.img"); code != 0 || !strings.Contains(stdout, "built ") || !strings.Contains(stdout, "static-pie, -O1") {
		t.Errorf("kiln inspect ours.img: status %d, no note in %.500s", code, stdout)
	}
}

// TestEnvironment evaluates what kiln env prints, in a home of its own.
func TestEnvironment(t *testing.T) {
	home := t.TempDir()
	a := &app{env: []string{"HOME=" + home}}
	files, sysroot, err := a.toolchainFiles()
	if err != nil || !strings.HasPrefix(files.Meson, home) || !strings.HasPrefix(sysroot, home) {
		t.Fatalf("toolchainFiles = %+v, %q, %v", files, sysroot, err)
	}
	if _, err := os.Stat(filepath.Join(sysroot, "lib/pkgconfig")); err != nil {
		t.Error(err)
	}
	t.Setenv("KILN_SYSROOT", "relative")
	mustFail(t, []string{"cc", "x.c"}, "KILN_SYSROOT", "absolute")
}

// TestPackages uses packages that were never built, and a recipe that is wrong.
func TestPackages(t *testing.T) {
	t.Chdir(t.TempDir())
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_DATA_HOME", home)
	code, stdout, _ := call("package", "ls", "lua")
	if code != 0 || !strings.HasPrefix(stdout, "lua  -") {
		t.Errorf("kiln package ls: status %d, %s", code, stdout)
	}
	code, stdout, _ = call("package", "ls", "--needs", "leveldb")
	if code != 0 || !strings.Contains(stdout, "cmake") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("kiln package ls --needs: status %d, %s", code, stdout)
	}
	mustFail(t, []string{"package", "check", "lua"}, "lua", "not built", "kiln package build lua")
	mustFail(t, []string{"run", "lua"}, "lua", "not built", "kiln package build lua")
	mustFail(t, []string{"inspect", "lua"}, "lua", "not built")
	if err := os.Mkdir("mine", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("mine/recipe.toml", []byte("about = \"mine\"\n[image]\nprogam = \"/x\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustFail(t, []string{"package", "build", "./mine"}, "mine", "image.progam")
}

// TestCompile compiles and runs on this host: the wrapper adds to the
// compiler, it does not replace it.
func TestCompile(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("x.c", []byte("int main(void) { return 40 + 2 * __KILN__; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := call("cc", "-o", "x", "x.c"); code != 0 {
		t.Fatalf("kiln cc: status %d, %s", code, stderr)
	}
	cmd := exec.Command("./x")
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("the program: %v, want exit status 42", err)
	}
	if code, _, stderr := call("cc", "missing.c"); code != 1 || !strings.Contains(stderr, "missing.c") {
		t.Errorf("kiln cc missing.c: status %d, %q, want the compiler's own", code, stderr)
	}
	var out, errs bytes.Buffer
	code := Main([]string{"/any/where/x86_64-kiln-linux-gcc", "-dumpmachine"}, nil, nil, &out, &errs)
	if code != 0 || out.String() != "x86_64-kiln-linux\n" || errs.Len() > 0 {
		t.Errorf("x86_64-kiln-linux-gcc -dumpmachine: status %d, %q, %q", code, &out, &errs)
	}
}

func TestLinkTools(t *testing.T) {
	dir := t.TempDir()
	gcc := filepath.Join(dir, "x86_64-kiln-linux-gcc")
	if err := os.Symlink("old-kiln", gcc); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := linkTools(dir, "kiln"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"x86_64-kiln-linux-gcc", "x86_64-kiln-linux-ar"} {
		if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != "kiln" {
			t.Errorf("%s leads to %q, %v, want kiln", name, got, err)
		}
	}
	if err := os.Remove(gcc); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gcc, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := linkTools(dir, "kiln"); err == nil {
		t.Error("linkTools replaced a file that is no link")
	}
}

func TestMegabytes(t *testing.T) {
	for in, want := range map[string]int{"64": 64, "64M": 64, "2G": 2048, "2g": 2048, "1": 1} {
		var m megabytes
		if err := m.Set(in); err != nil || int(m) != want {
			t.Errorf("Set(%q) = %d, %v, want %d", in, m, err, want)
		}
	}
	for _, in := range []string{"", "0", "-1", "M", "1.5G", "64MB", "99999999999"} {
		var m megabytes
		if err := m.Set(in); err == nil {
			t.Errorf("Set(%q) = %d, want an error", in, m)
		}
	}
}

// TestRunArguments checks what becomes of a command line of kiln run, through
// a script in QEMU's place that shows its run configuration.
func TestRunArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	img := helloImage(t)
	// The configuration, shorter than 256 bytes, comes as a frame of standard
	// output.
	script := "#!/bin/sh\nc=$(cat /proc/self/fd/4)\n" + `printf "\\2\\0\\2\\0\\$(printf %03o ${#c})\\0\\0\\0%s" "$c" >&3` + "\nexit 19\n"
	if err := os.WriteFile(qemu.Binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	for _, tt := range []struct{ args, want string }{
		{"run qemu --net none hello.img", `{}`},
		{"run --net none --accel qemu hello.img -- a --b", `{"args":["a","--b"]}`},
		{"run --net none qemu -e A=1 -i hello.img a -i --", `{"args":["a","-i","--"],"env":["A=1"],"stdin":true}`},
		{"run qemu --net none --cwd /tmp --hostname h --processes 7 --verbose-kernel hello.img",
			`{"cwd":"/tmp","hostname":"h","verbose":true,"processes":7}`},
	} {
		args := strings.Fields(strings.ReplaceAll(tt.args, "hello.img", img))
		code, stdout, stderr := call(args...)
		if code != 9 || stdout != tt.want || stderr != "" {
			t.Errorf("kiln %s: status %d, %s, %s, want 9, %s", tt.args, code, stdout, stderr, tt.want)
		}
	}
	// A plain program is baked first, and nothing stays behind.
	t.Setenv("TMPDIR", t.TempDir())
	if code, stdout, stderr := call("run", "qemu", "--net", "none", "hello"); code != 9 || stdout != "{}" {
		t.Errorf("kiln run hello: status %d, %s, %s", code, stdout, stderr)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind in TMPDIR: %v, %v", left, err)
	}
}
