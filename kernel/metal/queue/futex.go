package queue

// buckets hash the waiting threads by the address that they wait at.
const buckets = 64

// Futexes holds the threads that wait at words of memory. The zero value is
// empty.
type Futexes struct {
	heads, tails [buckets]*Node
}

// bucket returns the bucket of an address: a word's address, so its two lowest
// bits say nothing.
func bucket(addr uintptr) uintptr { return addr >> 2 % buckets }

// Wait puts n, which is in no Futexes, behind those that wait at addr, which is
// not 0.
func (f *Futexes) Wait(n *Node, addr uintptr) {
	b := bucket(addr)
	n.addr = addr
	n.futexPrev, n.futexNext = f.tails[b], nil
	if f.tails[b] == nil {
		f.heads[b] = n
	} else {
		f.tails[b].futexNext = n
	}
	f.tails[b] = n
}

// InFutex reports whether n is in a Futexes.
func (n *Node) InFutex() bool { return n.addr != 0 }

// Remove takes n, which is in f, out.
func (f *Futexes) Remove(n *Node) {
	b := bucket(n.addr)
	if n.futexPrev == nil {
		f.heads[b] = n.futexNext
	} else {
		n.futexPrev.futexNext = n.futexNext
	}
	if n.futexNext == nil {
		f.tails[b] = n.futexPrev
	} else {
		n.futexNext.futexPrev = n.futexPrev
	}
	n.futexPrev, n.futexNext, n.addr = nil, nil, 0
}

// Wake takes out the thread that has waited longest at addr, and returns it,
// nil if none waits.
func (f *Futexes) Wake(addr uintptr) *Node {
	for n := f.heads[bucket(addr)]; n != nil; n = n.futexNext {
		if n.addr == addr {
			f.Remove(n)
			return n
		}
	}
	return nil
}
