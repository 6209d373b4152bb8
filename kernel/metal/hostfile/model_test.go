package hostfile

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/spin"
)

// model is what pipes and eventfds are, told with Go's own means.
type model struct {
	*table
	r       *rand.Rand
	bytes   map[int]*bytes.Buffer // pipes by read end
	ends    map[int]int           // write end of a read end, and the reverse
	counts  map[int]uint64        // eventfds
	watched map[int]uint32        // events by descriptor, in the one epoll
	ep      int

	waiters [6]Waiter
	calls   [6]call // what waiter i waits in
	buf     []byte  // for reads and writes
	events  [6][]uint32
	written byte // the next byte that goes into a pipe
}

// call is a call that waits: a read or write of fd, or epoll_wait.
type call struct {
	kind uint8 // 0 none, 'r', 'w', 'e'
	fd   int
}

// ready returns the events that are due for a descriptor.
func (m *model) ready(fd int) uint32 {
	if n, ok := m.counts[fd]; ok {
		if n > 0 {
			return linux.EPOLLIN | linux.EPOLLOUT
		}
		return linux.EPOLLOUT
	}
	if b, ok := m.bytes[fd]; ok {
		if b.Len() > 0 {
			return linux.EPOLLIN
		}
		return 0
	}
	if m.bytes[m.ends[fd]].Len() < PipeCapacity {
		return linux.EPOLLOUT
	}
	return 0
}

// due returns what epoll_wait would report, by descriptor.
func (m *model) due() map[int]uint32 {
	due := map[int]uint32{}
	for fd, events := range m.watched {
		if ev := m.ready(fd) & events; ev != 0 {
			due[fd] = ev
		}
	}
	return due
}

// read makes a read of fd and compares it with the model.
func (m *model) read(i, fd int) {
	n := m.r.IntN(len(m.buf)-8) + 8
	got := m.readN(&m.waiters[i], fd, m.buf[:n])
	switch count, event := m.counts[fd]; {
	case event && count == 0, !event && m.bytes[fd].Len() == 0:
		if got != Blocked {
			m.Fatalf("read of what is empty = %d", got)
		}
		m.calls[i] = call{'r', fd}
	case event:
		if got != 8 || m.word() != count {
			m.Fatalf("read of a counter of %d = %d, %d", count, got, m.word())
		}
		m.counts[fd] = 0
	default:
		want := m.bytes[fd].Next(n)
		if got != int64(len(want)) || !bytes.Equal(m.buf[:len(want)], want) {
			m.Fatalf("read of a pipe = %d, want %d bytes, or other bytes", got, len(want))
		}
	}
}

// word returns the first eight bytes of the buffer.
func (m *model) word() (v uint64) {
	for i, b := range m.buf[:8] {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// write makes a write to fd and compares it with the model.
func (m *model) write(i, fd int) {
	if count, event := m.counts[fd]; event {
		v := m.r.Uint64N(5)
		if m.r.IntN(4) == 0 {
			v = maxCount - 1
		}
		for k := range 8 {
			m.buf[k] = byte(v >> (8 * k))
		}
		got := m.writeN(&m.waiters[i], fd, m.buf[:8])
		if v > maxCount-count {
			if got != Blocked {
				m.Fatalf("write of %#x to a counter of %#x = %d", v, count, got)
			}
			m.calls[i] = call{'w', fd}
			return
		}
		m.counts[fd] += v
		return
	}
	n := m.r.IntN(len(m.buf)-1) + 1
	for k := range n {
		m.buf[k] = m.written + byte(k)
	}
	got := m.writeN(&m.waiters[i], fd, m.buf[:n])
	pipe := m.bytes[m.ends[fd]]
	room := PipeCapacity - pipe.Len()
	if room == 0 {
		if got != Blocked {
			m.Fatalf("write to a full pipe = %d", got)
		}
		m.calls[i] = call{'w', fd}
		return
	}
	if want := min(n, room); got != int64(want) {
		m.Fatalf("write of %d bytes with room for %d = %d", n, room, got)
	}
	m.written += byte(got)
	pipe.Write(m.buf[:got])
}

// poll makes an epoll_wait and compares it with the model.
func (m *model) poll(i int) {
	got := m.EpollWait(&m.waiters[i], m.ep, addr(&m.events[i][0]), 16, true)
	if got != Blocked {
		m.compare(i, got)
		return
	}
	if due := m.due(); len(due) > 0 {
		m.Fatalf("epoll_wait waits with %v due", due)
	}
	m.calls[i] = call{'e', m.ep}
}

// compare compares n events with those that are due.
func (m *model) compare(i int, n int64) {
	due := m.due()
	if int(n) != len(due) {
		m.Fatalf("%d events, due are %v", n, due)
	}
	for _, e := range events(m.events[i], n) {
		if due[int(e.data)] != e.events {
			m.Fatalf("events %#x of %d, due are %v", e.events, e.data, due)
		}
	}
}

// wake takes the woken, whose calls must be able to go on, or may have been
// overtaken by another.
func (m *model) wake() {
	for w := m.Woken(); w != nil; w = m.Woken() {
		i := 0
		for &m.waiters[i] != w {
			i++
		}
		c := m.calls[i]
		m.calls[i] = call{}
		switch {
		case c.kind == 0:
			m.Fatal("a waiter was woken that did not wait")
		case c.kind == 'e':
			m.compare(i, w.Result)
		case w.Result != Again:
			m.Fatalf("the result of a call that waited = %d", w.Result)
		}
	}
}

// lost finds calls that wait although they could go on.
func (m *model) lost() {
	polls := 0
	for i, c := range m.calls {
		if (c.kind != 0) != m.waiters[i].Waiting() {
			m.Fatalf("waiter %d: call %v, waiting %v", i, c, m.waiters[i].Waiting())
		}
		switch c.kind {
		case 'r':
			if m.ready(c.fd)&linux.EPOLLIN != 0 {
				m.Fatalf("a read of %d waits for what is there", c.fd)
			}
		case 'w':
			if m.counts[c.fd] == 0 && m.ready(c.fd)&linux.EPOLLOUT != 0 {
				m.Fatalf("a write to %d waits with room", c.fd)
			}
		case 'e':
			polls++
		}
	}
	// One wake-up for one event: the others wait for the next.
	if due := m.due(); polls > 0 && polls == len(m.calls) && len(due) > 0 {
		m.Fatalf("all wait in epoll_wait with %v due", due)
	}
}

// TestModel makes random calls on pipes, eventfds and an epoll instance, some
// of which wait, and compares each with the model: results, events, who is
// woken, and who is forgotten.
func TestModel(t *testing.T) {
	m := &model{
		table: newTable(t), r: rand.New(rand.NewPCG(1, 1)),
		bytes: map[int]*bytes.Buffer{}, ends: map[int]int{}, counts: map[int]uint64{}, watched: map[int]uint32{},
		buf: make([]byte, 3*PipeCapacity/4),
	}
	for i := range m.events {
		m.events[i] = make([]uint32, 3*16)
	}
	m.ep = m.must(m.EpollCreate())
	var readable, writable []int
	for range 2 {
		r, w := m.pipe(0)
		m.bytes[r], m.ends[r], m.ends[w] = new(bytes.Buffer), w, r
		e := m.must(m.Eventfd(0, 0))
		m.counts[e] = 0
		readable, writable = append(readable, r, e), append(writable, w, e)
	}
	all := slices.Concat(readable, writable)
	for range 30_000 {
		i := m.r.IntN(len(m.waiters))
		fd := all[m.r.IntN(len(all))]
		waits := m.calls[i].kind != 0
		switch op := m.r.IntN(8); {
		case op == 0 && waits:
			m.Cancel(&m.waiters[i])
			m.calls[i] = call{}
		case op == 1:
			m.watch(fd)
		case waits:
		case op <= 3:
			m.read(i, readable[m.r.IntN(len(readable))])
		case op <= 6:
			m.write(i, writable[m.r.IntN(len(writable))])
		default:
			m.poll(i)
		}
		m.wake()
		m.lost()
	}
}

// watch adds, changes or removes a watch of fd.
func (m *model) watch(fd int) {
	ev := uint32(linux.EPOLLIN)
	if m.r.IntN(2) == 0 {
		ev = linux.EPOLLIN | linux.EPOLLOUT
	}
	op := linux.EPOLL_CTL_ADD
	_, there := m.watched[fd]
	switch {
	case there && m.r.IntN(2) == 0:
		op = linux.EPOLL_CTL_DEL
		delete(m.watched, fd)
	case there:
		op = linux.EPOLL_CTL_MOD
		m.watched[fd] = ev
	default:
		m.watched[fd] = ev
	}
	if got := m.ctl(m.ep, op, fd, ev); got != 0 {
		m.Fatalf("epoll_ctl = %d", got)
	}
}

// TestCPUs has host threads stand for CPUs, half of which send bytes through a
// pipe that the others read, blocking, under one lock as in metal. No byte is
// lost, and nobody waits for ever.
func TestCPUs(t *testing.T) {
	const pairs, size = 3, 300_000
	cpu.Pause = runtime.Gosched
	var (
		tab  = newTable(t)
		lock spin.Lock
		wg   sync.WaitGroup
	)
	cpu.Pause = runtime.Gosched // newTable has set another
	type sleeper struct {
		Waiter
		awake chan struct{}
	}
	sleepers := map[*Waiter]*sleeper{} // not written once the CPUs run
	var slots []*sleeper
	for range 2 * pairs {
		s := &sleeper{awake: make(chan struct{}, 1)}
		sleepers[&s.Waiter], slots = s, append(slots, s)
	}
	// do repeats a call until it does not wait, as metal does.
	do := func(s *sleeper, f func() int64) int64 {
		for {
			lock.Lock()
			res := f()
			for w := tab.Woken(); w != nil; w = tab.Woken() {
				sleepers[w].awake <- struct{}{}
			}
			lock.Unlock()
			if res != Blocked {
				return res
			}
			<-s.awake
		}
	}
	var received [pairs]int64
	r, w := tab.pipe(0)
	for p := range pairs {
		in, out := slots[2*p], slots[2*p+1]
		src, dst := make([]byte, 7000), make([]byte, 5000)
		srcAddr, dstAddr := addr(&src[0]), addr(&dst[0])
		wg.Go(func() {
			for sent := int64(0); sent < size; {
				n := min(size-sent, int64(len(src)))
				sent += do(in, func() int64 { return tab.Write(&in.Waiter, w, srcAddr, uintptr(n)) })
			}
		})
		wg.Go(func() {
			for received[p] < size {
				n := min(size-received[p], int64(len(dst)))
				received[p] += do(out, func() int64 { return tab.Read(&out.Waiter, r, dstAddr, uintptr(n)) })
			}
		})
	}
	wg.Wait()
	if received != [pairs]int64{size, size, size} {
		t.Errorf("received %v of %d", received, size)
	}
}
