package buildnote

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

var example = Build{"x86_64-kiln-linux", "gcc 12.2.0", "glibc 2.36", "static-pie", "-O2 -g"}

// other is a note of another owner: "GNU", type 3 (a build ID).
func other(desc string) []byte {
	n := binary.LittleEndian.AppendUint32(nil, 4)
	n = binary.LittleEndian.AppendUint32(n, uint32(len(desc)))
	n = binary.LittleEndian.AppendUint32(n, 3)
	return append(append(n, "GNU\x00"...), pad([]byte(desc))...)
}

func TestFind(t *testing.T) {
	odd := example
	odd.Flags = "-O" // a descriptor whose length is no multiple of four
	foreign := bytes.Replace(example.Encode(), []byte(Owner), []byte("Klin"), 1)
	for name, tt := range map[string]struct {
		notes []byte
		want  *Build
	}{
		"alone":           {example.Encode(), &example},
		"after another":   {append(other("12345"), example.Encode()...), &example},
		"before another":  {append(odd.Encode(), other("1")...), &odd},
		"none":            {other("1"), nil},
		"empty":           {nil, nil},
		"another's name":  {foreign, nil},
		"cut in the text": {example.Encode()[:40], nil},
		"cut in the head": {example.Encode()[:8], nil},
		"unknown key":     {bytes.Replace(example.Encode(), []byte("flags="), []byte("flegs="), 1), &Build{example.Tuple, example.Compiler, example.Libc, example.Link, ""}},
	} {
		got := Find(tt.notes)
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("%s: Find = %+v, want %+v", name, got, tt.want)
		}
	}
}

func TestEncodeKeepsLines(t *testing.T) {
	b := Build{Tuple: "t", Flags: "-DX=a\nlink=forged"}
	got := Find(b.Encode())
	if got == nil || got.Link != "" || got.Flags != "-DX=a link=forged" {
		t.Errorf("a value with a newline came back as %+v", got)
	}
}

func FuzzFind(f *testing.F) {
	f.Add(example.Encode())
	f.Add(append(other("x"), example.Encode()...))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00Kiln"))
	f.Fuzz(func(t *testing.T, notes []byte) {
		b := Find(notes)
		if b == nil {
			return
		}
		if strings.ContainsAny(b.String(), "\n\x00") {
			t.Errorf("Find gave a value of several lines: %q", b)
		}
		if again := Find(b.Encode()); again == nil || *again != *b {
			t.Errorf("%+v came back as %+v", b, again)
		}
	})
}
