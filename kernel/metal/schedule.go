package main

import (
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/queue"
	"kiln/kernel/metal/spin"
)

// timeSlice is how long a thread runs while others wait, in ns.
const timeSlice = 4_000_000

// sliceEnd is when the running thread should give way, 0 if nothing waits.
var sliceEnd uint64

// The threads in order. Guarded by metalLock.
var (
	runnable  queue.Run
	deadlines queue.Deadlines
	futexes   queue.Futexes
)

// ready puts a blocked thread at the end of the run queue. A hostcall that
// blocked returns result.
func ready(t *thread, result int64) {
	if t.state != threadBlocked {
		return
	}
	unblock(t, result)
	runnable.Push(&t.node)
}

// readyFirst is ready for a thread that should run at once: a timer expired
// or a device wants attention.
func readyFirst(t *thread, result int64) {
	if t.state != threadBlocked {
		return
	}
	unblock(t, result)
	runnable.PushFirst(&t.node)
	thisCPU().needPick = true
}

// unblock takes a blocked thread out of whatever it waits in.
func unblock(t *thread, result int64) {
	t.regs.RAX = uint64(result)
	if t.node.InFutex() {
		futexes.Remove(&t.node)
	}
	if t.node.HasDeadline() {
		deadlines.Remove(&t.node)
	}
	if t.waiter.Waiting() {
		files.Cancel(&t.waiter)
	}
	t.wait = waitNothing
	t.state = threadRunnable
}

// block takes the running thread off the CPU until ready. A deadline of 0
// means none.
func block(t *thread, wait int32, deadline uint64) {
	t.state = threadBlocked
	t.wait = wait
	if deadline != 0 {
		deadlines.Add(&t.node, deadline)
	}
}

// yield puts the running thread behind the others.
func yield(t *thread) {
	t.state = threadBlocked
	ready(t, int64(t.regs.RAX))
}

// schedule chooses the thread to run after metal's work for t, and makes it
// ready to be resumed: its signals delivered, the timer armed.
func schedule(t *thread) *thread {
	c := thisCPU()
	if t.state != threadRunning || t == c.idle {
		t = nil
	} else if c.needPick && !runnable.Empty() {
		// t was interrupted by something more urgent: next in line.
		first := runnable.Pop()
		t.state = threadRunnable
		runnable.PushFirst(&t.node)
		runnable.PushFirst(first)
		t = nil
	} else if sliceEnd != 0 && now() >= sliceEnd {
		yield(t)
		t = nil
	}
	c.needPick = false
	if t == nil {
		t = c.idle
		if n := runnable.Pop(); n != nil {
			t = threadOf(n)
		}
		sliceEnd = 0
	}
	t.state = threadRunning
	if runnable.Empty() {
		sliceEnd = 0
	} else if sliceEnd == 0 {
		sliceEnd = now() + timeSlice
	}
	deliverSignals(t)
	armTimer()
	return t
}

// expireTimers readies the threads whose deadline has come.
func expireTimers() {
	if deadlines.Next() == 0 {
		return
	}
	ns := now()
	for n := deadlines.Expired(ns); n != nil; n = deadlines.Expired(ns) {
		t := threadOf(n)
		readyFirst(t, timeoutResult(t))
	}
}

// timeoutResult is what a hostcall returns whose deadline came.
func timeoutResult(t *thread) int64 {
	switch t.wait {
	case waitFutex:
		return -linux.ETIMEDOUT
	default: // nanosleep: done; epoll_pwait: no events
		return 0
	}
}

// armTimer programs the local APIC timer for the next deadline. Without one it
// stays off: an idle guest takes no interrupts.
func armTimer() {
	next := sliceEnd
	if first := deadlines.Next(); first != 0 && (next == 0 || first < next) {
		next = first
	}
	setTimer(next)
}

// metalLock guards everything in metal. See the package comment.
var metalLock spin.Lock
