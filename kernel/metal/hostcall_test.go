package main

import (
	"math/rand/v2"
	"testing"

	"kiln/kernel/metal/abi"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/raw"
)

// TestStart looks at what the kernel program's first thread finds.
func TestStart(t *testing.T) {
	m := newMachine(t)
	sp := uintptr(m.t.regs.RSP)
	words := func(i uintptr) uintptr { return *raw.At[uintptr](sp + 8*i) }
	str := func(p uintptr) string {
		n := uintptr(0)
		for *raw.At[byte](p + n) != 0 {
			n++
		}
		return string(raw.Bytes(p, n))
	}
	if sp%16 != 0 || words(0) != 3 || str(words(1)) != "kiln" || str(words(2)) != "-x" || str(words(3)) != "y" || words(4) != 0 {
		t.Errorf("stack %#x: argc %d, argv[0] %q", sp, words(0), str(words(1)))
	}
	if str(words(5)) != "A=b" || str(words(6)) != "c" || words(7) != 0 {
		t.Errorf("envp: %q", str(words(5)))
	}
	aux := map[uintptr]uintptr{}
	for i := uintptr(8); words(i) != linux.AT_NULL; i += 2 {
		aux[words(i)] = words(i + 1)
	}
	if aux[linux.AT_PAGESZ] != 4096 || aux[linux.AT_ENTRY] != uintptr(header.KernelEntry) ||
		*raw.At[uint64](aux[linux.AT_RANDOM]) == 0 || string(raw.Bytes(aux[linux.AT_SYSINFO_EHDR], 4)) != "\x7fELF" {
		t.Errorf("auxiliary vector: %#x", aux)
	}
}

// TestCalls makes each call once that needs no more than its arguments.
func TestCalls(t *testing.T) {
	m := newMachine(t)
	buf := m.alloc(4096)
	word := func() uint64 { return *raw.At[uint64](buf) }
	for _, tt := range []struct {
		name string
		nr   uint64
		args []uintptr
		want int64
	}{
		{"brk", linux.SYS_BRK, nil, 0},
		{"munlock", linux.SYS_MUNLOCK, nil, 0},
		{"getpid", linux.SYS_GETPID, nil, 1},
		{"getppid", linux.SYS_GETPPID, nil, 1},
		{"gettid", linux.SYS_GETTID, nil, 1},
		{"sched_yield", linux.SYS_SCHED_YIELD, nil, 0},
		{"uname", linux.SYS_UNAME, []uintptr{buf}, 0},
		{"getcwd", linux.SYS_GETCWD, []uintptr{buf, 10}, 2},
		{"getcwd without room", linux.SYS_GETCWD, []uintptr{buf, 1}, -linux.ERANGE},
		{"getrlimit", linux.SYS_GETRLIMIT, []uintptr{7, buf}, 0},
		{"prlimit64", linux.SYS_PRLIMIT64, []uintptr{0, 7, 0, buf}, 0},
		{"prlimit64 for nothing", linux.SYS_PRLIMIT64, []uintptr{0, 7, 0, 0}, 0},
		{"getrusage", linux.SYS_GETRUSAGE, []uintptr{0, buf}, 0},
		{"getrandom", linux.SYS_GETRANDOM, []uintptr{buf, 16, 0}, 16},
		{"sched_getaffinity", linux.SYS_SCHED_GETAFFINITY, []uintptr{0, 8, buf}, 8},
		{"sched_getaffinity without room", linux.SYS_SCHED_GETAFFINITY, []uintptr{0, 4, buf}, -linux.EINVAL},
		{"clock_getres", linux.SYS_CLOCK_GETRES, []uintptr{1, buf}, 0},
		{"clock_gettime of no clock", linux.SYS_CLOCK_GETTIME, []uintptr{99, buf}, -linux.EINVAL},
		{"gettimeofday", linux.SYS_GETTIMEOFDAY, []uintptr{buf, 0}, 0},
		{"time", linux.SYS_TIME, nil, 0},
		{"getuid", linux.SYS_GETUID, nil, 0},
		{"readlink", linux.SYS_READLINK, nil, -linux.ENOENT},
		{"prctl", linux.SYS_PRCTL, nil, -linux.EINVAL},
		{"rseq", linux.SYS_RSEQ, nil, -linux.ENOSYS},
		{"setpriority", linux.SYS_SETPRIORITY, nil, 0},
		{"membarrier", linux.SYS_MEMBARRIER, []uintptr{linux.MEMBARRIER_CMD_PRIVATE_EXPEDITED}, 0},
		{"membarrier's list", linux.SYS_MEMBARRIER, []uintptr{linux.MEMBARRIER_CMD_QUERY}, 31},
		{"membarrier of no kind", linux.SYS_MEMBARRIER, []uintptr{1 << 20}, -linux.EINVAL},
		{"arch_prctl", linux.SYS_ARCH_PRCTL, []uintptr{linux.ARCH_SET_FS, 0x1234}, 0},
		{"arch_prctl back", linux.SYS_ARCH_PRCTL, []uintptr{linux.ARCH_GET_FS, buf}, 0},
		{"arch_prctl of GS", linux.SYS_ARCH_PRCTL, []uintptr{0x1001, 0}, -linux.EINVAL},
		{"openat", linux.SYS_OPENAT, []uintptr{0, m.text("/kiln/manifest"), 0}, 3},
		{"newfstatat of it", linux.SYS_NEWFSTATAT, []uintptr{3, m.text(""), buf}, 0},
		{"newfstatat of a path", linux.SYS_NEWFSTATAT, []uintptr{3, m.text("x"), buf}, -linux.ENOENT},
		{"fstat", linux.SYS_FSTAT, []uintptr{3, buf}, 0},
		{"fstatfs", linux.SYS_FSTATFS, []uintptr{3, buf}, 0},
		{"lseek", linux.SYS_LSEEK, []uintptr{3, 4, linux.SEEK_SET}, 4},
		{"read", linux.SYS_READ, []uintptr{3, buf, 100}, 8},
		{"pread64", linux.SYS_PREAD64, []uintptr{3, buf, 3, 0}, 3},
		{"pwrite64", linux.SYS_PWRITE64, []uintptr{3, buf, 3, 0}, -linux.ESPIPE},
		{"readv", linux.SYS_READV, []uintptr{3, object(m, [2]uintptr{buf, 4}), 1}, 0},
		{"fcntl", linux.SYS_FCNTL, []uintptr{3, linux.F_GETFL, 0}, 0},
		{"ioctl", linux.SYS_IOCTL, []uintptr{3, 0, 0}, -linux.ENOTTY},
		{"mmap of it", linux.SYS_MMAP, []uintptr{0, 4096, 1, 2, 3, 0}, testRAM + 0x21000},
		{"close", linux.SYS_CLOSE, []uintptr{3}, 0},
		{"close again", linux.SYS_CLOSE, []uintptr{3}, -linux.EBADF},
		{"open", linux.SYS_OPEN, []uintptr{m.text("/kiln/runconfig"), 0}, -linux.ENOENT},
		{"epoll_create1", linux.SYS_EPOLL_CREATE1, nil, 3},
		{"eventfd2", linux.SYS_EVENTFD2, []uintptr{1, 0}, 4},
		{"epoll_ctl", linux.SYS_EPOLL_CTL, []uintptr{3, linux.EPOLL_CTL_ADD, 4, object(m, [3]uint32{linux.EPOLLIN, 7, 0})}, 0},
		{"epoll_wait", linux.SYS_EPOLL_WAIT, []uintptr{3, buf, 4, 0}, 1},
		{"epoll_pwait", linux.SYS_EPOLL_PWAIT, []uintptr{3, buf, 4, ^uintptr(0)}, 1},
		{"epoll_pwait2", linux.SYS_EPOLL_PWAIT2, []uintptr{3, buf, 4, 0}, 1},
		{"kill of nobody", linux.SYS_TGKILL, []uintptr{1, 99, 1}, -linux.ESRCH},
		{"kill with no signal", linux.SYS_KILL, []uintptr{1, 0}, 0},
		{"kill with a bad signal", linux.SYS_KILL, []uintptr{1, 65}, -linux.EINVAL},
		{"kill with an ignored signal", linux.SYS_TKILL, []uintptr{1, linux.SIGURG}, 0},
		{"unknown", 999, nil, -linux.ENOSYS},
	} {
		m.want(tt.name, m.call(tt.nr, tt.args...), tt.want)
	}
	m.call(linux.SYS_ARCH_PRCTL, linux.ARCH_GET_FS, buf)
	if word() != 0x1234 {
		t.Errorf("FS base = %#x", word())
	}
	m.call(linux.SYS_WRITE, 1, m.text("said"), 4)
	if string(m.out) != "said" {
		t.Errorf("the console has %q", m.out)
	}
}

// TestClocks compares the clocks' calls: realtime is monotonic time plus the
// wall clock's offset.
func TestClocks(t *testing.T) {
	m := newMachine(t)
	clock.wallOffset = 1_700_000_000_000_000_000
	buf := m.alloc(16)
	read := func(nr uint64, args ...uintptr) uint64 {
		m.call(nr, args...)
		v := *raw.At[[2]uint64](buf)
		if nr == linux.SYS_GETTIMEOFDAY {
			return v[0]*1_000_000_000 + v[1]*1000
		}
		return v[0]*1_000_000_000 + v[1]
	}
	const slack = 1_000_000
	for id := range uintptr(8) {
		want := uint64(0)
		if id == linux.CLOCK_REALTIME || id == linux.CLOCK_REALTIME_COARSE {
			want = clock.wallOffset
		}
		if got := read(linux.SYS_CLOCK_GETTIME, id, buf); got < want || got > want+slack {
			t.Errorf("clock %d = %d, want %d", id, got, want)
		}
	}
	if got := read(linux.SYS_GETTIMEOFDAY, buf); got < clock.wallOffset || got > clock.wallOffset+slack {
		t.Errorf("gettimeofday = %d", got)
	}
	m.want("time", m.call(linux.SYS_TIME), 1_700_000_000)
}

// TestMemoryModel makes random calls on the mmap area and compares what is
// mapped, what has a frame and how many frames are used with a model of pages.
func TestMemoryModel(t *testing.T) {
	m := newMachine(t)
	const pages = 64
	type page struct {
		mapped, present bool
		prot            uintptr
	}
	var (
		r     = rand.New(rand.NewPCG(1, 2))
		model [pages]page
		base  = uintptr(m.call(linux.SYS_MMAP, 0, pages*4096, 0, linux.MAP_ANONYMOUS))
		vec   = m.alloc(pages)
	)
	if base != mmapBase {
		t.Fatalf("mmap = %#x", base)
	}
	for i := range model {
		model[i].mapped = true
	}
	before := uint64(0)
	for step := range 4000 {
		first := uintptr(r.IntN(pages))
		count := uintptr(r.IntN(int(pages-first)) + 1)
		addr, length := base+first*4096, count*4096
		part := model[first : first+count]
		prot := []uintptr{0, 1, 3}[r.IntN(3)]
		covered := true
		for _, p := range part {
			covered = covered && p.mapped
		}
		switch r.IntN(6) {
		case 0:
			m.want("mmap", m.call(linux.SYS_MMAP, addr, length, prot, linux.MAP_ANONYMOUS|linux.MAP_FIXED), int64(addr))
			for i := range part {
				part[i] = page{mapped: true, prot: prot}
			}
		case 1:
			m.want("munmap", m.call(linux.SYS_MUNMAP, addr, length), 0)
			clear(part)
		case 2:
			want := int64(0)
			if !covered {
				want = -linux.ENOMEM
			}
			m.want("mprotect", m.call(linux.SYS_MPROTECT, addr, length, prot), want)
			for i := range part {
				if covered {
					part[i].prot = prot
				}
			}
		case 3:
			m.want("madvise", m.call(linux.SYS_MADVISE, addr, length, linux.MADV_DONTNEED), 0)
			for i := range part {
				part[i].present = false
			}
		default:
			p := &model[first]
			write := r.IntN(2) == 0
			want := p.mapped && p.prot != 0 && (p.prot&2 != 0 || !write)
			if p.present && p.prot != 0 && !want {
				continue // the CPU would say that the page is there
			}
			code := uint64(0)
			if write {
				code = cpu.FaultWrite
			}
			if got := pageFault(&registers{CS: selKernelCode, OrigRAX: code}, uint64(addr)); got != want {
				t.Fatalf("step %d: page fault of page %d %+v, write %v = %v", step, first, *p, write, got)
			}
			p.present = p.present || want
		}
		m.call(linux.SYS_MINCORE, base, pages*4096, vec)
		frames := uint64(0)
		for i, p := range model {
			if p.present {
				frames++
			}
			if _, ok := regions.Find(base + uintptr(i)*4096); ok != p.mapped {
				t.Fatalf("step %d: page %d in a region: %v, want %v", step, i, ok, p.mapped)
			}
			want := p.present && p.prot != 0
			if got := *raw.At[bool](vec + uintptr(i)); got != want {
				t.Fatalf("step %d: page %d present: %v, want %v (%+v)", step, i, got, want, p)
			}
		}
		if before == 0 && frames > 0 {
			before = used() - frames // with the page tables that are there now
		}
		if got := used(); before != 0 && got != before+frames {
			t.Fatalf("step %d: %d frames used, want %d and %d of pages", step, got, before, frames)
		}
	}
}

func TestMmap(t *testing.T) {
	m := newMachine(t)
	const anon, fixed = linux.MAP_ANONYMOUS, linux.MAP_ANONYMOUS | linux.MAP_FIXED
	a := uintptr(m.call(linux.SYS_MMAP, 0, 3<<20, 3, anon))
	for _, tt := range []struct {
		name string
		nr   uint64
		args []uintptr
		want int64
	}{
		{"of nothing", linux.SYS_MMAP, []uintptr{0, 0, 3, anon}, -linux.EINVAL},
		{"at an odd offset", linux.SYS_MMAP, []uintptr{0, 4096, 3, anon, 0, 5}, -linux.EINVAL},
		{"larger than the area", linux.SYS_MMAP, []uintptr{0, 1 << 40, 3, anon}, -linux.ENOMEM},
		{"above Linux's programs", linux.SYS_MMAP, []uintptr{0xffffffffffdfff &^ 0xfff, 512, 0, fixed}, -linux.ENOMEM},
		{"at an odd address", linux.SYS_MMAP, []uintptr{0x7fffffffdfff, 512, 0, fixed}, -linux.EINVAL},
		{"in a program's half", linux.SYS_MMAP, []uintptr{0x10000, 4096, 0, fixed}, -linux.ENOMEM},
		{"over another", linux.SYS_MMAP, []uintptr{a, 4096, 0, anon | linux.MAP_FIXED_NOREPLACE}, -linux.EEXIST},
		{"in its place", linux.SYS_MMAP, []uintptr{a, 4096, 0, fixed}, int64(a)},
		{"of no file", linux.SYS_MMAP, []uintptr{0, 4096, 1, 1, 9, 0}, -linux.EBADF},
		{"of a device", linux.SYS_MMAP, []uintptr{0, 4096, 1, 1, 0, 0}, -linux.ENODEV},
		{"of a file at a place", linux.SYS_MMAP, []uintptr{a, 4096, 1, linux.MAP_FIXED, 0, 0}, -linux.EINVAL},
		{"munmap at an odd address", linux.SYS_MUNMAP, []uintptr{a + 1, 4096}, -linux.EINVAL},
		{"munmap of a file", linux.SYS_MUNMAP, []uintptr{memfdBase, 4096}, 0},
		{"mprotect at an odd address", linux.SYS_MPROTECT, []uintptr{a + 1, 4096}, -linux.EINVAL},
		{"mprotect of what is not there", linux.SYS_MPROTECT, []uintptr{a + 1<<38, 4096}, -linux.ENOMEM},
		{"madvise at an odd address", linux.SYS_MADVISE, []uintptr{a + 1, 4096}, -linux.EINVAL},
		{"madvise collapse", linux.SYS_MADVISE, []uintptr{a, 4096, linux.MADV_COLLAPSE}, -linux.EINVAL},
		{"madvise populate", linux.SYS_MADVISE, []uintptr{a + 4096, 4096, linux.MADV_POPULATE_WRITE}, 0},
		{"mincore at an odd address", linux.SYS_MINCORE, []uintptr{a + 1, 4096}, -linux.EINVAL},
		{"mlock", linux.SYS_MLOCK, []uintptr{a + 4096, 8192}, 0},
		{"mlock of what is not mapped", linux.SYS_MLOCK, []uintptr{a, 4096}, -linux.ENOMEM},
		{"mlock of more than there is", linux.SYS_MLOCK, []uintptr{uintptr(m.call(linux.SYS_MMAP, 0, 1<<30, 3, anon)), 1 << 30}, -linux.ENOMEM},
	} {
		m.want(tt.name, m.call(tt.nr, tt.args...), tt.want)
	}
	if free := frames.FreeFrames(); free > userReserve || free < userReserve-8 {
		t.Errorf("%d frames are free, the reserve is %d", free, userReserve)
	}
}

// TestMemoryFile gives pages to a memory file and takes them.
func TestMemoryFile(t *testing.T) {
	m := newMachine(t)
	fd := uintptr(m.call(linux.SYS_MEMFD_CREATE, m.text("x"), 0))
	base := uintptr(m.call(linux.SYS_MMAP, 0, 1<<30, 3, 1, fd, 0))
	stat := m.alloc(144)
	want := func(size, pages uint64) {
		t.Helper()
		m.want("fstat", m.call(linux.SYS_FSTAT, fd, stat), 0)
		if got := *raw.At[[2]uint64](stat + 48); got[0] != size || *raw.At[uint64](stat + 64) != pages*8 || programFrames != pages {
			t.Errorf("size %d, %d blocks, %d frames; want %d bytes, %d pages", got[0], *raw.At[uint64](stat + 64), programFrames, size, pages)
		}
	}
	if base < memfdBase || base >= memfdLimit {
		t.Fatalf("mapped at %#x", base)
	}
	m.want("ftruncate", m.call(linux.SYS_FTRUNCATE, fd, 10*4096), 0)
	want(10*4096, 0)
	m.want("fallocate", m.call(linux.SYS_FALLOCATE, fd, 0, 4096, 3*4096), 0)
	want(10*4096, 3)
	m.want("fallocate beyond", m.call(linux.SYS_FALLOCATE, fd, linux.FALLOC_FL_KEEP_SIZE, 9*4096, 4096), 0)
	m.want("fallocate to more", m.call(linux.SYS_FALLOCATE, fd, 0, 11*4096, 4096), 0)
	want(12*4096, 5)
	m.want("punch", m.call(linux.SYS_FALLOCATE, fd, linux.FALLOC_FL_PUNCH_HOLE|linux.FALLOC_FL_KEEP_SIZE, 4096+1, 2*4096), 0)
	want(12*4096, 4)
	m.want("another mode", m.call(linux.SYS_FALLOCATE, fd, 8, 0, 4096), -linux.EOPNOTSUPP)
	m.want("around the end", m.call(linux.SYS_FALLOCATE, fd, 0, ^uintptr(0)&^4095, 8192), -linux.EINVAL)
	m.want("too large", m.call(linux.SYS_FTRUNCATE, fd, memfdWindow+1), -linux.EINVAL)
	m.want("no memory file", m.call(linux.SYS_FTRUNCATE, 0, 1), -linux.EINVAL)
	m.want("too many pages", m.call(linux.SYS_FALLOCATE, fd, 0, 0, 1<<30), -linux.ENOSPC)
	m.want("madvise remove", m.call(linux.SYS_MADVISE, base, 1<<30, linux.MADV_REMOVE), 0)
	want(1<<30, 0)
	if !kernelFault(base+4096, true) || kernelFault(base+1<<30, true) {
		t.Error("a page fault inside the file fails, or one behind its end does not")
	}
	m.want("mmap of more than a window", m.call(linux.SYS_MMAP, 0, 1<<30, 3, 1, fd, memfdWindow-4096), -linux.ENOMEM)
	m.want("ftruncate to less", m.call(linux.SYS_FTRUNCATE, fd, 4096), 0)
	want(4096, 0)
	kernelFault(base, true)
	m.want("close", m.call(linux.SYS_CLOSE, fd), 0)
	if programFrames != 0 || kernelFault(base, false) {
		t.Errorf("%d frames are left of a closed file", programFrames)
	}
}

// TestPageTables maps a memory file into a program, has the program touch it,
// and takes it away: all frames come back.
func TestPageTables(t *testing.T) {
	m := newMachine(t)
	fd := uintptr(m.call(linux.SYS_MEMFD_CREATE, m.text("x"), 0))
	base := uintptr(m.call(linux.SYS_MMAP, 0, 1<<30, 3, 1, fd, 0))
	m.call(linux.SYS_FTRUNCATE, fd, 1<<30)
	kernelFault(base, true)
	kernelFault(base+600*4096, true)
	before := used()
	pt := uintptr(m.call(abi.SysPTNew))
	const addr, length = 0x400000, 700 * 4096
	m.want("PTMap", m.call(abi.SysPTMap, pt, addr, base, length, abi.ProtRead|abi.ProtWrite), 0)
	lookup := func(page uintptr) pagetable.Entry {
		if e, _ := tables.Lookup(frameOf(pt), addr+page*4096); e != nil {
			return *e
		}
		return 0
	}
	kernel := func(page uintptr) uint64 {
		phys, _ := tables.Translate(kernelRoot, base+page*4096)
		return phys
	}
	for page, present := range map[uintptr]bool{0: true, 1: false, 599: false, 600: true, 699: false} {
		e := lookup(page)
		if present != (e&pagetable.Present != 0) || present && e.Addr() != kernel(page) || !present && e.LazyAddr() != base+page*4096 {
			t.Errorf("page %d has entry %#x", page, uint64(e))
		}
	}
	if e := lookup(700); e != 0 {
		t.Errorf("the page behind the mapping has entry %#x", uint64(e))
	}
	m.want("PTLookup", m.call(abi.SysPTLookup, pt, addr), int64(lookup(0)))
	m.want("PTLookup of nothing", m.call(abi.SysPTLookup, pt, 1<<40), 0)
	// 700 pages, two of them with a frame, in three tables of the last level
	// (0x400000 is the start of one) and the root.
	m.want("PTCount", m.call(abi.SysPTCount, pt), 700<<32|2+2+1)

	// The program's faults: filled, with its neighbours; refused for a right
	// that it has not; refused where nothing is mapped.
	m.enter(pt)
	fault := func(va, code uint64) bool {
		return pageFault(&registers{CS: selUserCode, OrigRAX: code | cpu.FaultUser}, va)
	}
	if !fault(addr+5*4096+123, cpu.FaultWrite) || lookup(5).Addr() != kernel(5) || kernel(5) == 0 {
		t.Errorf("a fault in a lazy page: entry %#x, the kernel's page is at %#x", uint64(lookup(5)), kernel(5))
	}
	if lookup(4)&pagetable.Present == 0 || lookup(7)&pagetable.Present == 0 || lookup(8)&pagetable.Present != 0 {
		t.Error("a fault brings in 16 KB")
	}
	if fault(addr+9*4096, cpu.FaultFetch) {
		t.Error("a page that is not executable was fetched from")
	}
	if fault(addr+700*4096, 0) || fault(addr, cpu.FaultPresent) {
		t.Error("a fault was settled that is the Sentry's")
	}
	promisedFrames = frames.FreeFrames()
	if fault(addr+20*4096, 0) || !thisCPU().noMemory {
		t.Error("a program took a promised frame")
	}
	m.interruptUser(cpu.VectorPageFault, abi.ExitNoMemory)
	promisedFrames = 0

	m.want("PTUnmap", m.call(abi.SysPTUnmap, pt, addr, 10*4096), 0)
	m.want("PTUnmap at an odd address", m.call(abi.SysPTUnmap, pt, addr+1, 4096), -linux.EINVAL)
	m.want("PTMap at an odd address", m.call(abi.SysPTMap, pt, addr+1, base, 4096, 1), -linux.EINVAL)
	m.want("PTMap in the kernel's half", m.call(abi.SysPTMap, pt, 1<<47-4096, base, 8192, 1), -linux.EINVAL)
	if lookup(0) != 0 || lookup(10) == 0 {
		t.Error("PTUnmap")
	}
	// What replaces a present page is read-only, of the root file system.
	root := directMapBase + uintptr(header.RootFS.Addr)
	m.want("PTMap of the root", m.call(abi.SysPTMap, pt, addr+600*4096, root, 4096, abi.ProtRead|abi.ProtExec), 0)
	if e := lookup(600); e.Addr() != header.RootFS.Addr || e&(pagetable.Writable|pagetable.NoExecute) != 0 || e&pagetable.User == 0 {
		t.Errorf("a page of the root file system has entry %#x", uint64(e))
	}
	thisCPU().cr3 = pt
	m.want("PTFree", m.call(abi.SysPTFree, pt), 0)
	if thisCPU().cr3 != uintptr(kernelRoot) || m.cr3 != uint64(kernelRoot) {
		t.Error("a page table was freed that is in use")
	}
	if got := used() - 4; got != before {
		t.Errorf("%d frames are used besides the file's, before it were %d", got, before)
	}
}

// TestPrivate makes the private calls that stand alone.
func TestPrivate(t *testing.T) {
	m := newMachine(t)
	before := used()
	phys := m.alloc(8)
	va := m.call(abi.SysDMAAlloc, 5, phys)
	if got := *raw.At[uint64](phys); got != uint64(va)-uint64(directMap) || used() != before+8 {
		t.Errorf("DMAAlloc = %#x, physical %#x, %d frames", va, got, used()-before)
	}
	m.want("DMAFree", m.call(abi.SysDMAFree, uintptr(va), 5), 0)
	m.want("DMAFree of something else", m.call(abi.SysDMAFree, uintptr(va), 5), -linux.EINVAL)
	m.want("DMAAlloc of nothing", m.call(abi.SysDMAAlloc, 0, phys), -linux.EINVAL)
	m.want("DMAAlloc of too much", m.call(abi.SysDMAAlloc, 1<<11, phys), -linux.EINVAL)
	if used() != before {
		t.Errorf("%d frames are missing", used()-before)
	}
	mmio := uintptr(m.call(abi.SysMMIOMap, 0xfebf1010, 0x2000))
	for _, off := range []uintptr{0, 0x1fff} {
		if got, ok := tables.Translate(kernelRoot, mmio+off); !ok || got != 0xfebf1010+uint64(off) {
			t.Errorf("registers at %#x are at %#x, %v", mmio+off, got, ok)
		}
	}
	// PhysPages brings in what has no frame.
	a := uintptr(m.call(linux.SYS_MMAP, 0, 4*4096, 3, linux.MAP_ANONYMOUS))
	out := m.alloc(32)
	m.want("PhysPages", m.call(abi.SysPhysPages, a+100, 4, out), 0)
	for i := range uintptr(4) {
		got, ok := tables.Translate(kernelRoot, a+i*4096)
		if !ok || got != *raw.At[uint64](out + 8*i) {
			t.Errorf("page %d is at %#x, PhysPages says %#x", i, got, *raw.At[uint64](out + 8*i))
		}
	}
	m.want("PhysPages of what is not mapped", m.call(abi.SysPhysPages, a+1<<30, 1, out), -linux.EFAULT)
	m.want("Populate", m.call(abi.SysPopulate, a, 4*4096), 0)
	info := m.alloc(4096)
	m.call(abi.SysMemInfo, info)
	s := frames.Stats()
	if got := *raw.At[abi.MemInfo](info); got.Free != s.Free || got.Total != s.Total || got.LowWater != userReserve || got.PageTables != tables.Count() {
		t.Errorf("MemInfo: %+v", got)
	}
	m.call(abi.SysClockInfo, info)
	if got := *raw.At[abi.ClockInfo](info); got.Rate != uint64(clock.mult) || got.Base != clock.tscBase {
		t.Errorf("ClockInfo: %+v", got)
	}
	if got := *raw.At[uint64](uintptr(m.call(abi.SysFreeCounter))); got != frames.FreeFrames() {
		t.Errorf("the free counter says %d", got)
	}
	*raw.At[uint64](uintptr(m.call(abi.SysPromised))) = 77
	if promisedFrames != 77 {
		t.Error("what is promised is not what was written")
	}
	u := raw.At[userContext](m.alloc(256))
	thisCPU().x87 = u
	m.call(abi.SysFPDrop, raw.Addr(u))
	if thisCPU().x87 != nil {
		t.Error("FPDrop")
	}
	saved := uintptr(0)
	saveX87 = func(area, _ uintptr) { saved = area }
	u.FP, thisCPU().x87 = 0x1000, u
	m.call(abi.SysFPSave)
	if saved != 0x1000 || thisCPU().x87 != nil {
		t.Error("FPSave")
	}
	m.call(abi.SysInterrupt, raw.Addr(u))
	if u.Pending != 1 {
		t.Error("Interrupt of a context that does not run is forgotten")
	}
	m.ends(42, func() { m.call(abi.SysPowerOff, 42) })
}
