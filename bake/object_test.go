package bake

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// parseBytes is parseLinkage of bytes in memory.
func parseBytes(b []byte) (*linkage, error) {
	return parseLinkage(bytes.NewReader(b), int64(len(b)), "file")
}

func TestParseLinkage(t *testing.T) {
	for name, tt := range map[string]struct {
		f    elfFile
		want linkage
	}{
		"static":     {elfFile{}, linkage{}},
		"static-pie": {elfFile{typ: elf.ET_DYN, dynamic: true}, linkage{}},
		"dynamic": {
			elfFile{interp: defaultLoader, needed: []string{"libm.so.6", "libc.so.6"}},
			linkage{interp: defaultLoader, needed: []string{"libm.so.6", "libc.so.6"}},
		},
		"PIE":     {elfFile{typ: elf.ET_DYN, interp: "/lib/ld-musl-x86_64.so.1"}, linkage{interp: "/lib/ld-musl-x86_64.so.1"}},
		"library": {elfFile{typ: elf.ET_DYN, soname: "libx.so.1", needed: []string{"libc.so.6"}}, linkage{needed: []string{"libc.so.6"}}},
		"rpath": {
			elfFile{needed: []string{"a"}, rpath: "/opt/lib:$ORIGIN/../lib"},
			linkage{needed: []string{"a"}, rpath: []string{"/opt/lib", "$ORIGIN/../lib"}},
		},
		"runpath": {
			elfFile{needed: []string{"a"}, runpath: "/opt/lib::/usr/lib:"},
			linkage{needed: []string{"a"}, runpath: []string{"/opt/lib", "/usr/lib"}},
		},
		"both paths": {
			elfFile{rpath: "/old", runpath: "/new"},
			linkage{rpath: []string{"/old"}, runpath: []string{"/new"}},
		},
		"Linux's ABI": {elfFile{osABI: elf.ELFOSABI_LINUX}, linkage{}},
	} {
		l, err := parseBytes(tt.f.bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(*l, tt.want) {
			t.Errorf("%s: %+v, want %+v", name, *l, tt.want)
		}
	}
}

func TestParseLinkageErrors(t *testing.T) {
	dynamic := elfFile{interp: defaultLoader, needed: []string{"libc.so.6"}, runpath: "/x"}
	sound := dynamic.bytes()
	// progOffset is where program header i has a field.
	progOffset := func(i, field int) int { return ehdrSize + phdrSize*i + field }
	// The third header is the load segment, the second the dynamic section.
	strtab := bytes.Index(sound, []byte("libc.so.6"))
	for name, tt := range map[string]struct {
		b    []byte
		want string // "" for errNotELF
	}{
		"empty":              {nil, ""},
		"three bytes":        {[]byte("\x7fEL"), ""},
		"script":             {[]byte("#!/bin/sh\nexit\n"), ""},
		"only magic":         {[]byte("\x7fELF"), "truncated"},
		"header cut":         {sound[:40], "truncated"},
		"headers cut":        {sound[:100], "truncated"},
		"32 bits":            {patch(sound, 4, byte(elf.ELFCLASS32)), "32-bit"},
		"no class":           {patch(sound, 4, byte(9)), "damaged"},
		"ARM":                {elfFile{machine: elf.EM_AARCH64}.bytes(), "aarch64"},
		"unknown CPU":        {elfFile{machine: 0x7777}.bytes(), "wrong architecture"},
		"FreeBSD":            {elfFile{osABI: elf.ELFOSABI_FREEBSD}.bytes(), "ELFOSABI_FREEBSD"},
		"data cut":           {sound[:len(sound)-1], "truncated"},
		"loader outside":     {patch(sound, progOffset(0, 8), uint64(1<<40)), "truncated"},
		"segment that wraps": {patch(sound, progOffset(0, 32), uint64(1<<64-1)), "damaged"},
		"relative loader":    {elfFile{interp: "ld.so"}.bytes(), "loader \"ld.so\""},
		"empty loader":       {patch(sound, textOffset, byte(0)), "loader"},
		"name past the end":  {bytes.Replace(sound, []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0}, 1), "past the table's end"},
		"no string table":    {bytes.Replace(sound, []byte{5, 0, 0, 0, 0, 0, 0, 0, byte(strtab - 1)}, []byte{0x77, 0, 0, 0, 0, 0, 0, 0, 0}, 1), "no string table"},
		"table elsewhere":    {patch(sound, progOffset(2, 16), uint64(1<<30)), "in no segment"},
		"huge dynamic":       {patch(sound, progOffset(1, 32), uint64(1<<62)), "truncated"},
	} {
		l, err := parseBytes(tt.b)
		if tt.want == "" {
			if !errors.Is(err, errNotELF) {
				t.Errorf("%s: %+v, %v, want %v", name, l, err, errNotELF)
			}
			continue
		}
		if !isInputError(err) || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "file: ") {
			t.Errorf("%s: %+v, %v, want an input error with %q", name, l, err, tt.want)
		}
	}
}

// isInputError reports whether err is the user's to mend, in one line.
func isInputError(err error) bool {
	_, ok := errors.AsType[*InputError](err)
	return ok && !strings.Contains(err.Error(), "\n")
}

// TestParseLinkageCut cuts a file everywhere.
func TestParseLinkageCut(t *testing.T) {
	b := elfFile{interp: defaultLoader, needed: []string{"libc.so.6"}, rpath: "/x"}.bytes()
	for n := range b {
		if _, err := parseBytes(b[:n]); !isInputError(err) && !errors.Is(err, errNotELF) {
			t.Errorf("cut at %d of %d: %v, want an input error", n, len(b), err)
		}
	}
}

// TestReadLinkageOfCompiler reads what a real compiler links.
func TestReadLinkageOfCompiler(t *testing.T) {
	dir := t.TempDir()
	const source = "int main(void) { return 0; }"
	for name, tt := range map[string]struct {
		flags  []string
		interp string
		needed []string
		paths  linkage
	}{
		"static":     {[]string{"-static"}, "", nil, linkage{}},
		"static-pie": {[]string{"-static-pie"}, "", nil, linkage{}},
		"pie":        {[]string{"-pie"}, defaultLoader, []string{"libc.so.6"}, linkage{}},
		"no-pie":     {[]string{"-no-pie"}, defaultLoader, []string{"libc.so.6"}, linkage{}},
		"rpath":      {[]string{"-Wl,--disable-new-dtags,-rpath,/r:$ORIGIN"}, defaultLoader, []string{"libc.so.6"}, linkage{rpath: []string{"/r", "$ORIGIN"}}},
		"runpath":    {[]string{"-Wl,--enable-new-dtags,-rpath,/r"}, defaultLoader, []string{"libc.so.6"}, linkage{runpath: []string{"/r"}}},
		"stripped":   {[]string{"-s"}, defaultLoader, []string{"libc.so.6"}, linkage{}},
	} {
		out := filepath.Join(dir, name)
		compile(t, source, append(tt.flags, "-o", out)...)
		l, err := readLinkage(object{host: out, guest: "/app"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if l.interp != tt.interp || !reflect.DeepEqual(l.needed, tt.needed) || !reflect.DeepEqual(l.rpath, tt.paths.rpath) || !reflect.DeepEqual(l.runpath, tt.paths.runpath) {
			t.Errorf("%s: %+v, want loader %q, libraries %q, %+v", name, l, tt.interp, tt.needed, tt.paths)
		}
		if l.host != out || l.guest != "/app" {
			t.Errorf("%s: it is %s and %s, want %s and /app", name, l.host, l.guest, out)
		}
		if err := checkProgram(out); err != nil {
			t.Errorf("%s: %v, want a program", name, err)
		}
	}
	if _, err := readLinkage(object{host: filepath.Join(dir, "none")}); !isInputError(err) {
		t.Errorf("a file that does not exist: %v, want an input error", err)
	}
}

func TestCheckProgram(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		f    elfFile
		want string
	}{
		"static":              {elfFile{}, ""},
		"pie":                 {elfFile{typ: elf.ET_DYN, interp: defaultLoader, needed: []string{"libc.so.6"}}, ""},
		"static-pie":          {elfFile{typ: elf.ET_DYN, dynamic: true}, ""},
		"libc, a program":     {elfFile{typ: elf.ET_DYN, interp: defaultLoader, soname: "libc.so.6"}, ""},
		"library":             {elfFile{typ: elf.ET_DYN, soname: "libx.so"}, "shared library"},
		"object":              {elfFile{typ: elf.ET_REL}, "object file"},
		"core":                {elfFile{typ: elf.ET_CORE}, "core dump"},
		"something new":       {elfFile{typ: 0xfe77}, "ELF file of"},
		"damaged dynamically": {elfFile{typ: elf.ET_DYN, needed: []string{"x"}, loads: []elf.Prog64{{Type: uint32(elf.PT_DYNAMIC), Filesz: maxDynamic + 1}}}, "damaged"},
	} {
		p := tt.f.write(t, filepath.Join(dir, name))
		err := checkProgram(p)
		if tt.want == "" && err != nil || tt.want != "" && (!isInputError(err) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want an input error with %q", name, err, tt.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkProgram(filepath.Join(dir, "text")); !isInputError(err) {
		t.Errorf("text: %v, want an input error", err)
	}
}

// FuzzParseLinkage reads whatever comes: an input error, or a linkage that
// makes sense.
func FuzzParseLinkage(f *testing.F) {
	f.Add(elfFile{}.bytes())
	f.Add(elfFile{interp: defaultLoader, needed: []string{"libm.so.6", "libc.so.6"}, rpath: "/a:/b", runpath: "$ORIGIN", soname: "x"}.bytes())
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseBytes(b)
		if err != nil {
			if !isInputError(err) && !errors.Is(err, errNotELF) {
				t.Fatalf("%v (%T), want an input error", err, err)
			}
			return
		}
		if l.interp != "" && !strings.HasPrefix(l.interp, "/") {
			t.Errorf("the loader is %q", l.interp)
		}
		for _, n := range l.needed {
			if len(n) > len(b) || strings.Contains(n, "\x00") {
				t.Errorf("a library of %d bytes in a file of %d", len(n), len(b))
			}
		}
	})
}
