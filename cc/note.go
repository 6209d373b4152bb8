package cc

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os/exec"
	"regexp"
	"strings"

	"kiln/image/buildnote"
)

// noteObject returns an object file (System V gABI, ELF64) whose only content
// is the note b, for the linker to put into what it makes.
func noteObject(b *buildnote.Build) []byte {
	const names = "\x00" + buildnote.Section + "\x00.note.GNU-stack\x00.shstrtab\x00"
	name := func(s string) uint32 { return uint32(strings.Index(names, s+"\x00")) }
	note := b.Encode()
	const headerSize, sectionSize = 64, 64
	namesAt := uint64(headerSize + len(note))
	sectionsAt := (namesAt + uint64(len(names)) + 7) &^ 7
	sections := []elf.Section64{
		{},
		{Name: name(buildnote.Section), Type: uint32(elf.SHT_NOTE), Flags: uint64(elf.SHF_ALLOC), Off: headerSize, Size: uint64(len(note)), Addralign: 4},
		// Without it the linker would make the stack executable.
		{Name: name(".note.GNU-stack"), Type: uint32(elf.SHT_PROGBITS), Off: namesAt, Addralign: 1},
		{Name: name(".shstrtab"), Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names)), Addralign: 1},
	}
	header := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Shoff: sectionsAt,
		Ehsize: headerSize, Shentsize: sectionSize, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var out bytes.Buffer
	write := func(v any) {
		if err := binary.Write(&out, binary.LittleEndian, v); err != nil {
			panic("cc: an ELF structure of fixed size: " + err.Error()) // memory does not fail
		}
	}
	write(header)
	out.Write(note)
	out.WriteString(names)
	out.Write(make([]byte, sectionsAt-uint64(out.Len())))
	write(sections)
	return out.Bytes()
}

// probe is C that makes the preprocessor tell what there is.
const probe = "#if __has_include(<features.h>)\n#include <features.h>\n#endif\n" +
	"compiler __VERSION__\n#ifdef __GLIBC__\nglibc __GLIBC__.__GLIBC_MINOR__\n#endif\n"

var (
	probeCompiler = regexp.MustCompile(`(?m)^compiler "([^"]*)"`)
	probeGlibc    = regexp.MustCompile(`(?m)^glibc ([0-9 .]+)`)
)

// describe returns the versions of the compiler at path and of its C library.
// What cannot be found out is left out: a note is no reason not to compile.
func describe(path string, musl bool) (compiler, libc string) {
	cmd := exec.Command(path, "-E", "-P", "-x", "c", "-")
	cmd.Stdin = strings.NewReader(probe)
	out, err := cmd.Output()
	compiler, libc = "gcc", "glibc"
	if musl {
		libc = "musl"
	}
	if err != nil {
		return compiler, libc
	}
	if m := probeCompiler.FindSubmatch(out); m != nil {
		compiler += " " + string(m[1])
	}
	if m := probeGlibc.FindSubmatch(out); m != nil {
		libc = "glibc " + strings.ReplaceAll(string(m[1]), " ", "")
	}
	return compiler, libc
}
