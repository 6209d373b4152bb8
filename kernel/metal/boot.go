package main

import (
	"unsafe"

	"kiln/image/bootinfo"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/multiboot"
	"kiln/kernel/metal/pvh"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/region"
	"kiln/kernel/metal/vdso"
)

// maxRAM bounds the number of RAM ranges of the memory map.
const maxRAM = 32

var (
	ram      [maxRAM]bootinfo.Range
	ramCount int

	runConfig  bootinfo.Range // physical; what the monitor passed as a module
	rsdp       uint64
	cmdline    [4096]byte
	cmdlineLen int

	// standalone says that a boot loader started the image, not kiln run.
	standalone bool
)

// boot takes the machine from the boot stub to the kernel program's first
// instruction, and returns the thread that runs it. info is the physical
// address of what the loader passed, loader which kind of loader that is:
// bootinfo.MultibootMagic, or 0 for PVH.
func boot(info, loader uint64) *thread {
	cpu.Init()
	console.Init(com1)
	initClockStart()
	readHeader()
	if loader == bootinfo.MultibootMagic {
		readMultiboot(info)
	} else {
		readStartInfo(info)
	}
	c := &cpus[0]

	// On the boot page tables: memory below BootMapSize only.
	stateBytes := initFrames()
	if !mapMachine() {
		fatalBoot("not enough memory for page tables")
	}
	switchTables(c, stateBytes)

	if !initTables(c) {
		fatalBoot("not enough memory for the CPU's stacks")
	}
	if lack := initCPU(c); lack != "" {
		fatalBoot2("this CPU has no ", lack)
	}
	if floatSize(c) > frame.Size-fpOffset {
		fatalBoot("the CPU's floating point state is larger than a thread's area")
	}
	if !newIdle(c) {
		fatalBoot("not enough memory for the idle thread")
	}
	initAPIC()
	initClock()
	initFiles()
	t := startKernel()
	if t == nil {
		fatalBoot("not enough memory to start the kernel program")
	}
	t.state = threadRunning
	c.cur = t
	return t
}

// readHeader copies the boot header, which bake wrote at a fixed place.
func readHeader() {
	h := raw.At[bootinfo.Header](bootinfo.LoadBase + bootinfo.HeaderOffset)
	if h.Magic != bootinfo.Magic || h.Version != bootinfo.Version || h.Size != bootinfo.HeaderSize {
		fatalBoot("the image's boot header is not this metal's")
	}
	header = *h
	imageFrames = header.Image.Size / frame.Size
}

// readStartInfo notes the RAM, the command line and the module.
func readStartInfo(phys uint64) {
	info, ok := pvh.Open(phys, 0)
	if !ok {
		fatalBoot("the machine was not started by the PVH entry, or gave no memory map")
	}
	for i := range info.MemoryRanges() {
		r := info.MemoryRange(i)
		addRAM(r.Addr, r.Size, r.Type == pvh.TypeRAM)
	}
	cmdlineLen = info.Cmdline(cmdline[:])
	rsdp = info.RSDP()
	if m, ok := info.Module(); ok {
		runConfig = bootinfo.Range{Addr: m.Phys, Size: m.Size}
	}
}

// readMultiboot notes the same of what a Multiboot2 loader passed. It also
// means that nobody waits for this machine's end.
func readMultiboot(phys uint64) {
	info, ok := multiboot.Open(phys, 0)
	if !ok {
		fatalBoot("the boot loader gave no memory map")
	}
	for i := range info.MemoryRanges() {
		r := info.MemoryRange(i)
		addRAM(r.Addr, r.Size, r.Type == multiboot.TypeRAM)
	}
	cmdlineLen = info.Cmdline(cmdline[:])
	if addr, size, ok := info.Module(); ok {
		runConfig = bootinfo.Range{Addr: addr, Size: size}
	}
	standalone = true
}

// addRAM notes a range of the memory map.
func addRAM(addr, size uint64, usable bool) {
	if usable && ramCount < maxRAM {
		ram[ramCount] = bootinfo.Range{Addr: addr, Size: size}
		ramCount++
	}
}

// initFrames gives the page allocator the free RAM that the boot page tables
// map, and returns where its frame states are (physical).
func initFrames() bootinfo.Range {
	var top uint64
	for i := range ramCount {
		top = max(top, ram[i].End())
	}
	states := bootinfo.Range{Addr: header.Image.End(), Size: top / frame.Size}
	if runConfig.Addr < states.End() && runConfig.End() > states.Addr {
		// A boot loader puts the module behind the image.
		states.Addr = (runConfig.End() + frame.Size - 1) &^ (frame.Size - 1)
	}
	if !inRAM(states) || states.End() > bootinfo.BootMapSize {
		fatalBoot("not enough memory for the image: give the machine more (kiln run -M)")
	}
	frames.Init(0, raw.Bytes(uintptr(states.Addr), uintptr(states.Size)))
	tables.Init(&frames, 0, cpu.ClearPage)
	for i := range ramCount {
		addFree(ram[i].Addr, min(ram[i].End(), bootinfo.BootMapSize), states)
	}
	array := frames.Alloc(regionsOrder)
	if array == 0 {
		fatalBoot("not enough memory for the image: give the machine more (kiln run -M)")
	}
	regions.Init(unsafe.Slice(raw.At[region.Region](uintptr(array)), maxRegions))
	regionsPhys = array
	return states
}

// regionsOrder is the size of the region array in frames, as a power of two.
const regionsOrder = 5

var _ [frame.Size<<regionsOrder - maxRegions*unsafe.Sizeof(region.Region{})]byte

var regionsPhys frame.Addr

// inRAM reports whether a range lies wholly in one range of RAM.
func inRAM(r bootinfo.Range) bool {
	for i := range ramCount {
		if r.Addr >= ram[i].Addr && r.End() <= ram[i].End() {
			return true
		}
	}
	return false
}

// addFree gives the allocator what is free between start and end: not the
// first megabyte, the image, the frame states, or the module.
func addFree(start, end uint64, states bootinfo.Range) {
	busy := [...]bootinfo.Range{{Addr: 0, Size: 1 << 20}, header.Image, states, runConfig}
	for start < end {
		// The first busy range at or after start.
		cut, next := end, end
		for _, b := range busy {
			if b.Size != 0 && b.End() > start && b.Addr < cut {
				cut, next = max(b.Addr, start), b.End()
			}
		}
		if cut > start {
			frames.Add(start, cut)
		}
		start = max(next, start)
		if cut == end {
			return
		}
		start = (start + frame.Size - 1) &^ (frame.Size - 1)
	}
}

// switchTables leaves the boot page tables, and gives the allocator the rest
// of the memory.
func switchTables(c *percpu, states bootinfo.Range) {
	cpu.WriteMSR(cpu.MSREFER, cpu.ReadMSR(cpu.MSREFER)|cpu.EFERNoExecute)
	c.cr3 = uintptr(kernelRoot)
	cpu.WriteCR3(uint64(kernelRoot))
	directMap = directMapBase
	frames.Moved(directMap, raw.Bytes(directMap+uintptr(states.Addr), uintptr(states.Size)))
	tables.Moved(directMap)
	regions.Moved(unsafe.Slice(raw.At[region.Region](directMap+uintptr(regionsPhys)), maxRegions))
	for i := range ramCount {
		if end := ram[i].End(); end > bootinfo.BootMapSize {
			addFree(max(ram[i].Addr, bootinfo.BootMapSize), end, states)
		}
	}
	frames.Add(header.BootTables.Addr, header.BootTables.End())
	imageFrames -= header.BootTables.Size / frame.Size
	total := frames.Stats().Total
	setReserves(total)
}

// setReserves says what is kept back of total frames.
func setReserves(total uint64) {
	// Any system call that writes to a program may copy 2 MB of it, if these
	// are another process' since a fork: there is room for that in between.
	kernelFloor = min(max(512, total/64), 1024)
	userReserve = kernelFloor + min(max(512, total/64), total/8, 1024)
	plentyFrames = total / 8
}

// kernelStackSize is the first thread's stack, whose lowest 64 KB the Go
// runtime takes for granted (runtime.rt0_go).
const kernelStackSize = 256 << 10

// startKernel makes the thread that runs the kernel program, with the stack
// that Linux gives a new process (System V ABI, AMD64 supplement, §3.4.1).
func startKernel() *thread {
	t := newThread()
	if t == nil {
		return nil
	}
	stackNext += frame.Size // guard
	base := stackNext
	stackNext += kernelStackSize
	if !regions.Set(base, stackNext, region.Read|region.Write) {
		return nil
	}
	sp := buildStack(base, stackNext)
	t.kind = kindTrap
	t.regs.RIP = header.KernelEntry
	t.regs.RSP = uint64(sp)
	t.regs.CS, t.regs.SS = selKernelCode, selKernelData
	t.regs.RFLAGS = alwaysFlags
	return t
}

// Auxiliary vector types.
const (
	maxKernelWords = 512 // of argv and envp
)

// buildStack writes argc, argv, envp and the auxiliary vector at the top of a
// stack, and returns the stack pointer. It runs after switchTables, so that
// touching the stack brings its pages in.
func buildStack(base, top uintptr) uintptr {
	prefault(top-4*frame.Size, top)
	random := top - 16
	for i := range uintptr(2) {
		*raw.At[uint64](random + 8*i) = entropy.Word()
	}
	var words [maxKernelWords]uintptr
	n := 1
	n, argc := stringPointers(words[:], n, header.KernelArgs)
	words[0] = uintptr(argc)
	words[n] = 0
	n, _ = stringPointers(words[:], n+1, header.KernelEnv)
	words[n] = 0
	n++
	aux := [...][2]uintptr{
		{linux.AT_PAGESZ, frame.Size},
		{linux.AT_ENTRY, uintptr(header.KernelEntry)},
		{linux.AT_UID, 0}, {linux.AT_EUID, 0}, {linux.AT_GID, 0}, {linux.AT_EGID, 0}, {linux.AT_SECURE, 0},
		{linux.AT_RANDOM, random},
		{linux.AT_SYSINFO_EHDR, newVDSO()},
		{linux.AT_NULL, 0},
	}
	size := uintptr(n+2*len(aux)) * 8
	sp := (random - size) &^ 15
	p := sp
	for _, w := range words[:n] {
		*raw.At[uintptr](p) = w
		p += 8
	}
	for _, a := range aux {
		*raw.At[uintptr](p) = a[0]
		*raw.At[uintptr](p + 8) = a[1]
		p += 16
	}
	return sp
}

// newVDSO returns the address of the image that has the runtime find the clock.
func newVDSO() uintptr {
	base := allocPages(0)
	if base == 0 {
		fatalMemory()
	}
	vdso.Build(base, vdsoPC)
	return base
}

// stringPointers appends the addresses of the NUL-terminated strings in r to
// words from index n, and returns the next index and how many there were.
func stringPointers(words []uintptr, n int, r bootinfo.Range) (int, int) {
	count := 0
	start := directMap + uintptr(r.Addr)
	for p := start; p < directMap+uintptr(r.End()); p++ {
		if *raw.At[byte](p) == 0 {
			if n+4 > len(words) {
				fatalBoot("too many arguments for the kernel program")
			}
			words[n] = start
			n++
			count++
			start = p + 1
		}
	}
	return n, count
}

// prefault brings in kernel memory, for use where a fault would be one in
// metal before metal is ready for them.
func prefault(start, end uintptr) {
	for p := start; p < end; p += frame.Size {
		if !kernelFault(p, true) {
			fatalMemory()
		}
	}
}
