// Package debuginfo keeps what debuggers want to know of the programs of ring 0
// outside of images: the build links each program with symbols and DWARF, Split
// takes them out into a file beside, and Merge makes one file for gdb of those of
// metal and the kernel program.
//
// A file belongs to the code that it describes: its name is the code's ID, so
// that an image's is found, and never another's.
//
// DWARF 5 as the Go linker writes it (DWARF Debugging Information Format,
// version 5, 2017).
package debuginfo

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ID names the code of a program: text is its section .text. Zeros at the end
// do not count, for an image fills a page with them.
func ID(text []byte) string {
	sum := sha256.Sum256(bytes.TrimRight(text, "\x00"))
	return hex.EncodeToString(sum[:16])
}

// FileName returns the name of the file that describes the code with this ID.
func FileName(id string) string { return id + ".debug" }

// Find returns the path of the file that describes the code with this ID, from
// the first of dirs that has it. The error is fs.ErrNotExist if none does.
func Find(dirs []string, id string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, FileName(id))
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fs.ErrNotExist
}

// ProgramID returns the ID of the code of a program, an ELF file.
func ProgramID(program []byte) (string, error) {
	f, err := open(program)
	if err != nil {
		return "", err
	}
	s := f.Section(".text")
	if s == nil || s.Type != elf.SHT_PROGBITS {
		return "", errors.New("no code in section .text")
	}
	text, err := s.Data()
	return ID(text), err
}

// open parses an ELF file of ours.
func open(b []byte) (*elf.File, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("not an ELF file: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB || f.Machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("an ELF file for %v, not for x86-64", f.Machine)
	}
	return f, nil
}
