package queue

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/spin"
)

// rounds is how many random operations a model test makes.
const rounds = 20_000

// TestRunModel makes random operations on a Run and on a slice.
func TestRunModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var (
		q     Run
		model []*Node
		out   = make([]*Node, 40) // nodes in no queue
	)
	for i := range out {
		out[i] = new(Node)
	}
	for i := range rounds {
		switch op := r.IntN(3); {
		case op == 2:
			got := q.Pop()
			if len(model) == 0 {
				if got != nil {
					t.Fatalf("step %d: Pop of an empty queue returned a node", i)
				}
				continue
			}
			if got != model[0] {
				t.Fatalf("step %d: Pop returned another node than the first", i)
			}
			model, out = model[1:], append(out, got)
		case len(out) == 0:
		case op == 1:
			n := out[len(out)-1]
			out = out[:len(out)-1]
			q.Push(n)
			model = append(model, n)
		default:
			n := out[len(out)-1]
			out = out[:len(out)-1]
			q.PushFirst(n)
			model = append([]*Node{n}, model...)
		}
		if q.Empty() != (len(model) == 0) {
			t.Fatalf("step %d: Empty = %v with %d nodes", i, q.Empty(), len(model))
		}
	}
}

// TestDeadlinesModel makes random operations on a Deadlines and on a sorted
// slice.
func TestDeadlinesModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var (
		d     Deadlines
		model []*Node
		nodes = make([]Node, 40)
		now   = uint64(1)
	)
	for i := range rounds {
		n := &nodes[r.IntN(len(nodes))]
		switch r.IntN(3) {
		case 0:
			if n.HasDeadline() {
				continue
			}
			at := now + r.Uint64N(50)
			d.Add(n, at)
			// Behind those that are due at the same time.
			place := slices.IndexFunc(model, func(m *Node) bool { return m.deadline > at })
			if place < 0 {
				place = len(model)
			}
			model = slices.Insert(model, place, n)
		case 1:
			if !n.HasDeadline() {
				continue
			}
			d.Remove(n)
			model = slices.DeleteFunc(model, func(m *Node) bool { return m == n })
		case 2:
			now += r.Uint64N(10)
			for {
				var want *Node
				if len(model) > 0 && model[0].deadline <= now {
					want, model = model[0], model[1:]
				}
				if got := d.Expired(now); got != want {
					t.Fatalf("step %d: Expired(%d) returned another node", i, now)
				}
				if want == nil {
					break
				}
				if want.HasDeadline() {
					t.Fatalf("step %d: an expired node has a deadline", i)
				}
			}
		}
		want := uint64(0)
		if len(model) > 0 {
			want = model[0].deadline
		}
		if got := d.Next(); got != want {
			t.Fatalf("step %d: Next = %d, want %d", i, got, want)
		}
	}
}

// TestFutexesModel makes random operations on a Futexes and on a queue for each
// address. The addresses fall into few buckets, so that these are shared.
func TestFutexesModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var (
		f     Futexes
		model = map[uintptr][]*Node{}
		nodes = make([]Node, 40)
	)
	for i := range rounds {
		n := &nodes[r.IntN(len(nodes))]
		addr := 0xffffa00000000000 + uintptr(r.IntN(3))*4 + uintptr(r.IntN(4))*4*buckets
		switch r.IntN(4) {
		case 0, 1:
			if n.InFutex() {
				continue
			}
			f.Wait(n, addr)
			model[addr] = append(model[addr], n)
		case 2:
			if !n.InFutex() {
				continue
			}
			at := n.addr
			f.Remove(n)
			model[at] = slices.DeleteFunc(model[at], func(m *Node) bool { return m == n })
		case 3:
			var want *Node
			if q := model[addr]; len(q) > 0 {
				want, model[addr] = q[0], q[1:]
			}
			got := f.Wake(addr)
			if got != want {
				t.Fatalf("step %d: Wake(%#x) returned another node than the oldest", i, addr)
			}
			if got != nil && got.InFutex() {
				t.Fatalf("step %d: a woken node is still in the queue", i)
			}
		}
	}
	for addr, q := range model {
		for _, want := range q {
			if got := f.Wake(addr); got != want {
				t.Fatalf("at the end, Wake(%#x) returned another node than the oldest", addr)
			}
		}
	}
	if f != (Futexes{}) {
		t.Error("an empty Futexes is not the zero value")
	}
}

// TestKinds puts one node in a queue of each kind: they do not disturb each
// other.
func TestKinds(t *testing.T) {
	var (
		q Run
		d Deadlines
		f Futexes
		a Node
		b Node
	)
	for _, n := range []*Node{&a, &b} {
		f.Wait(n, 0x1000)
		d.Add(n, 7)
		q.Push(n)
	}
	f.Remove(&a)
	if a.InFutex() || !a.HasDeadline() || d.Next() != 7 {
		t.Error("leaving a futex changed a deadline")
	}
	d.Remove(&b)
	if got := f.Wake(0x1000); got != &b {
		t.Error("leaving a deadline changed a futex")
	}
	if q.Pop() != &a || q.Pop() != &b || q.Pop() != nil {
		t.Error("leaving others changed the run queue")
	}
}

// TestCPUs has host threads stand for CPUs that share the queues under a lock
// for each kind. Every thread of the kernel program is run, sleeps or waits at
// a word in turn; in the end none is lost, and the race detector has seen that
// the links of one kind need only the lock of that kind.
func TestCPUs(t *testing.T) {
	const cpus, threads, steps = 4, 32, 3000
	cpu.Pause = runtime.Gosched
	type thread struct {
		Node
		running atomic.Int32
		state   int // written by who has taken the thread out of a queue
	}
	var (
		run       Run
		deadlines Deadlines
		futexes   Futexes
		runLock   spin.Lock
		timeLock  spin.Lock
		futexLock spin.Lock
		clock     atomic.Uint64
		all       [threads]thread
		byNode    = map[*Node]*thread{} // not written once the CPUs run
	)
	for i := range all {
		byNode[&all[i].Node] = &all[i]
		run.Push(&all[i].Node)
	}
	push := func(n *Node) {
		runLock.Lock()
		run.Push(n)
		runLock.Unlock()
	}
	take := func(l *spin.Lock, from func() *Node) *Node {
		l.Lock()
		defer l.Unlock()
		return from()
	}
	var wg sync.WaitGroup
	for c := range cpus {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 7))
			for range steps {
				now := clock.Add(1)
				if n := take(&timeLock, func() *Node { return deadlines.Expired(now) }); n != nil {
					push(n)
				}
				addr := uintptr(4096 + 4*r.IntN(8))
				if n := take(&futexLock, func() *Node { return futexes.Wake(addr) }); n != nil {
					push(n)
				}
				n := take(&runLock, run.Pop)
				if n == nil {
					runtime.Gosched()
					continue
				}
				th := byNode[n]
				if th.running.Add(1) != 1 {
					t.Error("a thread runs on two CPUs")
				}
				th.state++
				th.running.Add(-1)
				switch r.IntN(3) {
				case 0:
					timeLock.Lock()
					deadlines.Add(n, now+r.Uint64N(20))
					timeLock.Unlock()
				case 1:
					futexLock.Lock()
					futexes.Wait(n, addr)
					futexLock.Unlock()
				default:
					push(n)
				}
			}
		})
	}
	wg.Wait()
	found := map[*Node]bool{}
	for n := run.Pop(); n != nil; n = run.Pop() {
		found[n] = true
	}
	for n := deadlines.Expired(1 << 62); n != nil; n = deadlines.Expired(1 << 62) {
		found[n] = true
	}
	for i := range 8 {
		for n := futexes.Wake(uintptr(4096 + 4*i)); n != nil; n = futexes.Wake(uintptr(4096 + 4*i)) {
			found[n] = true
		}
	}
	if len(found) != threads {
		t.Errorf("%d of %d threads found", len(found), threads)
	}
}
