package bake

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"kiln/image/buildnote"
)

// An object is a file of the image that may need others to run: an ELF file or
// a script.
type object struct {
	host, guest string
	mode        fs.FileMode // on the host
	reason
}

// A linkage is what the dynamic loader reads in an ELF file.
type linkage struct {
	host, guest string
	interp      string   // the loader; "" in libraries and static programs
	needed      []string // in order
	rpath       []string // DT_RPATH, without effect if there is a DT_RUNPATH
	runpath     []string
	build       *buildnote.Build // how it was built; nil if it does not say
	calls       map[string]bool  // functions that it takes from others, of those in neededCalls
}

// errNotELF means that a file is not an ELF file at all.
var errNotELF = errors.New("not an ELF file")

// readLinkage reads the ELF file of o. What makes it no part of a Linux
// x86-64 program is an error.
func readLinkage(o object) (*linkage, error) {
	f, err := os.Open(o.host)
	if err != nil {
		return nil, ioError(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, ioError(err)
	}
	l, err := parseLinkage(f, st.Size(), o.host)
	if err != nil {
		return nil, err
	}
	l.host, l.guest = o.host, o.guest
	return l, nil
}

// parseLinkage reads the ELF file of size bytes in r; name is for errors.
func parseLinkage(r io.ReaderAt, size int64, name string) (*linkage, error) {
	var ident [elf.EI_NIDENT]byte
	if n, _ := r.ReadAt(ident[:], 0); n < len(elf.ELFMAG) || string(ident[:4]) != elf.ELFMAG {
		return nil, errNotELF
	}
	if c := elf.Class(ident[elf.EI_CLASS]); c == elf.ELFCLASS32 {
		return nil, inputErrorf(name, "a 32-bit program; Kiln runs 64-bit x86 programs")
	}
	f, err := elf.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, inputErrorf(name, "the ELF file is truncated")
		}
		return nil, inputErrorf(name, "a damaged ELF file: %v", err)
	}
	if f.Machine != elf.EM_X86_64 {
		return nil, inputErrorf(name, "wrong architecture: %s; Kiln runs x86-64 programs", machineName(f.Machine))
	}
	if f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX {
		return nil, inputErrorf(name, "not a Linux program but one for %s", f.OSABI)
	}
	return readDynamic(f, size, name)
}

// machineName says what a program was built for.
func machineName(m elf.Machine) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

// readDynamic reads what the program headers say. Section headers, which
// strip tools remove, do not count.
func readDynamic(f *elf.File, size int64, name string) (*linkage, error) {
	l := &linkage{build: buildnote.Read(f)}
	for i, p := range f.Progs {
		if p.Type != elf.PT_LOAD && p.Type != elf.PT_INTERP && p.Type != elf.PT_DYNAMIC {
			continue
		}
		if p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off {
			return nil, inputErrorf(name, "the ELF file is truncated: segment %d ends at byte %d of %d", i, p.Off+p.Filesz, size)
		}
		if p.Type == elf.PT_INTERP {
			b := make([]byte, min(p.Filesz, 4096))
			if _, err := p.ReadAt(b, 0); err != nil {
				return nil, inputErrorf(name, "a damaged ELF file: %v", err)
			}
			l.interp = string(bytes.TrimRight(b, "\x00"))
			if !path.IsAbs(l.interp) {
				return nil, inputErrorf(name, "a damaged ELF file: loader %q", l.interp)
			}
		}
	}
	dyn, err := dynamic(f)
	if err != nil {
		return nil, inputErrorf(name, "a damaged ELF file: %v", err)
	}
	l.calls = dyn.calls
	l.needed = dyn.strings[elf.DT_NEEDED]
	l.rpath = splitPath(dyn.strings[elf.DT_RPATH])
	l.runpath = splitPath(dyn.strings[elf.DT_RUNPATH])
	return l, nil
}

// splitPath splits colon-separated lists of directories.
func splitPath(lists []string) []string {
	var out []string
	for _, l := range lists {
		for _, d := range strings.Split(l, ":") {
			if d != "" {
				out = append(out, d)
			}
		}
	}
	return out
}

// dynamicTable is a file's dynamic section: its entries that are strings, by
// tag, and the others.
type dynamicTable struct {
	strings map[elf.DynTag][]string
	values  map[elf.DynTag]uint64
	calls   map[string]bool // see linkage
}

// maxDynamic bounds the dynamic section and its strings, in bytes.
const maxDynamic = 16 << 20

// dynamic reads the dynamic section through the program headers.
func dynamic(f *elf.File) (*dynamicTable, error) {
	t := &dynamicTable{strings: map[elf.DynTag][]string{}, values: map[elf.DynTag]uint64{}}
	var raw []byte
	for _, p := range f.Progs {
		if p.Type == elf.PT_DYNAMIC {
			if p.Filesz > maxDynamic {
				return nil, fmt.Errorf("dynamic section of %d bytes", p.Filesz)
			}
			raw = make([]byte, p.Filesz)
			if _, err := p.ReadAt(raw, 0); err != nil {
				return nil, err
			}
		}
	}
	type pair struct {
		tag   elf.DynTag
		value uint64
	}
	var offsets []pair
	for ; len(raw) >= 16; raw = raw[16:] {
		tag, v := elf.DynTag(f.ByteOrder.Uint64(raw)), f.ByteOrder.Uint64(raw[8:])
		switch tag {
		case elf.DT_NULL:
			raw = nil
		case elf.DT_NEEDED, elf.DT_RPATH, elf.DT_RUNPATH, elf.DT_SONAME:
			offsets = append(offsets, pair{tag, v})
		default:
			t.values[tag] = v
		}
		if raw == nil {
			break
		}
	}
	if len(offsets) == 0 {
		return t, nil
	}
	addr, ok := t.values[elf.DT_STRTAB]
	if !ok {
		return nil, errors.New("no string table")
	}
	strtab, err := atAddress(f, addr, t.values[elf.DT_STRSZ])
	if err != nil {
		return nil, fmt.Errorf("string table: %w", err)
	}
	t.calls = imports(f, t.values, strtab)
	for _, o := range offsets {
		if o.value >= uint64(len(strtab)) {
			return nil, fmt.Errorf("string %#x past the table's end %#x", o.value, len(strtab))
		}
		s, _, _ := bytes.Cut(strtab[o.value:], []byte{0})
		t.strings[o.tag] = append(t.strings[o.tag], string(s))
	}
	return t, nil
}

// atAddress returns size bytes at virtual address addr.
func atAddress(f *elf.File, addr, size uint64) ([]byte, error) {
	if size > maxDynamic {
		return nil, fmt.Errorf("size %d", size)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr <= p.Filesz && size <= p.Filesz-(addr-p.Vaddr) {
			b := make([]byte, size)
			_, err := p.ReadAt(b, int64(addr-p.Vaddr))
			return b, err
		}
	}
	return nil, fmt.Errorf("address %#x is in no segment", addr)
}

// checkProgram says why the file cannot be started as a program, though it is
// a sound ELF file.
func checkProgram(host string) error {
	f, err := elf.Open(host)
	if err != nil {
		return inputErrorf(host, "a damaged ELF file: %v", err)
	}
	defer f.Close()
	switch f.Type {
	case elf.ET_EXEC:
	case elf.ET_DYN:
		dyn, err := dynamic(f)
		if err != nil {
			return inputErrorf(host, "a damaged ELF file: %v", err)
		}
		if len(dyn.strings[elf.DT_SONAME]) > 0 && !hasInterp(f) {
			return inputErrorf(host, "a shared library, not a program")
		}
	case elf.ET_REL:
		return inputErrorf(host, "an object file, not a program: link it first")
	case elf.ET_CORE:
		return inputErrorf(host, "a core dump, not a program")
	default:
		return inputErrorf(host, "not a program but an ELF file of %s", f.Type)
	}
	return nil
}

func hasInterp(f *elf.File) bool {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return true
		}
	}
	return false
}
