// Package queue keeps the threads of the kernel program in order: those that
// can run (Run), those that wait for a time (Deadlines), those that wait for a
// word of memory (Futexes). It knows a thread only as the Node in it, and tells
// who is next or due; to make a thread run is the caller's.
//
// Context: trap context. Nothing allocates or blocks.
//
// Locking: the caller holds the lock that guards the queue, which today is
// metal's one lock. Queues share nothing, and a node has links of its own for
// each kind of queue, so two queues of one kind may have two locks, and so may
// a Run and a Deadlines that hold the same nodes.
package queue

// Node is a thread's place in the queues: in one of each kind at most. The
// zero value is in none. It must not move while it is in one.
type Node struct {
	next *Node // in a Run; guarded by its lock

	// In a Deadlines while deadline is not 0; guarded by its lock.
	deadline      uint64 // ns since boot
	sooner, later *Node

	// In a Futexes while addr is not 0; guarded by its lock.
	addr                 uintptr
	futexPrev, futexNext *Node
}
