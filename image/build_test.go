package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"testing"

	"kiln/image/bootinfo"
)

// A builder makes images as docs/image.md has them, by code of its own: what
// bake writes is tested against the same document in package bake. Tests bend
// its fields, or the bytes that it gives.
type builder struct {
	ehdr     elf.Header64
	progs    []elf.Prog64
	note     []byte
	header   bootinfo.Header
	parts    []builtPart
	manifest string
	files    string // JSON; "" for no such section
}

// A builtPart is a part of the payload.
type builtPart struct {
	name  string
	flags uint32
	size  int // bytes, whole pages
	data  string
}

// Where the parts of the built image lie, in pages from bootinfo.LoadBase.
const (
	pageText = iota // two of them: the boot page and code
	_
	pageROData
	pageData
	pageTables // four
	_
	_
	_
	pageKernelText
	pageKernelData
	pageStrings
	pageManifest
	pageRootFS
	pageEnd
)

// testManifest is a manifest with every kind of field.
const testManifest = `{"version":1,"config":"hw_generic","program":"/bin/hello","args":["/bin/hello","-v"],"env":["A=1"],"memory":64,"ports":["8080:80"]}`

// testFiles is a list of files.
const testFiles = `[{"path":"/bin/hello","source":"program","size":7,"sha256":"00ff"},{"path":"/lib","source":"base","link":"usr/lib","size":0}]`

func phys(page int) uint64 { return bootinfo.LoadBase + uint64(page)*PageSize }

// newBuilder returns the builder of a small sound image.
func newBuilder() *builder {
	const r, w, x = bootinfo.SegmentRead, bootinfo.SegmentWrite, bootinfo.SegmentExec
	b := &builder{manifest: testManifest, files: testFiles}
	b.parts = []builtPart{
		{".metal.text", r | x, 2 * PageSize, ""}, {".metal.rodata", r, PageSize, "rodata"}, {".metal.data", r | w, PageSize, "data"},
		{".boottables", r | w, 4 * PageSize, "tables"}, {".kernel.text", r | x, PageSize, "text"}, {".kernel.data", r | w, PageSize, "kdata"},
		{".kernelargs", r, PageSize, "kiln\x00GOTRACEBACK=all\x00"}, {".manifest", r, PageSize, ""}, {".rootfs", r, PageSize, "erofs"},
	}
	b.header = bootinfo.Header{
		Magic: bootinfo.Magic, Version: bootinfo.Version, Size: bootinfo.HeaderSize,
		Image:       bootinfo.Range{Addr: bootinfo.LoadBase, Size: pageEnd * PageSize},
		BootTables:  bootinfo.Range{Addr: phys(pageTables), Size: 4 * PageSize},
		MetalText:   bootinfo.Range{Addr: phys(pageText), Size: 2 * PageSize},
		MetalROData: bootinfo.Range{Addr: phys(pageROData), Size: PageSize},
		MetalData:   bootinfo.Range{Addr: phys(pageData), Size: PageSize},
		KernelEntry: bootinfo.KernelBase + 0x40, SegmentCount: 2,
		KernelArgs: bootinfo.Range{Addr: phys(pageStrings), Size: 5},
		KernelEnv:  bootinfo.Range{Addr: phys(pageStrings) + 5, Size: 16},
		Manifest:   bootinfo.Range{Addr: phys(pageManifest)}, // its size is set by bytes
		RootFS:     bootinfo.Range{Addr: phys(pageRootFS), Size: PageSize},
	}
	b.header.Segments[0] = bootinfo.Segment{Virt: bootinfo.KernelBase, Phys: phys(pageKernelText), FileSize: PageSize, MemSize: 0x800, Flags: r | x}
	b.header.Segments[1] = bootinfo.Segment{Virt: bootinfo.KernelBase + 0x1000, Phys: phys(pageKernelData), FileSize: PageSize, MemSize: 0x9000, Flags: r | w}
	b.ehdr = elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: bootinfo.LoadBase,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	off := uint64(PayloadOffset)
	for _, q := range b.parts {
		addr := off - PayloadOffset + bootinfo.LoadBase
		b.progs = append(b.progs, elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: q.flags, Off: off, Vaddr: addr, Paddr: addr, Filesz: uint64(q.size), Memsz: uint64(q.size), Align: PageSize,
		})
		off += uint64(q.size)
	}
	b.note = []byte("\x04\x00\x00\x00\x04\x00\x00\x00\x12\x00\x00\x00Xen\x00\x00\x00\x10\x00")
	noteOff := uint64(64 + 56*(len(b.progs)+1))
	b.progs = append(b.progs, elf.Prog64{Type: uint32(elf.PT_NOTE), Flags: uint32(elf.PF_R), Off: noteOff, Filesz: 20, Memsz: 20, Align: 4})
	return b
}

// bytes returns the image.
func (b *builder) bytes() []byte {
	if b.header.Manifest.Size == 0 {
		b.header.Manifest.Size = uint64(len(b.manifest))
	}
	var payload bytes.Buffer
	names := []byte{0}
	sections := []elf.Section64{{}}
	add := func(name string, s elf.Section64) {
		s.Name = uint32(len(names))
		names = append(append(names, name...), 0)
		sections = append(sections, s)
	}
	for _, q := range b.parts {
		part := make([]byte, q.size)
		copy(part, q.data)
		switch q.name {
		case ".metal.text":
			copy(part[bootinfo.HeaderOffset:], encode(b.header))
		case ".manifest":
			copy(part, b.manifest)
		}
		add(q.name, elf.Section64{
			Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC), Addr: bootinfo.LoadBase + uint64(payload.Len()),
			Off: uint64(PayloadOffset + payload.Len()), Size: uint64(q.size),
		})
		payload.Write(part)
	}
	end := uint64(PayloadOffset + payload.Len())
	if b.files != "" {
		add(SectionFiles, elf.Section64{Type: uint32(elf.SHT_PROGBITS), Off: end, Size: uint64(len(b.files))})
	}
	add(".shstrtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: end + uint64(len(b.files)), Size: uint64(len(names) + len(".shstrtab") + 1)})
	h := b.ehdr
	h.Phnum, h.Shnum, h.Shstrndx = uint16(len(b.progs)), uint16(len(sections)), uint16(len(sections)-1)
	h.Shoff = (end + uint64(len(b.files)+len(names)) + 7) &^ 7

	out := append(append(encode(h), encode(b.progs)...), b.note...)
	out = append(out, make([]byte, PayloadOffset-len(out))...)
	out = append(append(append(out, payload.Bytes()...), b.files...), names...)
	out = append(out, make([]byte, h.Shoff-uint64(len(out)))...)
	return sealed(append(out, encode(sections)...))
}

// sealed returns b with the trailer that belongs to it.
func sealed(b []byte) []byte {
	trailer, err := Trailer(bytes.NewReader(b))
	if err != nil {
		panic(err) // memory can be read
	}
	return append(b[:len(b):len(b)], trailer...)
}

// encode returns v's bytes, little endian.
func encode(v any) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		panic(err) // v is of fixed size
	}
	return b.Bytes()
}

func parse(b []byte) (*Image, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

// mustUnmarshal decodes JSON of a test's own.
func mustUnmarshal(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(err)
	}
}
