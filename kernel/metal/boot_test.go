package main

import (
	"strings"
	"testing"

	"kiln/image/bootinfo"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/pvh"
	"kiln/kernel/metal/raw"
)

// TestStartInfo reads what a PVH loader passes (Xen, public/arch-x86/hvm/
// start_info.h).
func TestStartInfo(t *testing.T) {
	m := newMachine(t)
	m.resetState()
	memmap := object(m, [3]pvh.MemoryRange{
		{Addr: 0, Size: 0x9fc00, Type: pvh.TypeRAM}, {Addr: 0xf0000, Size: 0x10000, Type: 2}, {Addr: testRAM, Size: 8 << 20, Type: pvh.TypeRAM},
	})
	modules := object(m, [4]uint64{testRAM + 0x5000, 77})
	info := object(m, struct {
		magic, version, flags, modules uint32
		modlist, cmdline, rsdp, memmap uint64
		entries, _                     uint32
	}{0x336ec578, 1, 0, 1, uint64(modules), uint64(m.text("a=b quiet")), 0xe1230, uint64(memmap), 3, 0})
	readStartInfo(uint64(info))
	if ramCount != 2 || ram[1] != (bootinfo.Range{Addr: testRAM, Size: 8 << 20}) {
		t.Errorf("RAM: %d ranges, %+v", ramCount, ram[:2])
	}
	if got := string(cmdline[:cmdlineLen]); got != "a=b quiet" || rsdp != 0xe1230 || runConfig != (bootinfo.Range{Addr: testRAM + 0x5000, Size: 77}) || standalone {
		t.Errorf("command line %q, RSDP %#x, module %+v", got, rsdp, runConfig)
	}
}

// TestMultibootInfo reads what a Multiboot2 loader passes (specification 2.0,
// §3.6): the same, from a list of tags.
func TestMultibootInfo(t *testing.T) {
	m := newMachine(t)
	m.resetState()
	info := uint64(object(m, [...]uint32{
		100, 0, // size, reserved
		1, 8 + 4, 0x00746568, 0, // command line: "het", padded
		3, 16 + 2, testRAM + 0x7000, testRAM + 0x7010, 0x78, 0, // module, with a string
		6, 16 + 24, 24, 0, testRAM, 0, 8 << 20, 0, 1, 0, // memory map: one range of RAM
		0, 8, 0,
	}))
	readMultiboot(info)
	if ramCount != 1 || ram[0] != (bootinfo.Range{Addr: testRAM, Size: 8 << 20}) || !standalone {
		t.Errorf("RAM: %d ranges, %+v", ramCount, ram[0])
	}
	if got := string(cmdline[:cmdlineLen]); got != "het" || runConfig != (bootinfo.Range{Addr: testRAM + 0x7000, Size: 16}) {
		t.Errorf("command line %q, module %+v", got, runConfig)
	}
}

// TestBadStart: a machine that cannot boot says why.
func TestBadStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(m *simulated)
		want string
	}{
		{"PVH without a memory map", func(m *simulated) { readStartInfo(uint64(m.alloc(64))) }, "gave no memory map"},
		{"Multiboot2 without a memory map", func(m *simulated) { readMultiboot(uint64(m.alloc(64))) }, "the boot loader gave no memory map"},
		{"too little memory", func(m *simulated) {
			m.resetState()
			console.Init(com1)
			ram[0], ramCount = bootinfo.Range{Addr: testRAM, Size: testImage}, 1
			initFrames()
		}, "not enough memory for the image: give the machine more"},
		{"too many arguments", func(m *simulated) {
			stringPointers(make([]uintptr, 5), 1, bootinfo.Range{Addr: uint64(m.alloc(64)), Size: 64})
		}, "too many arguments for the kernel program"},
		{"no room for tables", func(m *simulated) { allocTable(frame.Size << (frame.MaxOrder + 1)) }, "not enough memory for metal's tables"},
		{"too many files", func(m *simulated) {
			for {
				serveString("/x", "y")
			}
		}, "metal serves more files than it has room for"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			if out := m.ends(bootFailed, func() { tt.do(m) }); !strings.HasPrefix(out, "kiln: cannot boot: ") || !strings.Contains(out, tt.want) {
				t.Errorf("the machine said %q, want %q", out, tt.want)
			}
		})
	}
}

// TestFreeMemory: the allocator gets all of RAM but the first megabyte, the
// image, the states of frames and the module, wherever these lie.
func TestFreeMemory(t *testing.T) {
	const mb = 1 << 20
	image := bootinfo.Range{Addr: testRAM, Size: testImage}
	for _, tt := range []struct {
		name   string
		module bootinfo.Range
	}{
		{"no module", bootinfo.Range{}},
		{"far behind the image", bootinfo.Range{Addr: testRAM + 20*mb + 5, Size: 3*mb + 17}},
		{"right behind the image", bootinfo.Range{Addr: testRAM + testImage, Size: 100}},
		{"in the states' place", bootinfo.Range{Addr: testRAM + testImage + 4096, Size: mb}},
		{"at the end", bootinfo.Range{Addr: testRAM + 31*mb, Size: mb}},
	} {
		m := newMachine(t)
		m.resetState()
		ram[0], ramCount = bootinfo.Range{Addr: testRAM, Size: 32 * mb}, 1
		runConfig = tt.module
		states := initFrames()
		taken := []bootinfo.Range{image, states, tt.module}
		count := uint64(1 << regionsOrder)
		for f := frames.Alloc(0); f != 0; f = frames.Alloc(0) {
			count++
			for _, r := range taken {
				if r.Size != 0 && uint64(f) < r.End() && uint64(f)+frame.Size > r.Addr {
					t.Fatalf("%s: frame %#x was given, which is in %+v", tt.name, f, r)
				}
			}
		}
		busy := map[uint64]bool{}
		for _, r := range taken {
			for a := r.Addr &^ (frame.Size - 1); a < r.End(); a += frame.Size {
				busy[a] = true
			}
		}
		if want := uint64(32*mb/frame.Size - len(busy)); count != want {
			t.Errorf("%s: %d frames were given, want %d", tt.name, count, want)
		}
		if m.Failed() {
			return
		}
	}
}

// TestRights: each page of the image has just the rights that it needs, in the
// direct map and where it is linked.
func TestRights(t *testing.T) {
	newMachine(t)
	for _, tt := range []struct {
		name  string
		va    uintptr
		flags uint64
	}{
		{"metal's text", bootinfo.MetalBase + testRAM + 0x1000, uint64(pteText)},
		{"metal's constants", bootinfo.MetalBase + testRAM + 0x3000, uint64(pteROData)},
		{"metal's data", bootinfo.MetalBase + testRAM + 0x5000, uint64(pteData)},
		{"metal's text in the direct map", directMapBase + testRAM + 0x1000, uint64(pteROData)},
		{"metal's data in the direct map", directMapBase + testRAM + 0x5000, uint64(pteData)},
		{"the root file system", directMapBase + testRAM + 0x100000, uint64(pteROData)},
		{"the kernel program's text", bootinfo.KernelBase + 0x1000, uint64(pteText)},
		{"the kernel program's data", bootinfo.KernelBase + 0x8000, uint64(pteData)},
		{"free memory", directMapBase + testRAM + testImage, uint64(pteData)},
	} {
		e, size := tables.Lookup(kernelRoot, tt.va)
		if e == nil {
			t.Errorf("%s is not mapped", tt.name)
			continue
		}
		got := uint64(*e) &^ (1<<52 - 1 - 0xfff)
		if size != frame.Size {
			got &^= 1 << 7 // the page is a large one
		}
		if got != tt.flags {
			t.Errorf("%s has flags %#x, want %#x", tt.name, got, tt.flags)
		}
	}
	for name, va := range map[string]uintptr{
		"the start of metal": bootinfo.MetalBase + testRAM, "behind RAM": directMapBase + testRAM + testRAMSize - testData,
		"the kernel program's bss": bootinfo.KernelBase + 0xa000,
	} {
		if _, ok := tables.Translate(kernelRoot, va); ok {
			t.Errorf("%s is mapped", name)
		}
	}
	if !kernelFault(bootinfo.KernelBase+0xa000, true) || kernelFault(bootinfo.KernelBase+0x2000, true) {
		t.Error("bss is given on demand, text is not written")
	}
}

// TestFloatModes: XSAVE mode takes what the CPU has, all of AVX-512 or none.
func TestFloatModes(t *testing.T) {
	for _, tt := range []struct{ has, want uint32 }{
		{0x2e7, 0xe7}, // x87 SSE AVX, AVX-512, PKRU
		{0x67, 0x07},  // a part of AVX-512
		{0x07, 0x07},
	} {
		m := newMachine(t)
		m.cpuid[13] = [4]uint32{tt.has, 832}
		xcr0 := uint64(0)
		cpuXCR0(&xcr0)
		c := &percpu{}
		initFloatMode(c, true)
		if c.xsave != 1 || c.xcr0 != uint64(tt.want) || xcr0 != uint64(tt.want) || c.kernelXCR0 != uint64(tt.want)&^1 {
			t.Errorf("of %#x, XCR0 is %#x, want %#x", tt.has, c.xcr0, tt.want)
		}
		if got := floatSize(c); got != 832 {
			t.Errorf("the area has %d bytes", got)
		}
		area := m.alloc(4096)
		initFloat(area)
		if *raw.At[uint16](area) != 0x37f || *raw.At[uint32](area + fxMXCSR) != 0x1f80 {
			t.Error("the initial state")
		}
	}
}
