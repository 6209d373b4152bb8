package cc

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kiln/image/buildnote"
)

func TestNoteObject(t *testing.T) {
	want := buildnote.Build{Tuple: Tuple, Compiler: "gcc 1", Libc: "glibc 2", Link: Static, Flags: "-O"}
	f, err := elf.NewFile(bytes.NewReader(noteObject(&want)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_REL || f.Machine != elf.EM_X86_64 || f.Section(".note.GNU-stack") == nil {
		t.Errorf("the object is %s for %s with sections %v", f.Type, f.Machine, f.Sections)
	}
	notes, err := f.Section(buildnote.Section).Data()
	if err != nil {
		t.Fatal(err)
	}
	if got := buildnote.Find(notes); got == nil || *got != want {
		t.Errorf("the object's note = %+v, want %+v", got, want)
	}
}

// TestLinks compiles with the real compiler and looks at how things were
// linked, and that what was linked works on this machine.
func TestLinks(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"hello.c": "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n",
		"names.c": "#include <netdb.h>\nint main(void) { struct addrinfo *a; return getaddrinfo(\"127.0.0.1\", 0, 0, &a); }\n",
		"f.c":     "int f(void) { return 0; }\n",
		"uses.c":  "int f(void); int main(void) { return f(); }\n",
		"bad.c":   "int main(void) { return no_such_variable; }\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compile := func(args, input string) (int, string) {
		t.Helper()
		inv, err := Translate("gcc", strings.Fields(args), Settings{Sysroot: filepath.Join(dir, "root")})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code, err := inv.Run(os.Environ(), Stdio{In: strings.NewReader(input), Out: &out, Err: &out})
		if err != nil {
			t.Fatalf("gcc %s: %v", args, err)
		}
		return code, out.String()
	}
	if err := os.MkdirAll("root/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, input, link string }{
		{"-O2 hello.c", "", StaticPIE},
		{"-static hello.c", "", Static},
		{"-static-pie hello.c", "", StaticPIE},
		{"-dynamic hello.c", "", Dynamic},
		{"-rdynamic hello.c", "", Dynamic},
		{"-no-pie hello.c", "", Dynamic},
		{"-flto -Wl,--gc-sections -s hello.c", "", StaticPIE},
		{"names.c", "", Dynamic}, // glibc's resolver loads libraries
		{"-Wl,--fatal-warnings names.c", "", Dynamic},
		{"-x c -", "int main(void) { return 0; }", StaticPIE},
		{"-x c - -rdynamic", "int main(void) { return 0; }", Dynamic},
		{"-x c -", "#include <netdb.h>\nint main(void) { return !getservbyname(\"\", \"\") - 1; }", Dynamic},
		{"-shared -fPIC -o root/lib/libf.so f.c", "", Shared},
		{"uses.c -lf", "", Dynamic}, // there is no libf.a
		{"-c -o f.o f.c", "", ""},
		{"uses.c f.o", "", StaticPIE},
	} {
		os.Remove("a.out")
		code, messages := compile(tt.args, tt.input)
		if code != 0 || messages != "" {
			t.Errorf("gcc %s: status %d, %s", tt.args, code, messages)
			continue
		}
		if tt.link == "" {
			continue
		}
		file := "a.out"
		if tt.link == Shared {
			file = "root/lib/libf.so"
		}
		f, err := elf.Open(file)
		if err != nil {
			t.Errorf("gcc %s: %v", tt.args, err)
			continue
		}
		if b := buildnote.Read(f); b == nil || b.Link != tt.link || !strings.HasPrefix(b.Compiler, "gcc ") || b.Libc == "" {
			t.Errorf("gcc %s: note %+v, want link %s", tt.args, b, tt.link)
		}
		hasLoader := false
		for _, p := range f.Progs {
			hasLoader = hasLoader || p.Type == elf.PT_INTERP
		}
		if hasLoader != (tt.link == Dynamic) {
			t.Errorf("gcc %s: has a loader: %v, as %s", tt.args, hasLoader, tt.link)
		}
		f.Close()
		if tt.link != Shared {
			if out, err := exec.Command("./a.out").CombinedOutput(); err != nil {
				t.Errorf("gcc %s: the program: %v, %s", tt.args, err, out)
			}
		}
	}
	// What cannot be linked fails once, and says so once.
	for args, word := range map[string]string{"uses.c": "undefined reference to `f'", "hello.c -lnone": "cannot find -lnone", "bad.c": "no_such_variable"} {
		if code, messages := compile(args, ""); code != 1 || strings.Count(messages, word) < 1 || strings.Count(messages, "collect2") > 1 || strings.Count(messages, "error:") > 1 {
			t.Errorf("gcc %s: status %d, %s", args, code, messages)
		}
	}
}

// TestNoteIsReproducible links twice, in two places.
func TestNoteIsReproducible(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	var programs [2][]byte
	for i := range programs {
		t.Chdir(t.TempDir())
		inv, err := Translate("gcc", strings.Fields("-g0 -x c -"), Settings{})
		if err != nil {
			t.Fatal(err)
		}
		in := strings.NewReader("int main(void) { return 0; }\n")
		if code, err := inv.Run(os.Environ(), Stdio{In: in, Out: os.Stdout, Err: os.Stderr}); code != 0 || err != nil {
			t.Fatalf("gcc: status %d, %v", code, err)
		}
		if programs[i], err = os.ReadFile("a.out"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Error("the same source gave two different programs")
	}
}

// TestLinkAgain: a program that takes a second way of linking leaves a standard
// input alone that is not its own. make gives jobs that run side by side a
// pipe.
func TestLinkAgain(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	t.Chdir(t.TempDir())
	const names = "#include <netdb.h>\nint main(void) { struct addrinfo *a; return getaddrinfo(\"127.0.0.1\", 0, 0, &a); }\n"
	if err := os.WriteFile("m.c", []byte(names), 0o644); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	inv, err := Translate("gcc", strings.Fields("-o m m.c"), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code, err := inv.Run(os.Environ(), Stdio{In: r, Out: &out, Err: &out}); code != 0 || err != nil {
		t.Fatalf("linking: status %d, %v\n%s", code, err, &out)
	}
	if out, err := exec.Command("./m").CombinedOutput(); err != nil {
		t.Errorf("the program: %v\n%s", err, out)
	}
}
