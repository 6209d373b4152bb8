package image

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kiln/image/bootinfo"
)

// funcTable returns a function table with functions of 16 bytes, one after the
// other, as the Go linker would write it.
func funcTable(names ...string) []byte {
	var text, tab, infos []byte
	u32 := binary.LittleEndian.AppendUint32
	infosAt := 8*len(names) + 4
	for i, name := range names {
		tab = u32(u32(tab, uint32(16*i)), uint32(infosAt+len(infos)))
		infos = u32(u32(infos, uint32(16*i)), uint32(len(text)))
		text = append(append(text, name...), 0)
	}
	tab = append(u32(tab, uint32(16*len(names))), infos...)
	head := make([]byte, funcsHeader)
	copy(head, []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8})
	binary.LittleEndian.PutUint64(head[funcsCount:], uint64(len(names)))
	binary.LittleEndian.PutUint64(head[funcsNames:], funcsHeader)
	binary.LittleEndian.PutUint64(head[funcsEntries:], uint64(funcsHeader+len(text)))
	return append(append(head, text...), tab...)
}

// symbolBuilder returns the builder of an image with function tables: metal's
// in its read-only data, the kernel program's in its data. To have two pages of
// code, the kernel program shares metal's.
func symbolBuilder(metal, kernel []byte) *builder {
	b := newBuilder()
	b.parts[1].data = string(metal)
	b.parts[5].data = string(kernel)
	text, data := &b.header.Segments[0], &b.header.Segments[1]
	text.Phys, text.FileSize, text.MemSize = phys(pageText), 2*PageSize, 2*PageSize
	data.Virt = bootinfo.KernelBase + 2*PageSize
	b.header.KernelEntry = bootinfo.KernelBase + PageSize + 16
	b.header.MetalFuncs = bootinfo.Range{Addr: bootinfo.MetalBase + phys(pageROData), Size: uint64(len(metal))}
	b.header.KernelFuncs = bootinfo.Range{Addr: data.Virt, Size: uint64(len(kernel))}
	return b
}

// symbolsOf returns what Symbols does for the image that b builds.
func symbolsOf(t *testing.T, b *builder) ([]Symbol, error) {
	t.Helper()
	raw := b.bytes()
	img, err := parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return img.Symbols(bytes.NewReader(raw))
}

func TestSymbols(t *testing.T) {
	b := symbolBuilder(funcTable("main.boot", "idle"), funcTable("main.main", "_rt0_amd64_linux"))
	got, err := symbolsOf(t, b)
	want := []Symbol{
		{ProgramMetal, "main.boot", 0xffffffff80101000, 0x101000, 16},
		{ProgramMetal, "idle", 0xffffffff80101010, 0x101010, 16},
		{ProgramKernel, "main.main", 0xffffffffa0001000, 0x101000, 16},
		{ProgramKernel, "_rt0_amd64_linux", 0xffffffffa0001010, 0x101010, 16},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Symbols = %+v, %v, want %+v", got, err, want)
	}

	b.header.KernelFuncs = bootinfo.Range{} // linked without a table
	if got, err := symbolsOf(t, b); err != nil || !reflect.DeepEqual(got, want[:2]) {
		t.Errorf("without the kernel's table: Symbols = %+v, %v, want %+v", got, err, want[:2])
	}
	b.header.MetalFuncs = bootinfo.Range{}
	if got, err := symbolsOf(t, b); !errors.Is(err, ErrNoSymbols) {
		t.Errorf("without tables: Symbols = %+v, %v, want %v", got, err, ErrNoSymbols)
	}
}

func TestOpenSymbols(t *testing.T) {
	raw := symbolBuilder(funcTable("main.boot"), funcTable("main.main", "_rt0_amd64_linux")).bytes()
	path := filepath.Join(t.TempDir(), "x.img")
	for name, b := range map[string][]byte{"good": raw, "cut": raw[:len(raw)-1]} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		symbols, err := OpenSymbols(path)
		if name == "good" {
			if err != nil || len(symbols) != 3 {
				t.Errorf("OpenSymbols = %+v, %v, want 3 functions", symbols, err)
			}
		} else if !isFormatError(err) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("OpenSymbols of half an image = %v, want a FormatError that names the file", err)
		}
	}
	if _, err := OpenSymbols(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenSymbols of nothing = %v, want %v", err, os.ErrNotExist)
	}
}

// TestSymbolsDamage bends the header and the tables of a sound image.
func TestSymbolsDamage(t *testing.T) {
	put := binary.LittleEndian.PutUint32
	for name, tt := range map[string]struct {
		bend func(b *builder, metal []byte)
		want string
	}{
		"table elsewhere":     {func(b *builder, _ []byte) { b.header.MetalFuncs.Addr = 0x1000 }, "metal's function table is not in the image"},
		"table wraps":         {func(b *builder, _ []byte) { b.header.MetalFuncs.Size = 1<<64 - 1 }, "metal's function table is not in the image"},
		"table over the end":  {func(b *builder, _ []byte) { b.header.KernelFuncs.Size = PageSize + 1 }, "kernel's function table is not in the image"},
		"no code":             {func(b *builder, _ []byte) { b.header.MetalText.Size = PageSize }, "metal's code is missing"},
		"entry in no place":   {func(b *builder, _ []byte) { b.header.KernelEntry++ }, "no function begins at its entry"},
		"table cut":           {func(b *builder, _ []byte) { b.header.MetalFuncs.Size = funcsHeader - 1 }, "no function table of Go"},
		"another magic":       {func(_ *builder, m []byte) { m[0]++ }, "no function table of Go"},
		"pointers of 4 bytes": {func(_ *builder, m []byte) { m[7] = 4 }, "no function table of Go"},
		"too many":            {func(_ *builder, m []byte) { put(m[funcsCount:], 1<<31) }, "more functions than it has room for"},
		"names elsewhere":     {func(_ *builder, m []byte) { put(m[funcsNames+4:], 1) }, "more functions than it has room for"},
		"entries elsewhere":   {func(_ *builder, m []byte) { put(m[funcsEntries:], uint32(len(m))) }, "more functions than it has room for"},
		"not in order":        {func(_ *builder, m []byte) { put(entries(m), 0x20) }, "not in order"},
		"function elsewhere":  {func(_ *builder, m []byte) { put(entries(m)[4:], uint32(len(m))) }, "a function lies outside"},
		"name elsewhere":      {func(_ *builder, m []byte) { put(entries(m)[20+4:], 1<<20) }, "a name lies outside"},
		"name without end":    {func(_ *builder, m []byte) { put(entries(m)[20+4:], uint32(len(m)-funcsHeader-1)); m[len(m)-1] = 'x' }, "a name lies outside"},
		"out of the code":     {func(_ *builder, m []byte) { put(entries(m)[16:], PageSize+1) }, "leads out of its code"},
	} {
		metal := funcTable("main.boot", "idle")
		b := symbolBuilder(metal, funcTable("main.main", "_rt0_amd64_linux"))
		tt.bend(b, metal)
		b.parts[1].data = string(metal)
		got, err := symbolsOf(t, b)
		if !isFormatError(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Symbols = %+v, %v, want a FormatError with %q", name, got, err, tt.want)
		}
	}
}

// entries returns where the entries of a function table begin.
func entries(table []byte) []byte {
	return table[binary.LittleEndian.Uint64(table[funcsEntries:]):]
}

// TestParseFuncs compares the functions of this very program with what the
// standard library finds.
func TestParseFuncs(t *testing.T) {
	f, err := elf.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	text := f.Section(".text").Addr
	want, err := gosym.NewTable(nil, gosym.NewLineTable(table, text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseFuncs(table, 0)
	if err != nil || len(got) != len(want.Funcs) || len(got) < 1000 {
		t.Fatalf("parseFuncs: %d functions, %v, want %d", len(got), err, len(want.Funcs))
	}
	for i, g := range got {
		if w := want.Funcs[i]; g.name != w.Name || text+uint64(g.start) != w.Entry || text+uint64(g.end) != w.End {
			t.Fatalf("function %d is %+v, want %s from %#x to %#x", i, g, w.Name, w.Entry-text, w.End-text)
		}
	}
}

// FuzzParseFuncs: any table gives functions or a FormatError.
func FuzzParseFuncs(f *testing.F) {
	f.Add(funcTable("main.boot", "idle"))
	f.Add(funcTable())
	f.Fuzz(func(t *testing.T, table []byte) {
		funcs, err := parseFuncs(table, 0)
		if err != nil && !isFormatError(err) {
			t.Fatalf("parseFuncs = %v (%T), want a FormatError", err, err)
		}
		for i, g := range funcs {
			if g.name == "" || g.end < g.start || i > 0 && g.start != funcs[i-1].end {
				t.Fatalf("function %d is %+v behind %+v", i, g, funcs[max(i-1, 0)])
			}
		}
	})
}

func TestCode(t *testing.T) {
	b := symbolBuilder(funcTable("main.boot"), funcTable("main.main", "_rt0_amd64_linux"))
	raw := b.bytes()
	img, err := parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(raw)
	// Both programs have the same code in this image, behind a page of headers.
	for _, program := range []string{ProgramMetal, ProgramKernel} {
		off, _ := img.offset(bootinfo.Range{Addr: phys(pageText) + PageSize, Size: PageSize})
		code, err := img.Code(r, program)
		if err != nil || !bytes.Equal(code, raw[off:off+PageSize]) {
			t.Errorf("Code of %s = %d bytes, %v, want the page at %#x", program, len(code), err, off)
		}
	}
	if _, err := img.Code(r, "other"); err == nil {
		t.Error("Code of a third program gives no error")
	}
	img.Header.Segments[0].FileSize = 1 << 40
	if _, err := img.Code(r, ProgramKernel); !isFormatError(err) {
		t.Errorf("Code outside of the file: %v, want a FormatError", err)
	}
	img.Header.MetalText.Size = 1
	if _, err := img.Code(r, ProgramMetal); !isFormatError(err) {
		t.Errorf("Code of nothing: %v, want a FormatError", err)
	}
}
