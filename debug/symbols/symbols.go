// Package symbols lists what has a name in an image: functions and variables of
// the kernel's two programs, and of the guest's own programs and libraries, as nm
// does; and says what lies at an address.
package symbols

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"sort"
)

// A Symbol is a name and what it stands for.
type Symbol struct {
	Object  string `json:"object"` // metal, kernel, or the path of the file in the image
	Name    string `json:"name"`
	Kind    string `json:"kind"`    // nm's letter: T code, D data, B zeroed data, R constants; small: of one file only
	Address uint64 `json:"address"` // virtual; in a file that can be loaded anywhere, from where it is
	Size    uint64 `json:"size"`    // bytes, 0: not known
	// Physical is the address in a machine's memory, 0 if it is not known before
	// the machine runs.
	Physical uint64 `json:"physical,omitempty"`
}

// An Object is a file with symbols.
type Object struct {
	Name    string
	Symbols []Symbol // by address
	// Movable says that the file can be loaded anywhere: addresses count from
	// where it is.
	Movable bool

	file *elf.File // with DWARF, or nil
}

// read returns the symbols of f under the name of object: of its table, or, if it
// is stripped, of what is left for the dynamic linker.
func read(object string, f *elf.File) ([]Symbol, error) {
	list, err := f.Symbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		if list, err = f.DynamicSymbols(); errors.Is(err, elf.ErrNoSymbols) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: symbols: %w", object, err)
	}
	var out []Symbol
	for _, s := range list {
		kind := kindOf(f, s)
		if kind == "" || s.Name == "" {
			continue
		}
		out = append(out, Symbol{Object: object, Name: s.Name, Kind: kind, Address: s.Value, Size: s.Size})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Address < out[j].Address })
	return out, nil
}

// kindOf returns nm's letter for s, "" for what is no function or variable.
func kindOf(f *elf.File, s elf.Symbol) string {
	switch elf.ST_TYPE(s.Info) {
	case elf.STT_SECTION, elf.STT_FILE, elf.STT_TLS:
		return ""
	}
	i := int(s.Section)
	if s.Section == elf.SHN_UNDEF || i >= len(f.Sections) {
		return "" // of another file, or a number
	}
	section := f.Sections[i]
	letter := ""
	switch {
	case section.Flags&elf.SHF_ALLOC == 0:
		return ""
	case section.Flags&elf.SHF_EXECINSTR != 0:
		letter = "T"
	case section.Flags&elf.SHF_WRITE == 0:
		letter = "R"
	case section.Type == elf.SHT_NOBITS && !keptData(section.Name):
		letter = "B"
	default:
		letter = "D"
	}
	if elf.ST_BIND(s.Info) == elf.STB_LOCAL {
		return string(letter[0] + 'a' - 'A')
	}
	return letter
}

// keptData reports whether a section without content is one of data whose content
// a file of symbols leaves out.
func keptData(name string) bool {
	return name == ".data" || name == ".noptrdata" || name == ".go.buildinfo" || name == ".go.module" || name == ".go.fipsinfo"
}

// At returns the symbols of o in whose range addr lies, the innermost first: of
// those without a size, the last one before addr.
func (o *Object) At(addr uint64) []Symbol {
	// The first symbol behind addr.
	end := sort.Search(len(o.Symbols), func(i int) bool { return o.Symbols[i].Address > addr })
	var found []Symbol
	for i := end - 1; i >= 0; i-- {
		s := o.Symbols[i]
		if s.Size != 0 && addr-s.Address < s.Size || s.Address == addr {
			found = append(found, s)
		}
		// Go's and C's functions and variables do not lie in one another, so
		// what begins at another address is not looked for.
		if len(found) > 0 && s.Address != found[0].Address {
			break
		}
		if addr-s.Address > 1<<30 {
			break
		}
	}
	return found
}

// Line returns the place in the source of the instruction at addr, "" if it is
// not known.
func (o *Object) Line(addr uint64) string {
	if o.file == nil {
		return ""
	}
	data, err := o.file.DWARF()
	if err != nil {
		return ""
	}
	unit, err := data.Reader().SeekPC(addr)
	if err != nil {
		return ""
	}
	lines, err := data.LineReader(unit)
	if err != nil || lines == nil {
		return ""
	}
	var entry dwarf.LineEntry
	if lines.SeekPC(addr, &entry) != nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", entry.File.Name, entry.Line)
}
