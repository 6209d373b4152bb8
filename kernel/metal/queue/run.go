package queue

// Run is a queue of threads that can run, first come, first served. The zero
// value is empty.
type Run struct{ head, tail *Node }

// Empty reports whether no thread is in the queue.
func (q *Run) Empty() bool { return q.head == nil }

// Push puts n, which is in no Run, at the end.
func (q *Run) Push(n *Node) {
	n.next = nil
	if q.tail == nil {
		q.head = n
	} else {
		q.tail.next = n
	}
	q.tail = n
}

// PushFirst puts n, which is in no Run, before all others.
func (q *Run) PushFirst(n *Node) {
	n.next = q.head
	q.head = n
	if q.tail == nil {
		q.tail = n
	}
}

// Pop takes the first thread out of the queue, nil if there is none.
func (q *Run) Pop() *Node {
	n := q.head
	if n == nil {
		return nil
	}
	q.head = n.next
	if q.head == nil {
		q.tail = nil
	}
	n.next = nil
	return n
}
