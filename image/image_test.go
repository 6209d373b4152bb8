package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"kiln/image/bootinfo"
)

func TestParse(t *testing.T) {
	b := newBuilder()
	raw := b.bytes()
	img, err := parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if img.Header != b.header {
		t.Errorf("the boot header is %+v, want %+v", img.Header, b.header)
	}
	if img.Entry != bootinfo.LoadBase || img.Size != int64(len(raw)) {
		t.Errorf("entry %#x, size %d, want %#x, %d", img.Entry, img.Size, bootinfo.LoadBase, len(raw))
	}
	var manifest Manifest
	mustUnmarshal(t, testManifest, &manifest)
	mustUnmarshal(t, testFiles, &manifest.Files)
	if !reflect.DeepEqual(img.Manifest, manifest) || !reflect.DeepEqual(img.Files, manifest.Files) {
		t.Errorf("the manifest is %+v with files %+v, want %+v", img.Manifest, img.Files, manifest)
	}
	var want []Segment
	for i, q := range b.parts {
		p := b.progs[i]
		want = append(want, Segment{q.name, p.Paddr, int64(p.Off), p.Filesz, uint64(p.Flags)})
	}
	if !reflect.DeepEqual(img.Segments, want) {
		t.Errorf("the segments are %+v, want %+v", img.Segments, want)
	}
}

// TestParseBare reads an image of a kernel program alone: no root file system,
// no list of files.
func TestParseBare(t *testing.T) {
	b := newBuilder()
	b.header.RootFS, b.files = bootinfo.Range{}, ""
	img, err := parse(b.bytes())
	if err != nil || img.Files != nil || img.Manifest.Files != nil {
		t.Errorf("Parse = %+v, %v, want an image without files", img, err)
	}
}

// TestParseDamage bends one thing at a time, and seals the result: what is
// wrong is found by what it is, not by its checksum.
func TestParseDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		bend func(*builder)
		want string
	}{
		"32 bits":                {func(b *builder) { b.ehdr.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS32) }, "ELF header"},
		"ARM":                    {func(b *builder) { b.ehdr.Machine = uint16(elf.EM_AARCH64) }, "EM_AARCH64"},
		"shared object":          {func(b *builder) { b.ehdr.Type = uint16(elf.ET_DYN) }, "ET_DYN"},
		"no segments":            {func(b *builder) { b.progs = b.progs[len(b.progs)-1:] }, "no segment at the load address"},
		"elsewhere":              {func(b *builder) { b.progs[0].Paddr -= PageSize }, "no segment at the load address"},
		"segment past the end":   {func(b *builder) { b.progs[8].Filesz, b.progs[8].Memsz = 1<<20, 1<<20 }, "segment 8"},
		"segment out of file":    {func(b *builder) { b.progs[8].Off = 1 << 40 }, "segment 8"},
		"segment that wraps":     {func(b *builder) { b.progs[8].Paddr = 1<<64 - PageSize }, "segment 8"},
		"segment with bss":       {func(b *builder) { b.progs[2].Memsz++ }, "size of segment 2"},
		"overlapping segments":   {func(b *builder) { b.progs[3].Paddr -= PageSize }, "segment 3 overlaps"},
		"segments in disorder":   {func(b *builder) { b.progs[3], b.progs[4] = b.progs[4], b.progs[3] }, "segment 4 overlaps"},
		"no note":                {func(b *builder) { b.progs[9].Type = uint32(elf.PT_NULL) }, "no PVH note"},
		"another's note":         {func(b *builder) { b.note[12] = 'X' + 1 }, "not a PVH note"},
		"note of another type":   {func(b *builder) { b.note[8]++ }, "not a PVH note"},
		"note of another size":   {func(b *builder) { b.note[4] = 8 }, "not a PVH note"},
		"note cut short":         {func(b *builder) { b.progs[9].Filesz = 12 }, "PVH note"},
		"entry outside":          {func(b *builder) { b.note[18] = 0x7f }, "entry"},
		"no boot header":         {func(b *builder) { b.header.Magic++ }, "no Kiln boot header"},
		"version of the header":  {func(b *builder) { b.header.Version++ }, "boot header of another version"},
		"size of the header":     {func(b *builder) { b.header.Size-- }, "boot header of wrong size"},
		"too many segments":      {func(b *builder) { b.header.SegmentCount = bootinfo.MaxSegments + 1 }, "too many kernel segments"},
		"no kernel segments":     {func(b *builder) { b.header.SegmentCount = 0 }, "kernel's entry"},
		"image too large":        {func(b *builder) { b.header.Image.Size += PageSize }, "size of the image"},
		"image elsewhere":        {func(b *builder) { b.header.Image.Addr += PageSize }, "size of the image"},
		"manifest elsewhere":     {func(b *builder) { b.header.Manifest.Addr = 1 << 30 }, "the manifest is not in the image"},
		"manifest that wraps":    {func(b *builder) { b.header.Manifest = bootinfo.Range{Addr: phys(0), Size: 1<<64 - 1} }, "the manifest is not in the image"},
		"manifest over the end":  {func(b *builder) { b.header.Manifest.Size = PageSize + 1 }, "the manifest is not in the image"},
		"root elsewhere":         {func(b *builder) { b.header.RootFS.Addr += PageSize }, "the root file system is not in the image"},
		"arguments elsewhere":    {func(b *builder) { b.header.KernelArgs.Addr = 0 }, "the kernel's arguments is not in the image"},
		"metal's data elsewhere": {func(b *builder) { b.header.MetalData.Size = 1 << 40 }, "metal's data is not in the image"},
		"tables elsewhere":       {func(b *builder) { b.header.BootTables.Addr += 1 << 32 }, "boot page tables is not in the image"},
		"kernel segment outside": {func(b *builder) { b.header.Segments[1].Phys = 0x1000 }, "kernel segment 1 is not in the image"},
		"kernel segment at odds": {func(b *builder) { b.header.Segments[1].Virt += 8 }, "kernel segment 1"},
		"kernel segment too low": {func(b *builder) { b.header.Segments[0].Virt = 0x400000 }, "kernel segment 0"},
		"kernel segment wraps":   {func(b *builder) { b.header.Segments[1].MemSize = 1<<64 - 1 }, "kernel segment 1"},
		"kernel segment cut":     {func(b *builder) { b.header.Segments[0].MemSize = 0 }, "kernel segment 0"},
		"kernel entry in data":   {func(b *builder) { b.header.KernelEntry = bootinfo.KernelBase + 0x1008 }, "kernel's entry"},
		"kernel entry nowhere":   {func(b *builder) { b.header.KernelEntry = 0x1000 }, "kernel's entry"},
		"manifest not JSON":      {func(b *builder) { b.manifest = "{" }, "manifest"},
		"manifest of a list":     {func(b *builder) { b.manifest = "[]" }, "manifest"},
		"manifest's version":     {func(b *builder) { b.manifest = strings.Replace(testManifest, `"version":1`, `"version":2`, 1) }, "manifest of another version"},
		"manifest without one":   {func(b *builder) { b.manifest = "{}" }, "manifest of another version"},
		"list of files not JSON": {func(b *builder) { b.files = "[" }, "list of files"},
		"list of other things":   {func(b *builder) { b.files = `[{"path":7}]` }, "list of files"},
	} {
		b := newBuilder()
		tt.bend(b)
		img, err := parse(b.bytes())
		if _, ok := errors.AsType[*FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Parse = %v, %v, want a FormatError with %q", name, img != nil, err, tt.want)
		}
	}
}

// TestParseCut cuts an image everywhere.
func TestParseCut(t *testing.T) {
	raw := newBuilder().bytes()
	for n := 0; n < len(raw); n += step(n, len(raw)) {
		for name, b := range map[string][]byte{"cut": raw[:n], "cut and sealed": sealed(raw[:n])} {
			_, err := parse(b)
			if _, ok := errors.AsType[*FormatError](err); !ok && (name == "cut" || err != nil) {
				t.Fatalf("%s at %#x of %#x: Parse = %v, want a FormatError", name, n, len(raw), err)
			}
		}
	}
}

// step goes byte by byte through the structures at a file's start and end, and
// in strides through the rest.
func step(n, size int) int {
	if n < 0x300 || n > size-0x600 || n >= PayloadOffset+bootinfo.HeaderOffset && n < PayloadOffset+bootinfo.HeaderOffset+int(bootinfo.HeaderSize) {
		return 1
	}
	return 211
}

// TestParseFlipped flips bits everywhere. The checksum finds them all; sealed
// again, the image may do, but may not make Parse fail in another way.
func TestParseFlipped(t *testing.T) {
	raw := newBuilder().bytes()
	whole := len(raw) - int(trailerSize)
	for n := 0; n < len(raw); n += step(n, len(raw)) {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(raw)
			b[n] ^= bit
			if _, err := parse(b); !isFormatError(err) {
				t.Fatalf("byte %#x ^ %#x: Parse = %v, want a FormatError", n, bit, err)
			}
			if n < whole {
				if _, err := parse(sealed(b[:whole])); err != nil && !isFormatError(err) {
					t.Fatalf("byte %#x ^ %#x, sealed: Parse = %v, want a FormatError or none", n, bit, err)
				}
			}
		}
	}
}

func isFormatError(err error) bool {
	_, ok := errors.AsType[*FormatError](err)
	return ok
}

// TestParseReadError keeps apart what the disk does and what the image is.
func TestParseReadError(t *testing.T) {
	raw := newBuilder().bytes()
	broken := errors.New("input/output error")
	for _, good := range []int{0, 64, 0x2000, len(raw) - 20} {
		r := &brokenReader{bytes.NewReader(raw), int64(good), broken}
		if _, err := Parse(r, int64(len(raw))); !errors.Is(err, broken) || isFormatError(err) {
			t.Errorf("a disk that fails behind byte %#x: Parse = %v, want %v", good, err, broken)
		}
	}
	if _, err := Trailer(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("Trailer = %v, want %v", err, broken)
	}
}

// A brokenReader fails from a place on.
type brokenReader struct {
	io.ReaderAt
	good int64
	err  error
}

// ReadAt implements io.ReaderAt.
func (r *brokenReader) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > r.good {
		return 0, r.err
	}
	return r.ReaderAt.ReadAt(b, off)
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	raw := newBuilder().bytes()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good, bad := write("good.img", raw), write("bad.img", raw[:len(raw)-1])
	if img, err := Open(good); err != nil || img.Manifest.Program != "/bin/hello" {
		t.Errorf("Open = %+v, %v", img, err)
	}
	if _, err := Open(bad); !isFormatError(err) || !strings.HasPrefix(err.Error(), bad+": ") {
		t.Errorf("Open(bad.img) = %v, want a FormatError that names the file", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open(none) = %v, want %v", err, os.ErrNotExist)
	}
	if _, err := Open(dir); err == nil || isFormatError(err) {
		t.Errorf("Open of a directory = %v, want an error that is not about the content", err)
	}
	// OpenUnchecked leaves a byte that only the checksum covers to Check.
	damaged := bytes.Clone(raw)
	damaged[len(raw)-1] ^= 1
	dent := write("dent.img", damaged)
	for path, sound := range map[string]bool{good: true, dent: false} {
		img, err := OpenUnchecked(path)
		if err != nil || img.Manifest.Program != "/bin/hello" || img.Files != nil {
			t.Errorf("OpenUnchecked(%s) = %+v, %v", path, img, err)
		}
		if err := Check(path); sound && err != nil || !sound && !isFormatError(err) {
			t.Errorf("Check(%s) = %v", path, err)
		}
	}
	if _, err := OpenUnchecked(write("text.img", []byte("text"))); !isFormatError(err) {
		t.Errorf("OpenUnchecked of a text = %v, want a FormatError", err)
	}
	for name, tt := range map[string]struct {
		b    []byte
		want bool
	}{
		"image":   {raw, true},
		"damaged": {raw[:0x2000], true},
		"short":   {raw[:0x1400], false},
		"ELF":     {raw[:PayloadOffset], false},
		"script":  {append([]byte("#!/bin/sh\n"), make([]byte, 0x2000)...), false},
		"no ELF":  {append([]byte("\x7fELG"), raw[4:]...), false},
		"empty":   {nil, false},
	} {
		if got, err := IsImage(write(name, tt.b)); got != tt.want || err != nil {
			t.Errorf("%s: IsImage = %v, %v, want %v", name, got, err, tt.want)
		}
	}
	for _, p := range []string{dir, filepath.Join(dir, "nothing")} {
		if got, err := IsImage(p); got || err == nil {
			t.Errorf("IsImage(%s) = %v, %v, want an error", p, got, err)
		}
	}
}

func TestFormatError(t *testing.T) {
	for _, tt := range []struct {
		err  FormatError
		want string
	}{
		{FormatError{0, "no PVH note", nil}, "not a sound Kiln image: no PVH note at offset 0x0"},
		{FormatError{0x40, "address", uint64(0x1000)}, "not a sound Kiln image: address at offset 0x40: 0x1000"},
		{FormatError{1, "version", 7}, "not a sound Kiln image: version at offset 0x1: 7"},
		{FormatError{2, "list", io.EOF}, "not a sound Kiln image: list at offset 0x2: EOF"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%#v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// FuzzParse reads an image with two places of it replaced, and cut at the end.
// An image that is taken is one that a monitor can load and metal can read.
func FuzzParse(f *testing.F) {
	raw := newBuilder().bytes()
	whole := len(raw) - int(trailerSize)
	const header = PayloadOffset + bootinfo.HeaderOffset
	f.Add(uint16(0), []byte(nil), uint16(0), []byte(nil), uint16(0))
	f.Add(uint16(0), []byte{1}, uint16(18), []byte{0x3e}, uint16(1))
	f.Add(uint16(64+24), []byte("\x00\x00\x20"), uint16(header+0x60), []byte{2}, uint16(0))
	f.Add(uint16(PayloadOffset+pageManifest*PageSize), []byte(`{"version":1}`), uint16(whole-64), []byte{7}, uint16(64))
	f.Fuzz(func(t *testing.T, at1 uint16, patch1 []byte, at2 uint16, patch2 []byte, cut uint16) {
		b := bytes.Clone(raw[:whole])
		copy(b[min(int(at1), whole):], patch1)
		copy(b[min(int(at2), whole):], patch2)
		b = b[:whole-min(int(cut), whole)]
		if _, err := parse(b); !isFormatError(err) {
			t.Fatalf("without a trailer: Parse = %v (%T), want a FormatError", err, err)
		}
		img, err := parse(sealed(b))
		switch {
		case err == nil:
			checkTaken(t, img)
		case !isFormatError(err):
			t.Fatalf("Parse = %v (%T), want a FormatError", err, err)
		}
	})
}

// checkTaken checks what docs/image.md promises of every image.
func checkTaken(t *testing.T, img *Image) {
	t.Helper()
	end := uint64(bootinfo.LoadBase)
	for i, s := range img.Segments {
		if s.Phys < end || s.Off < 0 || uint64(s.Off)+s.Size > uint64(img.Size) {
			t.Errorf("segment %d: %+v", i, s)
		}
		end = s.Phys + s.Size
	}
	h := img.Header
	if h.Image.Addr != bootinfo.LoadBase || h.Image.End() != end {
		t.Errorf("the image is %#x, its segments end at %#x", h.Image, end)
	}
	for _, r := range headerRanges(&h) {
		if r.Size != 0 && (r.Addr < bootinfo.LoadBase || r.End() > end || r.End() < r.Addr) {
			t.Errorf("%s is %#x, the image ends at %#x", r.name, r.Range, end)
		}
	}
	if img.Manifest.Version != ManifestVersion {
		t.Errorf("a manifest of version %d", img.Manifest.Version)
	}
}
