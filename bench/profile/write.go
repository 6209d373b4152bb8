package main

import (
	"fmt"
	"os"

	"github.com/google/pprof/profile"
)

// builder makes a profile of stacks.
type builder struct {
	symbols   *symbols
	profile   *profile.Profile
	functions map[string]*profile.Function
	locations map[uint64]*profile.Location // nil for an address without source
	samples   map[string]*profile.Sample
}

// writeProfile writes stacks as a profile. An existing file is replaced as a
// whole.
func writeProfile(name string, s *symbols, stacks [][]uint64) error {
	b := builder{
		symbols: s,
		profile: &profile.Profile{
			SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}},
			PeriodType: &profile.ValueType{Type: "samples", Unit: "count"},
			Period:     1,
		},
		functions: map[string]*profile.Function{},
		locations: map[uint64]*profile.Location{},
		samples:   map[string]*profile.Sample{},
	}
	for _, stack := range stacks {
		if err := b.add(stack); err != nil {
			return err
		}
	}
	if len(b.profile.Sample) == 0 {
		return fmt.Errorf("%d samples, and none is in this kernel", len(stacks))
	}
	if err := b.profile.CheckValid(); err != nil {
		return err
	}
	f, err := os.Create(name + ".tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := b.profile.Write(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Printf("%s: %d samples, %d different\n", name, len(stacks), len(b.profile.Sample))
	return os.Rename(f.Name(), name)
}

// add counts a stack, up to the first frame without source.
func (b *builder) add(stack []uint64) error {
	var where []*profile.Location
	for i, pc := range stack {
		if i > 0 {
			pc-- // into the call
		}
		l, err := b.location(pc)
		if err != nil {
			return err
		}
		if l == nil {
			break
		}
		where = append(where, l)
	}
	if len(where) == 0 {
		return nil
	}
	key := ""
	for _, l := range where {
		key += fmt.Sprint(l.ID, " ")
	}
	s := b.samples[key]
	if s == nil {
		s = &profile.Sample{Location: where, Value: []int64{0}}
		b.samples[key] = s
		b.profile.Sample = append(b.profile.Sample, s)
	}
	s.Value[0]++
	return nil
}

func (b *builder) location(pc uint64) (*profile.Location, error) {
	if l, ok := b.locations[pc]; ok {
		return l, nil
	}
	source, err := b.symbols.find(pc)
	if err != nil || len(source) == 0 {
		b.locations[pc] = nil
		return nil, err
	}
	l := &profile.Location{ID: uint64(len(b.profile.Location) + 1), Address: pc}
	for _, at := range source {
		l.Line = append(l.Line, profile.Line{Function: b.function(at), Line: at.line})
	}
	b.profile.Location = append(b.profile.Location, l)
	b.locations[pc] = l
	return l, nil
}

func (b *builder) function(at location) *profile.Function {
	f := b.functions[at.function]
	if f == nil {
		f = &profile.Function{ID: uint64(len(b.profile.Function) + 1), Name: at.function, SystemName: at.function, Filename: at.file, StartLine: at.start}
		b.functions[at.function] = f
		b.profile.Function = append(b.profile.Function, f)
	}
	return f
}
