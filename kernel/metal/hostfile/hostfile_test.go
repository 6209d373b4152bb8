package hostfile

import (
	"bytes"
	"slices"
	"testing"

	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/raw"
)

func TestOpen(t *testing.T) {
	tab := newTable(t)
	for _, tt := range []struct {
		path string
		want int
		kind Kind
	}{
		{"/dev/null", 3, Null},
		{"/dev/urandom", 4, Random},
		{"/dev/random", 5, Random},
		{"/kiln/text", 6, Static},
		{"/kiln/tex", -linux.ENOENT, Free},
		{"/kiln/text2", -linux.ENOENT, Free},
		{"", -linux.ENOENT, Free},
	} {
		got := tab.open(tt.path)
		if got != tt.want {
			t.Errorf("open(%q) = %d, want %d", tt.path, got, tt.want)
		}
		if got >= 0 && tab.Find(got).Kind != tt.kind {
			t.Errorf("open(%q) is of kind %d, want %d", tt.path, tab.Find(got).Kind, tt.kind)
		}
	}
	for tab.open("/dev/null") >= 0 {
	}
	if got := tab.open("/kiln/text"); got != -linux.EMFILE {
		t.Errorf("open with %d files = %d", MaxFiles, got)
	}
	for range maxServed {
		tab.Serve("/x", 1, 1)
	}
	if tab.Serve("/x", 1, 1) {
		t.Error("Serve beyond the table's end")
	}
	for _, fd := range []int{-1, MaxFiles, 1 << 40} {
		if tab.Find(fd) != nil {
			t.Errorf("Find(%d) found a file", fd)
		}
	}
}

// TestFull: nothing is opened by half in a full table.
func TestFull(t *testing.T) {
	tab := newTable(t)
	last := 0
	for fd := tab.open("/dev/null"); fd >= 0; fd = tab.open("/dev/null") {
		last = fd
	}
	fds := new([2]int32)
	for _, free := range []int{0, 1} {
		if free == 1 {
			tab.Close(tab.Find(last))
		}
		if got := tab.Pipe(1, addr(fds), 0); got != -linux.EMFILE {
			t.Errorf("Pipe with %d free descriptors = %d", free, got)
		}
	}
	tab.open("/dev/null")
	for name, got := range map[string]int64{
		"Eventfd": tab.Eventfd(0, 0), "EpollCreate": tab.EpollCreate(), "Memfd": tab.Memfd(),
		"dup": tab.Fcntl(0, linux.F_DUPFD, 0),
	} {
		if got != -linux.EMFILE {
			t.Errorf("%s = %d", name, got)
		}
	}
}

// TestBadDescriptor: every call says EBADF of a descriptor that is not open.
func TestBadDescriptor(t *testing.T) {
	tab := newTable(t)
	for _, fd := range []int{-1, 3, MaxFiles} {
		for name, got := range map[string]int64{
			"read":    tab.readN(nil, fd, nil),
			"write":   tab.writeN(nil, fd, nil),
			"pread":   tab.Pread(fd, 0, 0, 0),
			"pwrite":  tab.Pwrite(fd, 0, 0, 0),
			"readv":   tab.Vector(nil, linux.SYS_READV, fd, 0, 0, 0),
			"fcntl":   tab.Fcntl(fd, linux.F_GETFL, 0),
			"fstat":   tab.Fstat(fd, 0, 0),
			"fstatfs": tab.Fstatfs(fd, 0),
			"lseek":   tab.Lseek(fd, 0, 0),
			"ioctl":   tab.Ioctl(fd),
			"ctl":     tab.EpollCtl(fd, 1, 0, 0),
			"ctl of":  tab.EpollCtl(0, 1, fd, 0),
			"wait":    tab.EpollWait(nil, fd, 0, 1, false),
		} {
			if got != -linux.EBADF {
				t.Errorf("%s of %d = %d, want EBADF", name, fd, got)
			}
		}
	}
}

func TestFcntl(t *testing.T) {
	tab := newTable(t)
	text := tab.open("/kiln/text")
	for _, tt := range []struct {
		name    string
		fd, cmd int
		arg     uintptr
		want    int64
	}{
		{"GETFD", 1, linux.F_GETFD, 0, linux.FD_CLOEXEC},
		{"SETFD", 1, linux.F_SETFD, 0, 0},
		{"GETFL of the console", 0, linux.F_GETFL, 0, linux.O_RDWR},
		{"SETFL changes only O_NONBLOCK", 1, linux.F_SETFL, nonblock | linux.O_RDWR, 0},
		{"GETFL", 1, linux.F_GETFL, 0, nonblock | linux.O_WRONLY},
		{"seals", text, linux.F_ADD_SEALS, 1, 0},
		{"dup of a file with an offset", text, linux.F_DUPFD, 0, -linux.EINVAL},
		{"dup", 1, linux.F_DUPFD_CLOEXEC, 100, int64(text) + 1},
		{"the copy's flags", text + 1, linux.F_GETFL, 0, nonblock | linux.O_WRONLY},
		{"unknown", 1, 99, 0, -linux.EINVAL},
	} {
		if got := tab.Fcntl(tt.fd, tt.cmd, tt.arg); got != tt.want {
			t.Errorf("%s = %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := tab.Ioctl(0); got != -linux.ENOTTY {
		t.Errorf("ioctl = %d", got)
	}
}

func TestStat(t *testing.T) {
	tab := newTable(t)
	r, w := tab.pipe(0)
	for _, tt := range []struct {
		fd   int
		mode uint32
		size uint64
	}{
		{0, linux.S_IFCHR | 0o620, 0},
		{tab.open("/dev/null"), linux.S_IFCHR | 0o620, 0},
		{tab.open("/kiln/text"), linux.S_IFREG | 0o600, 8},
		{r, linux.S_IFIFO | 0o600, 0},
		{w, linux.S_IFIFO | 0o600, 0},
	} {
		var st [statSize/8 + 1]uint64
		for i := range st {
			st[i] = 1<<64 - 1
		}
		if got := tab.Fstat(tt.fd, addr(&st[0]), 3); got != 0 {
			t.Fatalf("fstat(%d) = %d", tt.fd, got)
		}
		if mode := uint32(st[3]); mode != tt.mode || st[6] != tt.size || st[7] != 4096 || st[8] != 24 || st[statSize/8] != 1<<64-1 {
			t.Errorf("fstat(%d): mode %o, size %d, block size %d, blocks %d, behind it %#x",
				tt.fd, mode, st[6], st[7], st[8], st[statSize/8])
		}
	}
	var st [statfsSize/8 + 1]uint64
	st[statfsSize/8] = 7
	if got := tab.Fstatfs(0, addr(&st[0])); got != 0 || st[1] != 4096 || st[statfsSize/8] != 7 {
		t.Errorf("fstatfs = %d: %v", got, st)
	}
}

func TestContents(t *testing.T) {
	tab := newTable(t)
	text, mem := tab.open("/kiln/text"), tab.must(tab.Memfd())
	p := make([]byte, 5)
	if n := tab.readN(nil, text, p); n != 5 || string(p) != "conte" {
		t.Errorf("read = %d, %q", n, p)
	}
	if n := tab.readN(nil, text, p); n != 3 || string(p[:3]) != "nts" {
		t.Errorf("read on = %d, %q", n, p[:3])
	}
	if n := tab.readN(nil, text, p); n != 0 {
		t.Errorf("read at the end = %d", n)
	}
	if n := tab.writeN(nil, text, p); n != -linux.EBADF {
		t.Errorf("write of bytes in the image = %d", n)
	}
	if n := tab.writeN(nil, mem, []byte("memory")); n != 6 {
		t.Errorf("write = %d", n)
	}
	for _, tt := range []struct {
		off    int64
		whence int
		want   int64
	}{
		{2, linux.SEEK_SET, 2},
		{1, linux.SEEK_CUR, 3},
		{-2, linux.SEEK_END, 4},
		{-7, linux.SEEK_END, -linux.EINVAL},
		{0, 3, -linux.EINVAL},
	} {
		if got := tab.Lseek(mem, tt.off, tt.whence); got != tt.want {
			t.Errorf("lseek(%d, %d) = %d, want %d", tt.off, tt.whence, got, tt.want)
		}
	}
	if n := tab.readN(nil, mem, p); n != 2 || string(p[:2]) != "ry" {
		t.Errorf("read after lseek = %d, %q", n, p[:2])
	}
	if got := tab.Lseek(0, 0, 0); got != -linux.ESPIPE {
		t.Errorf("lseek of the console = %d", got)
	}
	if n := tab.Pread(mem, addr(&p[0]), 3, 1); n != 3 || string(p[:3]) != "emo" {
		t.Errorf("pread = %d, %q", n, p[:3])
	}
	if n := tab.Pread(mem, addr(&p[0]), 3, 1<<63); n != 0 {
		t.Errorf("pread far behind the end = %d", n)
	}
	if n := tab.Pread(0, addr(&p[0]), 3, 0); n != -linux.ESPIPE {
		t.Errorf("pread of the console = %d", n)
	}
	// A hole is zero; the end grows.
	if n := tab.Pwrite(mem, addr(&p[0]), 3, 9); n != 3 || tab.Find(mem).Size != 12 {
		t.Errorf("pwrite = %d, size %d", n, tab.Find(mem).Size)
	}
	if n := tab.Pwrite(text, addr(&p[0]), 3, 0); n != -linux.ESPIPE {
		t.Errorf("pwrite of bytes in the image = %d", n)
	}
	// Neither behind the window nor around the end of the address space.
	for _, off := range []uintptr{Window - 2, Window, 1<<64 - 1, 1<<64 - 3} {
		if n := tab.Pwrite(mem, addr(&p[0]), 3, off); n != -linux.EINVAL {
			t.Errorf("pwrite at %#x = %d", off, n)
		}
	}
	tab.Find(mem).off = Window - 1
	if n := tab.writeN(nil, mem, p); n != -linux.EINVAL || tab.Find(mem).off != Window-1 {
		t.Errorf("write at the window's end = %d, offset then %#x", n, tab.Find(mem).off)
	}
}

func TestMemoryFiles(t *testing.T) {
	tab := newTable(t)
	var fds []int
	for range MaxMemory {
		fds = append(fds, tab.must(tab.Memfd()))
	}
	if got := tab.Memfd(); got != -linux.EMFILE {
		t.Errorf("one more memory file = %d", got)
	}
	f := tab.Find(fds[3])
	f.Size = 5000
	base := raw.Addr(&reserved[0]) + 3*Window
	for off, want := range map[uintptr]bool{0: true, 4999: true, 5000: false, Window - 1: false} {
		if got := tab.Covers(base + off); got != want {
			t.Errorf("Covers at %d of 5000 bytes = %v", off, got)
		}
	}
	tab.Close(f)
	if tab.Covers(base) {
		t.Error("a closed file covers an address")
	}
	if fd := tab.must(tab.Memfd()); tab.Find(fd).Data != base || tab.Find(fd).Size != 0 {
		t.Errorf("the window is not used again")
	}
}

func TestDevices(t *testing.T) {
	tab := newTable(t)
	null, random := tab.open("/dev/null"), tab.open("/dev/urandom")
	p := make([]byte, 16)
	for _, tt := range []struct {
		name      string
		got, want int64
	}{
		{"read of null", tab.readN(nil, null, p), 0},
		{"write to null", tab.writeN(nil, null, p), 16},
		{"write to random", tab.writeN(nil, random, p), 16},
		{"read of random", tab.readN(nil, random, p), 16},
		{"write to an epoll", tab.writeN(nil, tab.must(tab.EpollCreate()), p), -linux.EBADF},
		{"read of an epoll", tab.readN(nil, tab.must(tab.EpollCreate()), p), -linux.EINVAL},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %d, want %d", tt.name, tt.got, tt.want)
		}
	}
	if bytes.Equal(p, make([]byte, 16)) {
		t.Error("random bytes are all zero")
	}
}

// TestConsole: output goes to the port; input wakes who waits for it, at a copy
// of the descriptor as well.
func TestConsole(t *testing.T) {
	tab := newTable(t)
	if n := tab.writeN(nil, 1, []byte("out")); n != 3 || string(tab.sent) != "out" {
		t.Errorf("write = %d, sent %q", n, tab.sent)
	}
	p := make([]byte, 10)
	if n := tab.readN(nil, 1, p); n != -linux.EBADF {
		t.Errorf("read of output = %d", n)
	}
	if n := tab.readN(nil, 0, nil); n != 0 {
		t.Errorf("read of nothing = %d", n)
	}
	dup := int(tab.Fcntl(0, linux.F_DUPFD, 0))
	var a, b Waiter
	if tab.readN(&a, 0, p) != Blocked || tab.readN(&b, dup, p) != Blocked {
		t.Fatal("a read without input does not wait")
	}
	tab.Input(&tab.port)
	tab.wokenAre()
	tab.uart = []byte("in")
	tab.Input(&tab.port)
	tab.wokenAre(&a, &b)
	if a.Result != Again {
		t.Errorf("the result of a read that waited is %d", a.Result)
	}
	if n := tab.readN(nil, dup, p); n != 2 || string(p[:2]) != "in" {
		t.Errorf("read = %d, %q", n, p[:2])
	}
	ep := tab.must(tab.EpollCreate())
	if got := tab.ctl(ep, linux.EPOLL_CTL_ADD, 0, linux.EPOLLIN); got != -linux.EPERM {
		t.Errorf("watching a console that blocks = %d", got)
	}
	tab.Fcntl(0, linux.F_SETFL, nonblock)
	if got := tab.readN(nil, 0, p); got != -linux.EAGAIN {
		t.Errorf("read without input = %d", got)
	}
	tab.ctl(ep, linux.EPOLL_CTL_ADD, 0, linux.EPOLLIN|linux.EPOLLOUT)
	if got := tab.waitNow(ep); !slices.Equal(got, []event{{linux.EPOLLOUT, 0}}) {
		t.Errorf("events without input: %v", got)
	}
	tab.uart = []byte("x")
	tab.Input(&tab.port)
	if got := tab.waitNow(ep); !slices.Equal(got, []event{{linux.EPOLLIN | linux.EPOLLOUT, 0}}) {
		t.Errorf("events with input: %v", got)
	}
}

func TestEventfd(t *testing.T) {
	tab := newTable(t)
	fd := tab.must(tab.Eventfd(3, 0))
	p := make([]byte, 8)
	word := func() uint64 { return *raw.At[uint64](addr(&p[0])) }
	set := func(v uint64) []byte { *raw.At[uint64](addr(&p[0])) = v; return p }
	if n := tab.readN(nil, fd, p); n != 8 || word() != 3 {
		t.Errorf("read = %d, %d", n, word())
	}
	if n := tab.readN(nil, fd, p[:7]); n != -linux.EINVAL {
		t.Errorf("read of 7 bytes = %d", n)
	}
	if n := tab.writeN(nil, fd, p[:7]); n != -linux.EINVAL {
		t.Errorf("write of 7 bytes = %d", n)
	}
	if n := tab.writeN(nil, fd, set(1<<64-1)); n != -linux.EINVAL {
		t.Errorf("write of the largest word = %d", n)
	}
	var reader, writer Waiter
	if tab.readN(&reader, fd, p) != Blocked {
		t.Fatal("read of 0 does not wait")
	}
	tab.writeN(nil, fd, set(1<<64-2))
	tab.wokenAre(&reader)
	if tab.writeN(&writer, fd, set(1)) != Blocked {
		t.Fatal("a write without room does not wait")
	}
	if n := tab.readN(nil, fd, p); n != 8 || word() != 1<<64-2 {
		t.Errorf("read = %d, %#x", n, word())
	}
	tab.wokenAre(&writer)
	busy := tab.must(tab.Eventfd(0, nonblock))
	if n := tab.readN(nil, busy, p); n != -linux.EAGAIN {
		t.Errorf("read of 0 with O_NONBLOCK = %d", n)
	}
}

func TestPipeEnds(t *testing.T) {
	tab := newTable(t)
	r, w := tab.pipe(0)
	var a, b Waiter
	p := make([]byte, 4)
	if tab.readN(&a, r, p) != Blocked {
		t.Fatal("read of an empty pipe does not wait")
	}
	if n := tab.readN(nil, r, nil); n != 0 {
		t.Errorf("read of nothing = %d", n)
	}
	if buffer := tab.Close(tab.Find(w)); buffer != 0 {
		t.Error("the first end that is closed leaves the buffer")
	}
	tab.wokenAre(&a)
	if n := tab.readN(nil, r, p); n != 0 {
		t.Errorf("read without a writer = %d", n)
	}
	if buffer := tab.Close(tab.Find(r)); buffer == 0 {
		t.Error("the last end does not leave the buffer")
	}

	r, w = tab.pipe(0)
	if n := tab.writeN(nil, w, make([]byte, PipeCapacity+1)); n != PipeCapacity {
		t.Errorf("write of more than there is room for = %d", n)
	}
	if tab.writeN(&b, w, p) != Blocked || tab.writeN(nil, w, nil) != 0 {
		t.Error("write to a full pipe")
	}
	tab.Close(tab.Find(r))
	tab.wokenAre(&b)
	if n := tab.writeN(nil, w, p); n != -linux.EPIPE {
		t.Errorf("write without a reader = %d", n)
	}
	if n := tab.writeN(nil, r, p); n != -linux.EBADF {
		t.Errorf("write to a closed end = %d", n)
	}
}

// TestClose: who waits for a file that is closed is woken, to find it gone.
func TestClose(t *testing.T) {
	tab := newTable(t)
	fd, ep := tab.must(tab.Eventfd(0, 0)), tab.must(tab.EpollCreate())
	tab.ctl(ep, linux.EPOLL_CTL_ADD, fd, linux.EPOLLIN)
	var reader, poller Waiter
	buf := make([]uint32, 3)
	tab.readN(&reader, fd, make([]byte, 8))
	tab.EpollWait(&poller, ep, addr(&buf[0]), 1, true)
	tab.Close(tab.Find(fd))
	tab.wokenAre(&reader)
	// The number means another file now, which nobody watches.
	again := tab.must(tab.Eventfd(1, 0))
	if again != fd || len(tab.waitNow(ep)) != 0 {
		t.Errorf("descriptor %d after %d has events", again, fd)
	}
	tab.ctl(ep, linux.EPOLL_CTL_ADD, again, linux.EPOLLIN)
	tab.wokenAre(&poller)
	tab.EpollWait(&poller, ep, addr(&buf[0]), 1, false)
	tab.ctl(ep, linux.EPOLL_CTL_DEL, again, 0)
	if tab.EpollWait(&poller, ep, addr(&buf[0]), 1, true) != Blocked {
		t.Fatal("EpollWait does not wait")
	}
	tab.ctl(ep, linux.EPOLL_CTL_ADD, 0, 0) // refused, the console blocks
	tab.Close(tab.Find(ep))
	tab.wokenAre(&poller)
	if poller.Result != Again {
		t.Errorf("the result of a wait in a closed epoll = %d", poller.Result)
	}
	for i := range tab.storage.watches {
		if tab.storage.watches[i] != (watch{}) {
			t.Error("a watch is left of a closed epoll")
		}
	}
}

func TestEpollCtl(t *testing.T) {
	tab := newTable(t)
	ep, fd := tab.must(tab.EpollCreate()), tab.must(tab.Eventfd(0, 0))
	for _, tt := range []struct {
		name       string
		ep, op, fd int
		want       int64
	}{
		{"not an epoll", fd, linux.EPOLL_CTL_ADD, fd, -linux.EINVAL},
		{"a file", ep, linux.EPOLL_CTL_ADD, tab.open("/kiln/text"), -linux.EPERM},
		{"an epoll", ep, linux.EPOLL_CTL_ADD, ep, -linux.EPERM},
		{"change of none", ep, linux.EPOLL_CTL_MOD, fd, -linux.ENOENT},
		{"removal of none", ep, linux.EPOLL_CTL_DEL, fd, -linux.ENOENT},
		{"unknown", ep, 4, fd, -linux.EINVAL},
		{"add", ep, linux.EPOLL_CTL_ADD, fd, 0},
		{"add again", ep, linux.EPOLL_CTL_ADD, fd, -linux.EEXIST},
		{"change", ep, linux.EPOLL_CTL_MOD, fd, 0},
		{"remove", ep, linux.EPOLL_CTL_DEL, fd, 0},
	} {
		if got := tab.ctl(tt.ep, tt.op, tt.fd, linux.EPOLLIN); got != tt.want {
			t.Errorf("%s = %d, want %d", tt.name, got, tt.want)
		}
	}
	for i := range MaxWatches / 2 {
		tab.ctl(ep, linux.EPOLL_CTL_ADD, tab.must(tab.Eventfd(0, 0)), uint32(i))
	}
	second := tab.must(tab.EpollCreate())
	for fd := range MaxFiles {
		if f := tab.Find(fd); f != nil && f.Kind == Event {
			if got := tab.ctl(second, linux.EPOLL_CTL_ADD, fd, 0); got != 0 && got != -linux.ENOMEM {
				t.Errorf("add to the second epoll = %d", got)
			}
		}
	}
	if got := tab.ctl(second, linux.EPOLL_CTL_ADD, fd, 0); got != -linux.EEXIST && got != -linux.ENOMEM {
		t.Errorf("add to a full table = %d", got)
	}
	if got := tab.EpollWait(nil, ep, 0, 0, true); got != -linux.EBADF {
		t.Errorf("wait for no events = %d", got)
	}
}

// TestEdge: an edge-triggered watch reports once each time that something
// happens, a level-triggered one as long as it is so.
func TestEdge(t *testing.T) {
	tab := newTable(t)
	ep := tab.must(tab.EpollCreate())
	level, edge := tab.must(tab.Eventfd(1, 0)), tab.must(tab.Eventfd(1, 0))
	tab.ctl(ep, linux.EPOLL_CTL_ADD, level, linux.EPOLLIN)
	tab.ctl(ep, linux.EPOLL_CTL_ADD, edge, linux.EPOLLIN|linux.EPOLLET)
	one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	for i, want := range [][]event{
		{{linux.EPOLLIN, uint64(level)}, {linux.EPOLLIN, uint64(edge)}},
		{{linux.EPOLLIN, uint64(level)}},
		{{linux.EPOLLIN, uint64(level)}, {linux.EPOLLIN, uint64(edge)}},
	} {
		if i == 2 {
			tab.writeN(nil, edge, one)
		}
		if got := tab.waitNow(ep); !slices.Equal(got, want) {
			t.Errorf("wait %d: %v, want %v", i, got, want)
		}
	}
	// What there is no room for is reported by the next wait.
	tab.writeN(nil, edge, one)
	buf := make([]uint32, 3)
	if n := tab.EpollWait(nil, ep, addr(&buf[0]), 1, false); n != 1 || buf[1] != uint32(level) {
		t.Errorf("wait for one event = %d, of %d", n, buf[1])
	}
	if got := tab.waitNow(ep); len(got) != 2 {
		t.Errorf("after it: %v", got)
	}
}

func TestInterrupt(t *testing.T) {
	tab := newTable(t)
	f, fd := tab.New(Interrupt)
	ep := tab.must(tab.EpollCreate())
	tab.ctl(ep, linux.EPOLL_CTL_ADD, fd, linux.EPOLLIN)
	var reader, poller Waiter
	p, buf := make([]byte, 8), make([]uint32, 3)
	tab.readN(&reader, fd, p)
	tab.EpollWait(&poller, ep, addr(&buf[0]), 1, true)
	tab.Raise(f)
	tab.wokenAre(&reader, &poller)
	if poller.Result != 1 || buf[1] != uint32(fd) {
		t.Errorf("epoll_wait = %d, of %d", poller.Result, buf[1])
	}
	tab.Raise(f)
	if n := tab.readN(nil, fd, p); n != 8 || p[0] != 2 {
		t.Errorf("read = %d, %d interrupts", n, p[0])
	}
	if n := tab.writeN(nil, fd, p); n != -linux.EBADF {
		t.Errorf("write = %d", n)
	}
	if got := tab.waitNow(ep); len(got) != 0 {
		t.Errorf("events without an interrupt: %v", got)
	}
}

// TestCancel: a wait that ended for another reason is not woken.
func TestCancel(t *testing.T) {
	tab := newTable(t)
	r, w := tab.pipe(0)
	waiters := make([]Waiter, 3)
	for i := range waiters {
		tab.readN(&waiters[i], r, make([]byte, 1))
	}
	tab.Cancel(&waiters[1])
	if waiters[1].Waiting() || !waiters[2].Waiting() {
		t.Error("Cancel")
	}
	tab.writeN(nil, w, []byte("x"))
	tab.wokenAre(&waiters[0], &waiters[2])
}

func TestVector(t *testing.T) {
	tab := newTable(t)
	mem, text := tab.must(tab.Memfd()), tab.open("/kiln/text")
	r, w := tab.pipe(0)
	busyR, _ := tab.pipe(nonblock)
	a, b := []byte("abc"), []byte("de")
	iov := [][2]uintptr{{addr(&a[0]), 3}, {0, 0}, {addr(&b[0]), 2}}
	vector := func(nr uint64, fd int, off int64) int64 {
		return tab.Vector(new(Waiter), nr, fd, addr(&iov[0]), 3, off)
	}
	for _, tt := range []struct {
		name string
		nr   uint64
		fd   int
		off  int64
		want int64
		then string // a and b
	}{
		{"writev", linux.SYS_WRITEV, w, 0, 5, "abcde"},
		{"readv of less than there is room for", linux.SYS_READV, r, 0, 5, "abcde"},
		{"readv of an empty pipe", linux.SYS_READV, r, 0, Blocked, "abcde"},
		{"readv with O_NONBLOCK", linux.SYS_READV, busyR, 0, -linux.EAGAIN, "abcde"},
		{"preadv of a pipe", linux.SYS_PREADV, r, 0, -linux.ESPIPE, "abcde"},
		{"preadv2 of a pipe at -1", linux.SYS_PREADV2, busyR, -1, -linux.EAGAIN, "abcde"},
		{"pwritev", linux.SYS_PWRITEV, mem, 2, 5, "abcde"},
		{"pwritev2 at the file's own place", linux.SYS_PWRITEV2, mem, -1, 5, "abcde"},
		{"preadv", linux.SYS_PREADV, mem, 1, 5, "bcded"},
		{"preadv at the end", linux.SYS_PREADV, mem, 5, 2, "deded"},
		{"preadv behind the end", linux.SYS_PREADV, mem, 9, 0, "deded"},
		{"pwritev of bytes in the image", linux.SYS_PWRITEV, text, 0, -linux.EBADF, "deded"},
		{"readv", linux.SYS_READV, text, 0, 5, "conte"},
		{"readv to the end", linux.SYS_READV, text, 0, 3, "ntste"},
	} {
		got := vector(tt.nr, tt.fd, tt.off)
		if then := string(a) + string(b); got != tt.want || then != tt.then {
			t.Errorf("%s = %d, %q; want %d, %q", tt.name, got, then, tt.want, tt.then)
		}
	}
	// Progress, and then no room.
	waiting := tab.Find(r).waiters.head
	tab.writeN(nil, w, make([]byte, PipeCapacity-3))
	tab.wokenAre(waiting)
	if got := vector(linux.SYS_WRITEV, w, 0); got != 3 {
		t.Errorf("writev with room for 3 = %d", got)
	}
	if got := vector(linux.SYS_WRITEV, w, 0); got != Blocked {
		t.Errorf("writev without room = %d", got)
	}
}
