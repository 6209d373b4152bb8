package debuginfo

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// build returns a Go program linked at text, with symbols unless flags leave
// them out. It has a function and a variable of the name that is given.
func build(t testing.TB, name, text, flags string) []byte {
	t.Helper()
	dir := t.TempDir()
	source := `package main

type pair struct{ first, second int }

var ` + name + `Var = pair{1, 2}

//go:noinline
func ` + name + `Func(p *pair) int { return p.first + p.second }

func main() { println(` + name + `Func(&` + name + `Var)) }
`
	for file, content := range map[string]string{"go.mod": "module example\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", "program", "-ldflags=-T="+text+" "+flags)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "program"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	upper = "-1610608640" // 0xffffffffa0001000
	lower = "-2146430976" // 0xffffffff80101000
)

// TestSplitRuns compares what Split leaves of a program with what the linker
// writes without symbols.
func TestSplitRuns(t *testing.T) {
	whole, without := build(t, "one", upper, ""), build(t, "one", upper, "-s -w")
	stripped, debug, err := Split(whole)
	if err != nil {
		t.Fatal(err)
	}
	got, want := parsed(t, stripped), parsed(t, without)
	if len(got.Sections) != len(want.Sections) || len(got.Progs) != len(want.Progs) || len(stripped) > len(without) {
		t.Fatalf("%d sections, %d segments, %d bytes, want %d, %d, at most %d", len(got.Sections), len(got.Progs), len(stripped), len(want.Sections), len(want.Progs), len(without))
	}
	for i := range got.Sections {
		if i == len(got.Sections)-1 { // the names, which the linker puts on a page of their own
			want.Sections[i].Offset = got.Sections[i].Offset
		}
		if got.Sections[i].SectionHeader != want.Sections[i].SectionHeader {
			t.Errorf("section %d = %+v, want %+v", i, got.Sections[i].SectionHeader, want.Sections[i].SectionHeader)
		}
	}
	for i := range got.Progs {
		if got.Progs[i].ProgHeader != want.Progs[i].ProgHeader {
			t.Errorf("segment %d = %+v, want %+v", i, got.Progs[i].ProgHeader, want.Progs[i].ProgHeader)
		}
	}
	ids := map[string]string{}
	for name, b := range map[string][]byte{"whole": whole, "stripped": stripped, "without": without} {
		if ids[name], err = ProgramID(b); err != nil {
			t.Errorf("ID of %s: %v", name, err)
		}
	}
	if ids["whole"] != ids["without"] || ids["stripped"] != ids["without"] {
		t.Errorf("IDs of the same code differ: %v", ids)
	}
	if _, err := ProgramID(debug); err == nil {
		t.Error("a file without code has an ID")
	}
	if again, none, err := Split(stripped); err != nil || none != nil || !bytes.Equal(again, stripped) {
		t.Errorf("Split of a stripped program: %d bytes, debug %d bytes, %v", len(again), len(none), err)
	}
}

func parsed(t testing.TB, b []byte) *elf.File {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestIDIgnoresPadding(t *testing.T) {
	if a, b := ID([]byte{1, 2}), ID([]byte{1, 2, 0, 0}); a != b {
		t.Errorf("ID with padding = %s, without %s", b, a)
	}
	if a, b := ID([]byte{1, 2}), ID([]byte{1, 3}); a == b {
		t.Errorf("two codes have ID %s", a)
	}
}

// described is what DWARF says of a function or variable.
type described struct {
	pc   uint64
	line string // file:line at pc
	typ  string // of a variable
}

// describe returns what the DWARF of f says of all functions and variables of
// packages main and runtime.
func describe(t testing.TB, b []byte) map[string][]described {
	t.Helper()
	data, err := parsed(t, b).DWARF()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]described{}
	var unit *dwarf.Entry
	for r := data.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			return all
		}
		name, _ := e.Val(dwarf.AttrName).(string)
		switch e.Tag {
		case dwarf.TagCompileUnit:
			unit = e
		case dwarf.TagSubprogram:
			ranges, err := data.Ranges(e)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(ranges) == 0 || name == "" {
				continue
			}
			lines, err := data.LineReader(unit)
			if err != nil {
				t.Fatal(err)
			}
			at := described{pc: ranges[0][0]}
			var entry dwarf.LineEntry
			if strings.HasPrefix(name, "main.") {
				if err := lines.SeekPC(at.pc, &entry); err != nil {
					t.Fatalf("%s: line of %#x: %v", name, at.pc, err)
				}
				at.line = entry.File.Name
			}
			all[name] = append(all[name], at)
		case dwarf.TagVariable:
			off, ok := e.Val(dwarf.AttrType).(dwarf.Offset)
			if !ok || !strings.HasPrefix(name, "main.") {
				continue
			}
			typ, err := data.Type(off)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all[name] = append(all[name], described{typ: typ.String() + " " + typ.Common().Name})
		}
	}
}

// TestMerge compares what the merged file says with what its parts say.
func TestMerge(t *testing.T) {
	programs := [][]byte{build(t, "one", upper, ""), build(t, "two", lower, "")}
	var parts []Part
	want := map[string][]described{}
	symbols := map[elf.Symbol]int{}
	for i, p := range programs {
		_, debug, err := Split(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, Part{[]string{"kernel", "metal"}[i], debug})
		for name, d := range describe(t, p) {
			want[name] = append(want[name], d...)
		}
		list, err := parsed(t, p).Symbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			s.Section, s.VersionIndex, s.HasVersion = 0, 0, false
			symbols[s]++
		}
	}
	var b bytes.Buffer
	if err := Merge(&b, parts); err != nil {
		t.Fatal(err)
	}
	got := describe(t, b.Bytes())
	for _, name := range []string{"main.oneFunc", "main.twoFunc", "main.oneVar", "main.twoVar", "runtime.mallocgc"} {
		if len(got[name]) == 0 {
			t.Errorf("nothing of %s", name)
		}
	}
	for name, d := range want {
		if !slices.Equal(got[name], d) {
			t.Errorf("%s: %+v, want %+v", name, got[name], d)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	list, err := parsed(t, b.Bytes()).Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		s.Section, s.VersionIndex, s.HasVersion = 0, 0, false
		if s.Name == EntryName && s.Value == EntryAddress {
			continue
		}
		if symbols[s]--; symbols[s] < 0 {
			t.Errorf("symbol %+v is of neither program", s)
		}
		if symbols[s] == 0 {
			delete(symbols, s)
		}
	}
	if len(symbols) > 0 {
		t.Errorf("%d symbols are missing", len(symbols))
	}
	checkFrames(t, b.Bytes(), len(programs)+1)
}

// checkFrames checks that each frame description names a common one, of which
// there are n.
func checkFrames(t testing.TB, b []byte, n int) {
	t.Helper()
	frames, err := parsed(t, b).Section(".debug_frame").Data()
	if err != nil {
		t.Fatal(err)
	}
	common := map[uint32]bool{}
	for c := (&cursor{b: frames}); c.at < len(frames); {
		start := uint32(c.at)
		size := c.u32()
		id := c.u32()
		switch {
		case id == 0xffffffff:
			common[start] = true
		case !common[id]:
			t.Fatalf("the frame description at %#x names %#x, want one of %v", start, id, common)
		}
		c.skip(int(size) - 4)
	}
	if len(common) != n {
		t.Errorf("%d common frame descriptions, want %d", len(common), n)
	}
}

func TestFind(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	dirs := []string{filepath.Join(first, "none"), first, second}
	if _, err := Find(dirs, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Find of nothing: %v, want %v", err, fs.ErrNotExist)
	}
	for _, dir := range []string{second, first} {
		want := filepath.Join(dir, FileName("x"))
		if err := os.WriteFile(want, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := Find(dirs, "x"); err != nil || got != want {
			t.Errorf("Find = %q, %v, want %q", got, err, want)
		}
	}
}

// TestRefusals gives Split and Merge what they cannot read.
func TestRefusals(t *testing.T) {
	_, debug, err := Split(build(t, "one", upper, ""))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"nothing": nil, "text": []byte("no ELF file\n"), "half": debug[:len(debug)/2]} {
		if _, _, err := Split(b); err == nil {
			t.Errorf("%s: Split gives no error", name)
		}
		if err := Merge(io.Discard, []Part{{"kernel", b}}); err == nil {
			t.Errorf("%s: Merge gives no error", name)
		}
	}
}

// FuzzRelocate bends DWARF: it may be refused, but nothing may panic.
func FuzzRelocate(f *testing.F) {
	unit := []byte{12, 0, 0, 0, 5, 0, 1, 8, 0, 0, 0, 0, 1, 'm', 0, 0}
	f.Add(unit, []byte{1, 0x11, 0, 3, formString, 0, 0, 0}, []byte{4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, info, abbrev, frames []byte) {
		base := map[string]uint32{".debug_info": 1, ".debug_abbrev": 2}
		_ = relocateInfo(info, abbrev, base)
		_ = relocateFrames(frames, 3)
	})
}
