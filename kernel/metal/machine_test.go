package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"kiln/image/bootinfo"
	"kiln/image/ending"
	"kiln/kernel/metal/apic"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/frame"
	"kiln/kernel/metal/hostfile"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/queue"
	"kiln/kernel/metal/random"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/region"
	"kiln/kernel/metal/serial"
	"kiln/kernel/metal/spin"
)

// The machine that the tests run metal on: RAM is memory of the test process,
// mapped at its own physical address, as on the boot page tables; page tables
// are real, but no CPU walks them; instructions are functions that note what
// they were asked. What the kernel program would have at addresses of its own
// lies in the same RAM.
const (
	testRAM     = 0x10000000 // physical, and where the process has it
	testRAMSize = 64 << 20
	testImage   = 2 << 20 // the image, at the start of RAM
	testData    = 8 << 20 // data of the kernel program, at the end of RAM
)

// ramMemory maps the RAM once for all tests.
var ramMemory = func() []byte {
	addr, _, errno := syscall.Syscall6(syscall.SYS_MMAP, testRAM, testRAMSize,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON|0x100000, ^uintptr(0), 0) // MAP_FIXED_NOREPLACE
	if errno != 0 || addr != testRAM {
		panic(fmt.Sprintf("no memory at %#x for the tests' RAM: %v", testRAM, errno))
	}
	return raw.Bytes(testRAM, testRAMSize)
}()

// simulated is the machine of one test.
type simulated struct {
	*testing.T
	t       *thread // the running thread
	next    uintptr // free data of the kernel program
	tsc     uint64
	msrs    map[uint32]uint64
	cpuid   map[uint32][4]uint32
	cr3     uint64
	cr2     uint64
	flushed []uintptr // pages whose TLB entries were dropped
	out     []byte    // what the serial port sent
	in      []byte    // what it receives
	latch   bool      // its data register is the divisor
	ioapic  uintptr   // registers: every one reads as what was written last
}

// ioapicWindow is where the I/O APIC shows the register that was chosen.
func (m *simulated) ioapicWindow() *uint32 { return raw.At[uint32](m.ioapic + 0x10) }

// ended is what ends a test's machine, with a code.
type ended uint8

// newMachine boots a machine as far as a machine without a CPU boots: memory,
// page tables, files, the idle thread and one thread of the kernel program.
func newMachine(t *testing.T) *simulated {
	m := &simulated{T: t, msrs: map[uint32]uint64{}, cpuid: map[uint32][4]uint32{}, tsc: 1000}
	clear(ramMemory)
	m.connectCPU()
	m.resetState()
	m.writeImage()
	m.next = testRAM + testRAMSize - testData
	ram[0] = bootinfo.Range{Addr: testRAM, Size: testRAMSize - testData}
	ramCount = 1
	initFrames()
	if !mapMachine() {
		t.Fatal("mapMachine")
	}
	c := &cpus[0]
	c.cr3 = uintptr(kernelRoot)
	setReserves(frames.Stats().Total)
	if lack := initCPU(c); lack != "" {
		t.Fatalf("the CPU has no %s", lack)
	}
	if !initTables(c) || !newIdle(c) {
		t.Fatal("no memory for stacks")
	}
	// An APIC without registers in memory, and an I/O APIC whose are.
	m.ioapic = m.alloc(32)
	*m.ioapicWindow() = 23 << 16 // the version register: 24 inputs
	ioAPIC.Init(m.ioapic)
	deadlineOK = true
	clock.tscBase, clock.mult, clock.tickMult = 1000, 1<<32, 1<<32 // 1 GHz
	console.Init(com1)
	m.out = nil
	initFiles()
	stackNext = m.alloc(2 * kernelStackSize)
	m.t = startKernel()
	m.t.state = threadRunning
	c.cur = m.t
	return m
}

// resetState makes metal's variables what they are when a machine starts.
func (m *simulated) resetState() {
	ram, ramCount, runConfig, rsdp, cmdlineLen, standalone = [maxRAM]bootinfo.Range{}, 0, bootinfo.Range{}, 0, 0, false
	frames, tables, regions, kernelRoot, directMap = frame.Allocator{}, pagetable.Tables{}, region.Map{}, 0, 0
	mmapNext, mmioNext, stackNext = mmapBase, mmioBase, stackBase
	promisedFrames, belowFloor, programFrames = 0, 0, 0
	threads, threadTop, threadLive = [maxThreads]*thread{}, 0, 0
	runnable, deadlines, futexes, sliceEnd, armed = queue.Run{}, queue.Deadlines{}, queue.Futexes{}, 0, 0
	files, irqs, console, entropy = hostfile.Table{}, [len(irqs)]*hostfile.File{}, serial.Port{}, random.Source{}
	actions, cpus, tss, clock = [signalCount]signalAction{}, [maxCPUs]percpu{}, [maxCPUs]taskState{}, clockState{}
	localAPIC, ioAPIC, apicHz, apicMult, deadlineOK = apic.Local{}, apic.IO{}, 0, 0, false
	metalLock, reporting = spin.Lock{}, false
}

// writeImage lays an image at the start of RAM: pages of metal's, a text and a
// data segment of the kernel program's, a manifest and a root file system.
func (m *simulated) writeImage() {
	at := func(off, size uint64) bootinfo.Range { return bootinfo.Range{Addr: testRAM + off, Size: size} }
	header = bootinfo.Header{
		Image:     at(0, testImage),
		MetalText: at(0x1000, 0x2000), MetalROData: at(0x3000, 0x1000), MetalData: at(0x4000, 0x2000),
		BootTables: at(0x6000, 0x4000), KernelEntry: bootinfo.KernelBase + 0x1000, SegmentCount: 2,
		KernelArgs: at(0x20000, 10), KernelEnv: at(0x20100, 6),
		Manifest: at(0x21000, 12), RootFS: at(0x100000, 0x80000),
	}
	header.Segments[0] = bootinfo.Segment{Virt: bootinfo.KernelBase + 0x1000, Phys: testRAM + 0x10000,
		FileSize: 0x3000, MemSize: 0x3000, Flags: bootinfo.SegmentRead | bootinfo.SegmentExec}
	header.Segments[1] = bootinfo.Segment{Virt: bootinfo.KernelBase + 0x8000, Phys: testRAM + 0x18000,
		FileSize: 0x1800, MemSize: 0x9000, Flags: bootinfo.SegmentRead | bootinfo.SegmentWrite}
	copy(ramMemory[0x20000:], "kiln\x00-x\x00y\x00")
	copy(ramMemory[0x20100:], "A=b\x00c\x00")
	copy(ramMemory[0x21000:], "the manifest")
	imageFrames = testImage / frame.Size
}

// connectCPU makes the instructions those of the simulated machine.
func (m *simulated) connectCPU() {
	m.cpuid[0] = [4]uint32{7, 0, 0, 0}
	m.cpuid[1] = [4]uint32{2: 1<<21 | 1<<24, 3: 1 << 13}
	m.cpuid[0x80000001] = [4]uint32{3: 1 << 11}
	m.cpuid[7] = [4]uint32{1: 1<<0 | 1<<7 | 1<<20, 2: 1 << 2}
	cpu.Pause = func() {}
	cpu.TSC = func() uint64 { m.tsc += 10; return m.tsc }
	cpu.CPUID = func(leaf, _ uint32) (a, b, c, d uint32) {
		r := m.cpuid[leaf]
		return r[0], r[1], r[2], r[3]
	}
	cpu.ReadMSR = func(n uint32) uint64 { return m.msrs[n] }
	cpu.WriteMSR = func(n uint32, v uint64) { m.msrs[n] = v }
	cpu.ReadCR0 = func() uint64 { return 0 }
	cpu.WriteCR0 = func(uint64) {}
	cpu.ReadCR4 = func() uint64 { return 0 }
	cpu.WriteCR4 = func(uint64) {}
	cpu.ReadCR3 = func() uint64 { return m.cr3 }
	cpu.WriteCR3 = func(v uint64) { m.cr3 = v }
	cpu.ReadCR2 = func() uint64 { return m.cr2 }
	cpu.ReadDR6 = func() uint64 { return 0x4001 }
	cpu.WriteDR6 = func(uint64) {}
	cpu.SetXCR0 = func(uint64) {}
	cpu.ReadXCR0 = func() uint64 { return 7 }
	cpu.Invalidate = func(va uintptr) { m.flushed = append(m.flushed, va) }
	cpu.ClearPage = func(p uintptr) {
		if p >= testRAM && p < testRAM+testRAMSize {
			clear(raw.Bytes(p, frame.Size))
		}
	}
	cpu.LoadGDT = func(uintptr, uint16, uint16) {}
	cpu.LoadIDT = func(uintptr) {}
	cpu.LoadTR = func(uint16) {}
	cpu.LoadLDT = func(uint16) {}
	cpu.Halt = func() { panic(ended(0xff)) }
	cpu.In8 = m.inByte
	cpu.Out8 = m.outByte
	cpu.Out16 = func(uint16, uint16) {}
}

// inByte and outByte are COM1 and the debug exit device.
func (m *simulated) inByte(port uint16) uint8 {
	switch port - com1 {
	case 0:
		c := m.in[0]
		m.in = m.in[1:]
		return c
	case 5:
		if len(m.in) > 0 {
			return 0x61
		}
		return 0x60
	case 7:
		return 0x5a
	}
	return 0
}

func (m *simulated) outByte(port uint16, v uint8) {
	switch port {
	case com1:
		if !m.latch { // else it is the divisor
			m.out = append(m.out, v)
		}
	case com1 + 3:
		m.latch = v&0x80 != 0
	case ending.Port:
		panic(ended(v))
	}
}

// ends runs f, which must end the machine with a code, and returns what the
// machine said.
func (m *simulated) ends(code uint8, f func()) string {
	m.Helper()
	m.out = nil
	func() {
		defer func() {
			got, ok := recover().(ended)
			if !ok || uint8(got) != code && code != bootFailed {
				m.Errorf("the machine ended with %v, want code %#x", got, code)
			}
		}()
		f()
	}()
	return strings.ReplaceAll(string(m.out), "\r\n", "\n")
}

// alloc returns zeroed memory of the kernel program's.
func (m *simulated) alloc(size uintptr) uintptr {
	p := m.next
	m.next += (size + 63) &^ 63
	if m.next > testRAM+testRAMSize {
		m.Fatal("no more data")
	}
	return p
}

// object returns the address of a copy of v in the kernel program's memory.
func object[T any](m *simulated, v T) uintptr {
	p := m.alloc(unsafe.Sizeof(v))
	*raw.At[T](p) = v
	return p
}

// text returns the address of a NUL-terminated string.
func (m *simulated) text(s string) uintptr {
	p := m.alloc(uintptr(len(s) + 1))
	copy(raw.Bytes(p, uintptr(len(s))), s)
	return p
}

// noResult is what call returns if the thread blocks or ends.
const noResult = blocked

// call makes a hostcall of the running thread. If another thread runs then,
// there is no result.
func (m *simulated) call(nr uint64, args ...uintptr) int64 {
	m.Helper()
	t := m.t
	r := &t.regs
	r.RAX, r.OrigRAX = nr, nr
	for i, p := range []*uint64{&r.RDI, &r.RSI, &r.RDX, &r.R10, &r.R8, &r.R9} {
		*p = 0
		if i < len(args) {
			*p = uint64(args[i])
		}
	}
	t.kind = kindCall
	m.run(hostcall(t))
	if m.t != t {
		return noResult
	}
	return int64(r.RAX)
}

// run makes t the thread that runs. One that is to make its call again does.
func (m *simulated) run(t *thread) {
	m.t, thisCPU().cur = t, t
	if t.state != threadRunning || metalLock != (spin.Lock{}) {
		m.Fatalf("a thread in state %d runs, or metal is locked", t.state)
	}
}

// want fails the test if a call's result is not as expected.
func (m *simulated) want(what string, got, want int64) {
	m.Helper()
	if got != want {
		m.Errorf("%s = %d, want %d", what, got, want)
	}
}

// interrupt has a vector interrupt the running thread.
func (m *simulated) interrupt(vector uint64) {
	m.Helper()
	if m.t.kind != kindUser {
		m.t.kind = kindTrap
	}
	m.run(trap(m.t, vector, 0))
}

// used counts the page frames that are not free.
func used() uint64 {
	s := frames.Stats()
	return s.Total - s.Free
}

// bootFailed stands for the code of a machine that could not boot: its line is
// what counts.
const bootFailed = 0xff

// cpuXCR0 makes XCR0 the variable x.
func cpuXCR0(x *uint64) {
	cpu.SetXCR0 = func(v uint64) { *x = v }
	cpu.ReadXCR0 = func() uint64 { return *x }
}
