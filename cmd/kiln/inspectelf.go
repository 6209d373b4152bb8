package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"kiln/image/buildnote"
)

// programInfo is what kiln inspect --json says of a program.
type programInfo struct {
	Program string           `json:"program"`
	Type    string           `json:"type"`
	Machine string           `json:"machine"`
	Loader  string           `json:"loader,omitempty"`
	Needs   []string         `json:"needs,omitempty"` // shared libraries
	Build   *buildnote.Build `json:"build,omitempty"`
}

// inspectProgram prints what an ELF file says of itself.
func inspectProgram(w io.Writer, path string, asJSON bool) error {
	info, err := readProgram(path)
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(info)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "program\t%s\n", info.Program)
	fmt.Fprintf(t, "type\t%s, %s\n", info.Type, info.Machine)
	if info.Loader != "" {
		fmt.Fprintf(t, "loader\t%s\n", info.Loader)
	}
	for _, lib := range info.Needs {
		fmt.Fprintf(t, "needs\t%s\n", lib)
	}
	if b := info.Build; b == nil {
		fmt.Fprintf(t, "built\tnot by Kiln's compiler: it has no note of it\n")
	} else {
		for _, f := range []struct{ name, value string }{
			{"tuple", b.Tuple}, {"compiler", b.Compiler}, {"C library", b.Libc}, {"linked", b.Link}, {"flags", b.Flags},
		} {
			if f.value != "" {
				fmt.Fprintf(t, "%s\t%s\n", f.name, f.value)
			}
		}
	}
	return t.Flush()
}

// readProgram reads an ELF file. What is none, or damaged, is the user's
// mistake.
func readProgram(path string) (*programInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bad := func(err error) error { return usageError{fmt.Sprintf("%s: %v", path, err), ""} }
	e, err := elf.NewFile(f)
	if err != nil {
		if format, ok := errors.AsType[*elf.FormatError](err); ok && format != nil {
			return nil, bad(errors.New("neither an image nor an ELF file, or a damaged one"))
		}
		return nil, bad(fmt.Errorf("neither an image nor an ELF file: %w", err))
	}
	info := &programInfo{Program: path, Type: e.Type.String(), Machine: e.Machine.String(), Build: buildnote.Read(e)}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err != nil {
				return nil, bad(fmt.Errorf("a damaged ELF file: %w", err))
			}
			name, _, _ := bytes.Cut(b, []byte{0})
			info.Loader = string(name)
		}
	}
	if info.Needs, err = e.ImportedLibraries(); err != nil {
		return nil, bad(fmt.Errorf("a damaged ELF file: %w", err))
	}
	return info, nil
}
