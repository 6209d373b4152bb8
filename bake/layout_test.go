package bake

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"kiln/image"
	"kiln/image/bootinfo"
)

// testMetal returns a program that is linked as metal is, with a bss.
func testMetal() *program {
	const base = bootinfo.MetalBase + bootinfo.LoadBase
	fill := func(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }
	return &program{
		entry: base + 0x1040,
		funcs: bootinfo.Range{Addr: base + 0x3100, Size: 0x80},
		segments: []segment{
			{base, fill('t', 0x2345), 0x2345, bootinfo.SegmentRead | bootinfo.SegmentExec},
			{base + 0x3000, fill('r', 0x800), 0x800, bootinfo.SegmentRead},
			{base + 0x5000, fill('d', 0x100), 0x2100, bootinfo.SegmentRead | bootinfo.SegmentWrite},
		},
	}
}

// testKernel returns a program that is linked as the kernel program is.
func testKernel() *program {
	const base = bootinfo.KernelBase
	return &program{
		entry: base + 0x1234,
		funcs: bootinfo.Range{Addr: base + 0x20000, Size: 0x1000},
		segments: []segment{
			{base, bytes.Repeat([]byte{'T'}, 0x1801), 0x1801, bootinfo.SegmentRead | bootinfo.SegmentExec},
			{base + 0x10000, bytes.Repeat([]byte{'R'}, 0x2000), 0x2000, bootinfo.SegmentRead},
			{base + 0x30000, bytes.Repeat([]byte{'D'}, 0x10), 0x40000, bootinfo.SegmentRead | bootinfo.SegmentWrite},
		},
	}
}

func testContents() contents {
	rootFS := bytes.Repeat([]byte{'F'}, 3*pageSize)
	return contents{
		metal: testMetal(), kernel: testKernel(),
		args: []string{"kiln", "a b"}, env: []string{"GOTRACEBACK=all"},
		manifest: []byte(`{"version":1}`),
		rootFS:   bytes.NewBuffer(rootFS), rootSize: uint64(len(rootFS)),
	}
}

// memory returns what a monitor puts at bootinfo.LoadBase for p.
func memory(t *testing.T, p *payload) []byte {
	t.Helper()
	b := make([]byte, p.end-bootinfo.LoadBase)
	for _, q := range p.parts {
		var content bytes.Buffer
		if err := q.write(&content); err != nil {
			t.Fatalf("%s: %v", q.name, err)
		}
		if uint64(content.Len()) != q.size {
			t.Errorf("%s wrote %d bytes, its size is %d", q.name, content.Len(), q.size)
		}
		copy(b[q.phys-bootinfo.LoadBase:], content.Bytes())
	}
	return b
}

func mustLayOut(t *testing.T, c contents) *payload {
	t.Helper()
	p, err := layOut(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLayOutPlaces checks where the parts lie: in the order that package
// bootinfo documents, on page boundaries, without overlap, and metal where it
// is linked.
func TestLayOutPlaces(t *testing.T) {
	p := mustLayOut(t, testContents())
	want := []string{
		".metal.text", ".metal.rodata", ".metal.data", ".boottables",
		".kernel.text", ".kernel.rodata", ".kernel.data", ".kernelargs", ".manifest", ".rootfs",
	}
	var got []string
	end := uint64(bootinfo.LoadBase)
	for _, q := range p.parts {
		got = append(got, q.name)
		if q.phys%pageSize != 0 {
			t.Errorf("%s lies at %#x, not on a page boundary", q.name, q.phys)
		}
		// Metal alone has its places from its linker; all else follows.
		if q.phys < end || q.phys != end && !strings.HasPrefix(q.name, ".metal") {
			t.Errorf("%s lies at %#x, what is before it ends at %#x", q.name, q.phys, end)
		}
		end = pageUp(q.phys + q.size)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the parts are %q, want %q", got, want)
	}
	if p.end != end || p.header.Image != (bootinfo.Range{Addr: bootinfo.LoadBase, Size: end - bootinfo.LoadBase}) {
		t.Errorf("the image is %#x and ends at %#x, want it to end at %#x", p.header.Image, p.end, end)
	}
	for i, s := range testMetal().segments {
		if q := p.parts[i]; q.phys != s.virt-bootinfo.MetalBase || q.size != s.size {
			t.Errorf("%s lies at %#x, %#x bytes, want %#x and %#x", q.name, q.phys, q.size, s.virt-bootinfo.MetalBase, s.size)
		}
	}
}

// TestLayOutHeader looks where the header points.
func TestLayOutHeader(t *testing.T) {
	c := testContents()
	p := mustLayOut(t, c)
	mem := memory(t, p)
	at := func(r bootinfo.Range) string {
		return string(mem[r.Addr-bootinfo.LoadBase : r.End()-bootinfo.LoadBase])
	}
	h := p.header
	if stored := mem[bootinfo.HeaderOffset:][:bootinfo.HeaderSize]; !bytes.Equal(stored, image.MarshalHeader(&h)) {
		t.Error("the header in the boot page is not the payload's")
	}
	for _, tt := range []struct{ name, got, want string }{
		{"arguments", at(h.KernelArgs), "kiln\x00a b\x00"},
		{"environment", at(h.KernelEnv), "GOTRACEBACK=all\x00"},
		{"manifest", at(h.Manifest), `{"version":1}`},
		{"root file system", at(h.RootFS), strings.Repeat("F", 3*pageSize)},
		{"metal's text behind the boot page", at(h.MetalText)[pageSize:], strings.Repeat("t", 0x2345-pageSize)},
		{"metal's read-only data", at(h.MetalROData), strings.Repeat("r", 0x800)},
		{"metal's data and bss", at(h.MetalData), strings.Repeat("d", 0x100) + strings.Repeat("\x00", 0x2000)},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %.40q…, want %.40q…", tt.name, tt.got, tt.want)
		}
	}
	if h.KernelEntry != c.kernel.entry || h.KernelFuncs != c.kernel.funcs || h.MetalFuncs != c.metal.funcs {
		t.Errorf("entry %#x, functions %#x and %#x, want the programs' own", h.KernelEntry, h.KernelFuncs, h.MetalFuncs)
	}
	if h.SegmentCount != uint64(len(c.kernel.segments)) {
		t.Fatalf("%d kernel segments, want %d", h.SegmentCount, len(c.kernel.segments))
	}
	for i, s := range c.kernel.segments {
		got := h.Segments[i]
		if got.Virt != s.virt || got.MemSize != s.size || got.Flags != s.flags || got.FileSize != pageUp(uint64(len(s.data))) {
			t.Errorf("kernel segment %d is %#x, want it for %#x, %#x bytes", i, got, s.virt, s.size)
		}
		want := string(s.data) + strings.Repeat("\x00", int(got.FileSize)-len(s.data))
		if at(bootinfo.Range{Addr: got.Phys, Size: got.FileSize}) != want {
			t.Errorf("kernel segment %d at %#x is not the program's, filled with zeros", i, got.Phys)
		}
	}
}

// TestLayOutBare lays out a kernel program without a root file system.
func TestLayOutBare(t *testing.T) {
	c := testContents()
	c.rootFS, c.rootSize = nil, 0
	p := mustLayOut(t, c)
	if p.header.RootFS != (bootinfo.Range{}) {
		t.Errorf("the root file system is %#x, want none", p.header.RootFS)
	}
	if last := p.parts[len(p.parts)-1]; last.name != ".manifest" {
		t.Errorf("the last part is %s, want .manifest", last.name)
	}
}

func TestLayOutBadMetal(t *testing.T) {
	for name, bend := range map[string]func(*program){
		"overlap":      func(m *program) { m.segments[1].virt = m.segments[0].virt + 0x2000 },
		"second text":  func(m *program) { m.segments[1].flags = bootinfo.SegmentRead | bootinfo.SegmentExec },
		"write and go": func(m *program) { m.segments[2].flags |= bootinfo.SegmentExec },
	} {
		c := testContents()
		bend(c.metal)
		if p, err := layOut(c); err == nil {
			t.Errorf("%s: layOut gave %#x, want an error", name, p.header)
		}
	}
}

// translate walks the page tables in mem as the processor does (Intel SDM
// vol. 3A §4.5.4). ok is false if there is no translation.
func translate(mem []byte, cr3, addr uint64) (phys uint64, ok bool) {
	table := cr3
	for shift := 39; ; shift -= 9 {
		if table < bootinfo.LoadBase || table-bootinfo.LoadBase+pageSize > uint64(len(mem)) {
			return 0, false
		}
		entry := binary.LittleEndian.Uint64(mem[table-bootinfo.LoadBase+addr>>shift&511*8:])
		if entry&ptePresent == 0 {
			return 0, false
		}
		const addrMask = 0x000ffffffffff000
		if mask := uint64(1)<<shift - 1; shift == 12 || shift <= 30 && entry&pteLarge != 0 {
			return entry&addrMask&^mask | addr&mask, true
		}
		table = entry & addrMask
	}
}

// TestBootTables walks the tables that the stub loads: it must run on where it
// is, and metal must be found where it is linked.
func TestBootTables(t *testing.T) {
	p := mustLayOut(t, testContents())
	mem := memory(t, p)
	cr3 := p.header.BootTables.Addr
	if p.header.BootTables.Size != 4*pageSize {
		t.Errorf("the boot page tables have %#x bytes, want four pages", p.header.BootTables.Size)
	}
	const last = bootinfo.BootMapSize - 1
	for addr, want := range map[uint64]uint64{
		0:                               0,
		bootinfo.LoadBase:               bootinfo.LoadBase, // the stub itself, once paging is on
		cr3:                             cr3,
		0x1fffff:                        0x1fffff,
		0x200000:                        0x200000,
		last:                            last,
		bootinfo.MetalBase:              0,
		testMetal().entry:               testMetal().entry - bootinfo.MetalBase,
		bootinfo.MetalBase + 0x12345678: 0x12345678,
		bootinfo.MetalBase + last:       last,
	} {
		if got, ok := translate(mem, cr3, addr); !ok || got != want {
			t.Errorf("%#x is physical %#x (%v), want %#x", addr, got, ok, want)
		}
	}
	for _, addr := range []uint64{
		bootinfo.BootMapSize, 1 << 39, 1 << 46, 0xffff800000000000, bootinfo.MetalBase - 1,
		bootinfo.MetalBase + bootinfo.BootMapSize, bootinfo.KernelBase + bootinfo.BootMapSize, 1<<64 - 1,
	} {
		if got, ok := translate(mem, cr3, addr); ok {
			t.Errorf("%#x is physical %#x, want no translation", addr, got)
		}
	}
}

func TestCStrings(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want string
	}{
		{nil, ""},
		{[]string{""}, "\x00"},
		{[]string{"a", "", "b c"}, "a\x00\x00b c\x00"},
	} {
		if got := string(cStrings(tt.in)); got != tt.want {
			t.Errorf("cStrings(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
