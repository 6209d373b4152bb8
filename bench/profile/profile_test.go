package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/pprof/profile"
)

const program = `package main

import "os"

func inner(n int) int {
	for _, a := range os.Args { n += len(a) } // line 6
	return n
}

//go:noinline
func outer(n int) int {
	return inner(n) * 2 // line 12
}

func main() { os.Exit(outer(1)) }
`

// build compiles program and returns the ELF file and where outer is.
func build(t *testing.T) (name string, outer elf.Symbol) {
	t.Helper()
	dir := t.TempDir()
	src := filepath.Join(dir, "p.go")
	if err := os.WriteFile(src, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(dir, "p")
	cmd := exec.Command("go", "build", "-o", name, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range syms {
		if s.Name == "main.outer" {
			return name, s
		}
	}
	t.Fatal("no main.outer")
	return "", elf.Symbol{}
}

// TestProfile writes a profile of a stack in each instruction of a function,
// some of which come from another that is inlined, and reads it back.
func TestProfile(t *testing.T) {
	name, outer := build(t)
	s, err := openSymbols(name)
	if err != nil {
		t.Fatal(err)
	}
	var stacks [][]uint64
	for pc := outer.Value; pc < outer.Value+outer.Size; pc++ {
		stacks = append(stacks, []uint64{pc, 0x10}) // the caller is nowhere
	}
	stacks = append(stacks, []uint64{0x10})
	out := filepath.Join(t.TempDir(), "out.pgo")
	if err := writeProfile(out, s, stacks); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	lines := map[string]int64{} // the inlined function's, and their count
	for _, sample := range p.Sample {
		total += sample.Value[0]
		line := sample.Location[0].Line
		if last := line[len(line)-1]; last.Function.Name != "main.outer" || last.Function.StartLine != 11 {
			t.Errorf("outermost function %s of line %d, want main.outer of line 11", last.Function.Name, last.Function.StartLine)
		}
		if len(line) == 2 && line[0].Function.Name == "main.inner" && line[0].Line == 6 && line[1].Line == 12 {
			lines["inlined"] += sample.Value[0]
		}
	}
	if total != int64(outer.Size) {
		t.Errorf("%d samples, want one for each of the %d bytes of outer", total, outer.Size)
	}
	if lines["inlined"] == 0 {
		t.Error("no sample is in main.inner, line 6, called in line 12")
	}
}

func TestProfileOfNothing(t *testing.T) {
	name, _ := build(t)
	s, err := openSymbols(name)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.pgo")
	if err := writeProfile(out, s, [][]uint64{{0x10}}); err == nil {
		t.Error("a profile without a sample in the program was written")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was left behind")
	}
}
