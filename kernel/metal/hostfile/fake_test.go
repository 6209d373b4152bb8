package hostfile

import (
	"syscall"
	"testing"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/random"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/serial"
)

// table is a Table with what a test needs to call it.
type table struct {
	*testing.T
	Table
	storage Storage
	random  random.Source
	port    serial.Port
	uart    []byte // what the port receives
	sent    []byte // what was written to the port
}

// pinned keeps objects alive, and in the heap, that a test names by address.
var pinned []any

// addr returns the address of an object, which it pins.
func addr[T any](p *T) uintptr {
	pinned = append(pinned, p)
	return raw.Addr(p)
}

// reserved are the windows of two memory files.
var reserved = func() []byte {
	b, err := syscall.Mmap(-1, 0, 2*Window, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		panic(err)
	}
	return b
}()

// newTable returns a table with a console, a file of "contents" and nothing
// else open.
func newTable(t *testing.T) *table {
	tab := &table{T: t}
	cpu.Pause = func() {}
	cpu.TSC = func() uint64 { return 1 }
	cpu.In8 = func(port uint16) uint8 {
		switch port {
		case 0: // data
			c := tab.uart[0]
			tab.uart = tab.uart[1:]
			return c
		case 5: // line status
			if len(tab.uart) > 0 {
				return 0x61
			}
			return 0x60
		case 7: // scratch
			return 0x5a
		}
		return 0
	}
	cpu.Out8 = func(port uint16, v uint8) {
		if port == 0 {
			tab.sent = append(tab.sent, v)
		}
	}
	tab.port.Init(0)
	tab.sent = nil // Init has set a divisor
	tab.port.Listen(addr(&make([]byte, serial.InputCapacity)[0]))
	tab.Init(&tab.storage, raw.Addr(&reserved[0]), &tab.random)
	tab.Console(&tab.port)
	text := []byte("contents")
	if !tab.Serve("/kiln/text", addr(&text[0]), uintptr(len(text))) {
		t.Fatal("no room for a path")
	}
	return tab
}

func (t *table) open(path string) int {
	b := append([]byte(path), 0)
	return int(t.Open(addr(&b[0]), 0))
}

// must returns a descriptor, or ends the test.
func (t *table) must(fd int64) int {
	t.Helper()
	if fd < 0 {
		t.Fatalf("no descriptor: %d", fd)
	}
	return int(fd)
}

func (t *table) pipe(flags int) (r, w int) {
	t.Helper()
	buf := make([]byte, PipeCapacity)
	fds := new([2]int32)
	if res := t.Pipe(addr(&buf[0]), addr(fds), flags); res != 0 {
		t.Fatalf("Pipe: %d", res)
	}
	return int(fds[0]), int(fds[1])
}

// readN and writeN are Read and Write of Go's memory.
func (t *table) readN(w *Waiter, fd int, p []byte) int64 {
	return t.Read(w, fd, sliceAddr(p), uintptr(len(p)))
}

func (t *table) writeN(w *Waiter, fd int, p []byte) int64 {
	return t.Write(w, fd, sliceAddr(p), uintptr(len(p)))
}

func sliceAddr(p []byte) uintptr {
	if len(p) == 0 {
		return addr(new(byte))
	}
	return addr(&p[0])
}

// event is a struct epoll_event.
type event struct {
	events uint32
	data   uint64
}

// ctl is EpollCtl with the descriptor as data.
func (t *table) ctl(ep, op, fd int, events uint32) int64 {
	e := [3]uint32{events, uint32(fd), 0xabcd}
	return t.EpollCtl(ep, op, fd, addr(&e[0]))
}

// events reads n of what EpollWait wrote.
func events(buf []uint32, n int64) []event {
	var out []event
	for i := range int(n) {
		out = append(out, event{buf[3*i], uint64(buf[3*i+1])})
		if buf[3*i+2] != 0xabcd {
			panic("the upper half of an event's data is lost")
		}
	}
	return out
}

// waitNow is EpollWait without waiting.
func (t *table) waitNow(ep int) []event {
	t.Helper()
	buf := make([]uint32, 3*16)
	n := t.EpollWait(nil, ep, addr(&buf[0]), 16, false)
	if n < 0 {
		t.Fatalf("EpollWait: %d", n)
	}
	return events(buf, n)
}

// wokenAre expects just these waiters to be woken, in any order.
func (t *table) wokenAre(want ...*Waiter) {
	t.Helper()
	left := map[*Waiter]bool{}
	for _, w := range want {
		left[w] = true
	}
	for w := t.Woken(); w != nil; w = t.Woken() {
		if !left[w] {
			t.Errorf("a waiter was woken that should wait")
		}
		if w.Waiting() {
			t.Errorf("a woken waiter is in a queue")
		}
		delete(left, w)
	}
	if len(left) > 0 {
		t.Errorf("%d waiters were not woken", len(left))
	}
}

const nonblock = linux.O_NONBLOCK
