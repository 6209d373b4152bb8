// Package buildnote is the ELF note that Kiln's compilers leave in what they
// link: how it was built, for kiln inspect to show.
//
// The note has the owner "Kiln" and the type 1 (System V gABI, "Note
// Section"). Its descriptor is text: lines of the form KEY=VALUE, of which a
// reader passes over those that it does not know. Nothing in it depends on
// when or where a program was built.
package buildnote

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	// Owner names whose note it is.
	Owner = "Kiln"
	// Type is the note's type.
	Type = 1
	// Section is the name of the section that has it.
	Section = ".note.kiln"
)

// maxNotes bounds what is read of a file's notes, in bytes.
const maxNotes = 1 << 20

// Build is how a file was built.
type Build struct {
	Tuple    string `json:"tuple"`
	Compiler string `json:"compiler,omitempty"` // "gcc 12.2.0"
	Libc     string `json:"libc,omitempty"`     // "glibc 2.36", "musl"
	Link     string `json:"link,omitempty"`     // "static-pie", "static", "dynamic", "shared"
	Flags    string `json:"flags,omitempty"`    // those of the link that shape code, in brief
}

// fields are the keys of the text and where their values go.
func (b *Build) fields() []field {
	return []field{
		{"tuple", &b.Tuple}, {"compiler", &b.Compiler}, {"libc", &b.Libc}, {"link", &b.Link}, {"flags", &b.Flags},
	}
}

type field struct {
	key   string
	value *string
}

// String returns b in one line, for people.
func (b *Build) String() string {
	var words []string
	for _, s := range []string{b.Compiler, b.Libc, b.Link, b.Flags} {
		if s != "" {
			words = append(words, s)
		}
	}
	return b.Tuple + ": " + strings.Join(words, ", ")
}

// Encode returns the note: header, owner, descriptor, each padded to four
// bytes.
func (b *Build) Encode() []byte {
	var desc []byte
	for _, f := range b.fields() {
		if *f.value != "" {
			desc = fmt.Appendf(desc, "%s=%s\n", f.key, oneLine(*f.value))
		}
	}
	owner := append([]byte(Owner), 0)
	note := binary.LittleEndian.AppendUint32(nil, uint32(len(owner)))
	note = binary.LittleEndian.AppendUint32(note, uint32(len(desc)))
	note = binary.LittleEndian.AppendUint32(note, Type)
	return append(append(note, pad(owner)...), pad(desc)...)
}

// oneLine returns s with control characters, which would end its line, as
// blanks.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// pad fills b up to a multiple of four bytes.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// Find returns the Build that is among notes, nil if there is none. Damaged
// notes end the search: they are nobody's promise.
func Find(notes []byte) *Build {
	for len(notes) >= 12 {
		nameSize := uint64(binary.LittleEndian.Uint32(notes))
		descSize := uint64(binary.LittleEndian.Uint32(notes[4:]))
		kind := binary.LittleEndian.Uint32(notes[8:])
		descAt := 12 + (nameSize+3)&^3
		end := descAt + descSize
		if end > uint64(len(notes)) {
			return nil
		}
		name := bytes.TrimRight(notes[12:12+nameSize], "\x00")
		if kind == Type && string(name) == Owner {
			return parse(string(notes[descAt:end]))
		}
		notes = notes[min((end+3)&^3, uint64(len(notes))):]
	}
	return nil
}

// parse reads a descriptor. Text without a tuple is no Build.
func parse(desc string) *Build {
	b := &Build{}
	for line := range strings.Lines(desc) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		for _, f := range b.fields() {
			if f.key == key {
				*f.value = oneLine(strings.ToValidUTF8(value, "?"))
			}
		}
	}
	if b.Tuple == "" {
		return nil
	}
	return b
}

// Read returns how the ELF file was built, nil if it does not say.
func Read(f *elf.File) *Build {
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > maxNotes {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err != nil {
			continue // cut short: whoever needs the file says so
		}
		if b := Find(notes); b != nil {
			return b
		}
	}
	return nil
}
