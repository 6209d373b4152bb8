package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// callAs runs kiln by another of its names.
func callAs(name string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(append([]string{"/usr/bin/" + name}, args...), os.Environ(), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestRumprunBadUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("text", []byte("no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A 32-bit object, by its ELF header.
	object := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 93)...)
	if err := os.WriteFile("object32", object, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ line, words string }{
		{"rumprun-bake hw_generic out object32", "32-bit"},
		{"rumprun-bake hw_generic out text object32", "text"},
		{"rumprun-bake", "CONFIG"},
		{"rumprun-bake hw_generic", "3"},
		{"rumprun-bake hw_generic out", "3"},
		{"rumprun-bake sel4 out missing", "sel4"},
		{"rumprun-bake xen_pv out missing", "xen_pv"},
		{"rumprun-bake describe sel4", "sel4"},
		{"rumprun-bake list x", "list"},
		{"rumprun-bake -c conf hw_generic out in", "-c"},
		{"rumprun-bake hw_generic out missing", "missing"},
		{"rumprun-bake hw_generic out text", "text"},
		{"rumprun", "platform"},
		{"rumprun xen -i text", "Xen"},
		{"rumprun qemu -i missing", "missing"},
		{"rumprun qemu -i text", "text"},
		{"rumprun -D qemu text", "text"},
		{"rumprun qemu -i -I if,vio text", "-I if,vio"},
		{"rumprun qemu -i -I if -W if,inet,static text", "-W if,inet,static"},
		{"rumprun -t . qemu -i text", "does not exist"},
		{"rumpstop", "COOKIE"},
		{"rumpstop xen:1", "xen:1"},
		{"rumpstop qemu:x", "qemu:x"},
		{"rumpstop qemu:-1", "qemu:-1"},
		{"rumpstop qemu:1", "qemu:1"},
		// This process is no guest.
		{fmt.Sprintf("rumpstop qemu:%d", os.Getpid()), "no such guest"},
	} {
		words := strings.Fields(tt.line)
		code, stdout, stderr := callAs(words[0], words[1:]...)
		if code != 2 || stdout != "" || !strings.HasPrefix(stderr, words[0]+": error: ") || !strings.Contains(stderr, tt.words) {
			t.Errorf("%s: status %d, %q, %.300q, want 2 and %q", tt.line, code, stdout, stderr, tt.words)
		}
		if n := strings.Count(stderr, "\n"); n > 2 {
			t.Errorf("%s: %d lines of complaint: %.300q", tt.line, n, stderr)
		}
	}
	if _, err := os.Stat("out"); err == nil {
		t.Error("rumprun-bake left something half-written")
	}
}

func TestRumprunBakeList(t *testing.T) {
	code, stdout, stderr := callAs("rumprun-bake", "list")
	if code != 0 || !strings.Contains(stdout, "hw_generic      : ") || stderr != "" {
		t.Errorf("rumprun-bake list: status %d, %q, %q", code, stdout, stderr)
	}
	if code, again, _ := call("bake", "--config", "list"); code != 0 || again != stdout {
		t.Errorf("kiln bake --config list: status %d, %q, want %q", code, again, stdout)
	}
	for line := range strings.Lines(stdout) {
		name := strings.TrimSpace(line[:16])
		code, text, stderr := callAs("rumprun-bake", "describe", strings.ReplaceAll(name, "_", "-"))
		if code != 0 || !strings.HasPrefix(text, name+": ") || strings.Count(text, "\n") < 3 {
			t.Errorf("rumprun-bake describe %s: status %d, %q, %q", name, code, text, stderr)
		}
	}
}

func TestRumprunHelp(t *testing.T) {
	if code, stdout, _ := callAs("rumprun", "-h"); code != 0 || !strings.HasPrefix(stdout, "usage: rumprun ") {
		t.Errorf("rumprun -h: status %d, %.100q", code, stdout)
	}
}

// TestRumprunDump shows a command that names what it kept.
func TestRumprunDump(t *testing.T) {
	t.Chdir(t.TempDir())
	helloImage(t)
	code, stdout, stderr := callAs("rumprun", "-D", "-T", "kept", "qemu", "-e", "A=b", "-D", "1234", "-M", "80", "hello.img", "x")
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "qemu-system-x86_64 ") {
		t.Fatalf("rumprun -D: status %d, %q, %q", code, stdout, stderr)
	}
	for _, want := range []string{" -initrd kept/runconfig.json ", " -kernel hello.img ", " -gdb tcp:127.0.0.1:1234", " -m 80 "} {
		if !strings.Contains(stdout+" ", want) {
			t.Errorf("rumprun -D: %q is not in %s", want, stdout)
		}
	}
	got, err := os.ReadFile("kept/runconfig.json")
	if want := `{"args":["x"],"env":["A=b"]}`; err != nil || string(got) != want {
		t.Errorf("run configuration = %s, %v, want %s", got, err, want)
	}
}

// TestInstall puts all names in place, twice, and says where.
func TestInstall(t *testing.T) {
	root := filepath.Join(t.TempDir(), "it's here")
	for range 2 {
		dir, line, err := installTools("/opt/kiln", root, func(dir string) string { return "PATH=" + dir + "\n" })
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(root, "rumprun/bin"); dir != want {
			t.Errorf("installTools = %q, want %q", dir, want)
		}
		if want := ". '" + strings.ReplaceAll(root, "'", `'\''`) + "/obj-amd64-hw/config-PATH.sh'"; line != want {
			t.Errorf("line = %s, want %s", line, want)
		}
	}
	config, err := os.ReadFile(filepath.Join(root, "obj-amd64-hw/config-PATH.sh"))
	if want := "PATH=" + root + "/rumprun/bin\n"; err != nil || string(config) != want {
		t.Errorf("config-PATH.sh has %q, %v, want %q", config, err, want)
	}
	for _, name := range []string{"kiln", "rumprun", "rumprun-bake", "rumpstop", "x86_64-rumprun-netbsd-gcc", "x86_64-kiln-linux-gcc"} {
		if got, err := os.Readlink(filepath.Join(root, "rumprun/bin", name)); err != nil || got != "/opt/kiln" {
			t.Errorf("%s leads to %q, %v, want /opt/kiln", name, got, err)
		}
	}
}
