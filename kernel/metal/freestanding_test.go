package main

import (
	"bytes"
	"debug/elf"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"kiln/image/bootinfo"
)

// buildMetal links metal as build.sh does, with symbols.
func buildMetal(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "metal")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", out,
		"-ldflags=-checklinkname=0 -E=_kiln_start -T="+strconv.Itoa(bootinfo.MetalLinkText), ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, b)
	}
	return out
}

// allowed are the functions of the Go runtime that metal's code may call. The
// g that it runs with makes every prologue pass without morestack; the panics
// are defects, which end in a report; the write barriers are behind a flag
// that only a started runtime sets; the rest are leaves.
var allowed = regexp.MustCompile(`^runtime\.(morestack(_noctxt)?(\.abi0)?|` +
	`panic(Bounds|divide|shift|overflow|unsafeslicelen|unsafeslicenilptr|Index|Slice.*)|` +
	`gcWriteBarrier[1-8]|wbZero|wbMove|memmove|memequal|memclrNoHeapPointers|duffzero|duffcopy)$`)

// TestFreestanding checks every call in metal's machine code.
func TestFreestanding(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and disassembles metal")
	}
	bin := buildMetal(t)
	out, err := exec.Command("go", "tool", "objdump", "-s", `^(main\.|kiln/|_kiln|cpu\.)`, bin).Output()
	if err != nil {
		t.Fatalf("objdump: %v", err)
	}
	call := regexp.MustCompile(`\t(?:CALL|JMP) ([\w./·*()\[\]-]+)\(SB\)`)
	function, calls := "", 0
	for _, line := range strings.Split(string(out), "\n") {
		if name, ok := strings.CutPrefix(line, "TEXT "); ok {
			function, _, _ = strings.Cut(name, "(SB)")
			continue
		}
		m := call.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		calls++
		if strings.HasPrefix(m[1], "runtime.") && !allowed.MatchString(m[1]) {
			t.Errorf("%s calls %s, which needs a started runtime", function, m[1])
		}
		// An assembly function called from Go goes through a wrapper
		// that reloads R14 from the program's FS. At boot, FS is metal's.
		bootOnly := m[1] == "kiln/kernel/metal/cpu.fill.abi0" || m[1] == "main.fillFloat.abi0"
		if strings.HasSuffix(m[1], ".abi0") && !strings.HasPrefix(m[1], "runtime.") && !bootOnly {
			t.Errorf("%s calls the assembly function %s by name", function, m[1])
		}
	}
	if calls < 100 {
		t.Errorf("only %d calls found: the disassembly was not understood", calls)
	}
}

// TestVectorStubs checks that the stub of each vector is at 16 times its
// number, as the interrupt descriptor table assumes.
func TestVectorStubs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds metal")
	}
	f, err := elf.Open(buildMetal(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range syms {
		if s.Name != "vectors" && s.Name != "main.vectors" && s.Name != "vectors.abi0" {
			continue
		}
		text := f.Section(".text")
		code, err := text.Data()
		if err != nil {
			t.Fatal(err)
		}
		code = code[s.Value-text.Addr:]
		for v := range vectorCount {
			stub := code[16*v : 16*v+16]
			coded := bytes.HasPrefix(stub, []byte{0x6a, byte(v)})          // push $v
			plain := bytes.HasPrefix(stub, []byte{0x6a, 0, 0x6a, byte(v)}) // push $0; push $v
			want := plain
			switch v {
			case 8, 10, 11, 12, 13, 14, 17, 21, 29, 30: // SDM vol. 3A table 6-1, AMD APM vol. 2 §8.2
				want = coded && !plain
			}
			if !want {
				t.Errorf("stub of vector %d is % x", v, stub[:6])
			}
		}
		return
	}
	t.Error("no symbol for the vector stubs")
}
