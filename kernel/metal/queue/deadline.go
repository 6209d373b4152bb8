package queue

// Deadlines holds the threads that wait for a time, soonest first; of equal
// times, first come first. The zero value is empty.
//
// Add takes time in proportion to the threads that are due earlier. Those are
// few: goroutines that sleep are in the heap of the Go runtime, which has one
// thread wait for the first of them.
type Deadlines struct{ head *Node }

// Add has n, which is in no Deadlines, wait until deadline, in ns since boot
// and not 0.
func (d *Deadlines) Add(n *Node, deadline uint64) {
	n.deadline = deadline
	var sooner *Node
	later := d.head
	for later != nil && later.deadline <= deadline {
		sooner, later = later, later.later
	}
	n.sooner, n.later = sooner, later
	if sooner == nil {
		d.head = n
	} else {
		sooner.later = n
	}
	if later != nil {
		later.sooner = n
	}
}

// HasDeadline reports whether n is in a Deadlines.
func (n *Node) HasDeadline() bool { return n.deadline != 0 }

// Remove takes n, which is in d, out.
func (d *Deadlines) Remove(n *Node) {
	if n.sooner == nil {
		d.head = n.later
	} else {
		n.sooner.later = n.later
	}
	if n.later != nil {
		n.later.sooner = n.sooner
	}
	n.sooner, n.later, n.deadline = nil, nil, 0
}

// Next returns the soonest deadline, 0 if there is none.
func (d *Deadlines) Next() uint64 {
	if d.head == nil {
		return 0
	}
	return d.head.deadline
}

// Expired takes out the first thread whose deadline is not after now, and
// returns it, nil if there is none.
func (d *Deadlines) Expired(now uint64) *Node {
	n := d.head
	if n == nil || n.deadline > now {
		return nil
	}
	d.Remove(n)
	return n
}
