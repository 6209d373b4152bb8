package main

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"io"
)

// symbols finds what source an address belongs to, by the DWARF information of
// an ELF file.
type symbols struct {
	data  *dwarf.Data
	lines map[dwarf.Offset][]dwarf.LineEntry // by compilation unit
	found map[uint64][]location
}

// location is a place in the source.
type location struct {
	function string
	start    int64 // the function's first line
	file     string
	line     int64
}

func openSymbols(name string) (*symbols, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w (./build.sh makes a kernel with symbols)", err)
	}
	defer f.Close()
	data, err := f.DWARF()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &symbols{data, map[dwarf.Offset][]dwarf.LineEntry{}, map[uint64][]location{}}, nil
}

// find returns where an instruction comes from: the innermost inlined function
// first. It returns nothing for assembly and for what is not the kernel.
func (s *symbols) find(pc uint64) ([]location, error) {
	if l, ok := s.found[pc]; ok {
		return l, nil
	}
	l, err := s.look(pc)
	s.found[pc] = l
	return l, err
}

func (s *symbols) look(pc uint64) ([]location, error) {
	r := s.data.Reader()
	cu, err := r.SeekPC(pc)
	if err != nil {
		return nil, nil // no unit: not the kernel
	}
	chain, err := s.chain(r, pc)
	if err != nil || len(chain) == 0 {
		return nil, err
	}
	lines, err := s.unitLines(cu)
	if err != nil {
		return nil, err
	}
	at := lineOf(lines, pc)
	if at == nil {
		return nil, nil
	}
	file, line := at.File.Name, int64(at.Line)
	var result []location
	for i := len(chain) - 1; i >= 0; i-- {
		l, err := s.function(chain[i])
		if err != nil {
			return nil, err
		}
		if l.function == "" {
			return nil, nil
		}
		l.file, l.line = file, line
		result = append(result, l)
		if i > 0 { // an inlined call: the next is where it stands
			line, _ = chain[i].Val(dwarf.AttrCallLine).(int64)
			file = "" // its number says it; the function is enough
		}
	}
	return result, nil
}

// chain returns the function that has pc and the inlined calls in it that do,
// outermost first. r stands behind the unit's entry.
func (s *symbols) chain(r *dwarf.Reader, pc uint64) ([]*dwarf.Entry, error) {
	var chain []*dwarf.Entry
	for {
		e, err := r.Next()
		if err != nil {
			return nil, err
		}
		if e == nil || e.Tag == dwarf.TagCompileUnit || e.Tag == 0 && len(chain) > 0 {
			return chain, nil
		}
		inside := false
		if e.Tag == dwarf.TagSubprogram || e.Tag == dwarf.TagInlinedSubroutine || e.Tag == dwarf.TagLexDwarfBlock {
			ranges, err := s.data.Ranges(e)
			if err != nil {
				return nil, err
			}
			for _, x := range ranges {
				inside = inside || pc >= x[0] && pc < x[1]
			}
		}
		if !inside {
			if e.Children {
				r.SkipChildren()
			}
			continue
		}
		if e.Tag != dwarf.TagLexDwarfBlock {
			chain = append(chain, e)
		}
		if !e.Children {
			return chain, nil
		}
	}
}

// function returns the name and first line of what an entry is an instance of.
func (s *symbols) function(e *dwarf.Entry) (location, error) {
	if origin, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
		r := s.data.Reader()
		r.Seek(origin)
		var err error
		if e, err = r.Next(); err != nil {
			return location{}, err
		}
	}
	name, _ := e.Val(dwarf.AttrName).(string)
	start, _ := e.Val(dwarf.AttrDeclLine).(int64)
	return location{function: name, start: start}, nil
}

func (s *symbols) unitLines(cu *dwarf.Entry) ([]dwarf.LineEntry, error) {
	if l, ok := s.lines[cu.Offset]; ok {
		return l, nil
	}
	var lines []dwarf.LineEntry
	r, err := s.data.LineReader(cu)
	if err != nil || r == nil {
		return nil, err
	}
	for {
		var l dwarf.LineEntry
		switch err := r.Next(&l); err {
		case nil:
			lines = append(lines, l)
		case io.EOF:
			s.lines[cu.Offset] = lines
			return lines, nil
		default:
			return nil, err
		}
	}
}

// lineOf returns the entry that covers pc. Sequences are in no order.
func lineOf(lines []dwarf.LineEntry, pc uint64) *dwarf.LineEntry {
	for i := range lines[:max(len(lines), 1)-1] {
		if l := &lines[i]; !l.EndSequence && pc >= l.Address && pc < lines[i+1].Address {
			return l
		}
	}
	return nil
}
