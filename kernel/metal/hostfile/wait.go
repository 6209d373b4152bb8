package hostfile

// Blocked is what a call returns whose Waiter has been queued.
const Blocked = -1 << 62

// Again is the Result of a waiter whose call is to be made once more.
const Again = -1<<62 + 1

// Waiter is one thread's place among those that wait for files: in the queue of
// one file, or in the list of the woken. The zero value is in none. It must not
// move while it is in one.
type Waiter struct {
	file       *File // whose queue it is in; nil if in none
	prev, next *Waiter

	events uintptr // of an epoll_wait: where the events go
	max    int     // room for so many; 0 for a read or write

	// Result is what the call that waited returns, once Woken gave the waiter.
	Result int64
}

// Waiting reports whether w is in a file's queue.
func (w *Waiter) Waiting() bool { return w.file != nil }

// list is a doubly linked list of waiters, oldest first.
type list struct{ head, tail *Waiter }

// push puts w, which is in no list, at the end.
func (l *list) push(w *Waiter) {
	w.prev, w.next = l.tail, nil
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
}

// remove takes w, which is in l, out.
func (l *list) remove(w *Waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

// wait puts w, which is in no list, into f's queue. events and max are zero but
// for epoll_wait.
func (f *File) wait(w *Waiter, events uintptr, max int) int64 {
	w.file, w.events, w.max = f, events, max
	f.waiters.push(w)
	return Blocked
}

// Cancel takes w out of the queue that it waits in: its time is up, or a signal
// came.
func (t *Table) Cancel(w *Waiter) {
	w.file.waiters.remove(w)
	w.file = nil
}

// wake moves w from its file's queue to the woken.
func (t *Table) wake(w *Waiter, result int64) {
	t.Cancel(w)
	w.Result = result
	t.woken.push(w)
}

// wakeAll wakes all that wait for f: to try again.
func (t *Table) wakeAll(f *File) {
	for f.waiters.head != nil {
		t.wake(f.waiters.head, Again)
	}
}

// Woken takes the next waiter that was woken out of the list, nil if there is
// none. Its thread is to return Result, or to make its call once more if that is
// Again.
func (t *Table) Woken() *Waiter {
	w := t.woken.head
	if w != nil {
		t.woken.remove(w)
	}
	return w
}

// notify tells those who wait for f that something happened to it.
func (t *Table) notify(f *File) {
	for w := f.watches; w != nil; w = w.next {
		w.fresh = true
		t.wakeEpoll(w.epoll)
	}
	t.wakeAll(f)
}
