package symbols

import (
	"bytes"
	"debug/elf"
	"fmt"

	"kiln/image"
	"kiln/image/debuginfo"
)

// Kernel returns what the files of package debuginfo say of an image's two
// programs of ring 0. img says where they lie in physical memory.
func Kernel(img *image.Image, parts []debuginfo.Part) ([]*Object, error) {
	var objects []*Object
	for _, p := range parts {
		f, err := elf.NewFile(bytes.NewReader(p.File))
		if err != nil {
			return nil, fmt.Errorf("debug information of %s: %w", p.Name, err)
		}
		list, err := read(p.Name, f)
		if err != nil {
			return nil, err
		}
		for i := range list {
			list[i].Physical = img.Physical(p.Name, list[i].Address)
		}
		objects = append(objects, &Object{Name: p.Name, Symbols: list, file: f})
	}
	return objects, nil
}

// Functions returns what the image itself says of its programs of ring 0, where
// files of package debuginfo are not at hand: their functions.
func Functions(path string) ([]*Object, error) {
	list, err := image.OpenSymbols(path)
	if err != nil {
		return nil, err
	}
	byName := map[string]*Object{}
	var objects []*Object
	for _, s := range list {
		o := byName[s.Program]
		if o == nil {
			o = &Object{Name: s.Program}
			byName[s.Program] = o
			objects = append(objects, o)
		}
		o.Symbols = append(o.Symbols, Symbol{Object: s.Program, Name: s.Name, Kind: "T", Address: s.Virtual, Size: s.Size, Physical: s.Phys})
	}
	return objects, nil
}
