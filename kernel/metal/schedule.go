package main

import (
	"sync/atomic"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/linux"
)

// timeSlice is how long a thread runs while others wait, in ns.
const timeSlice = 4_000_000

// sliceEnd is when the running thread should give way, 0 if nothing waits.
var sliceEnd uint64

// ready puts a blocked thread at the end of the run queue. A hostcall that
// blocked returns result.
func ready(t *thread, result int64) {
	if t.state != threadBlocked {
		return
	}
	t.regs.RAX = uint64(result)
	leaveWait(t)
	t.state = threadRunnable
	t.next = nil
	if runTail == nil {
		runHead = t
	} else {
		runTail.next = t
	}
	runTail = t
}

// readyFirst is ready for a thread that should run at once: a timer expired
// or a device wants attention.
func readyFirst(t *thread, result int64) {
	if t.state != threadBlocked {
		return
	}
	t.regs.RAX = uint64(result)
	leaveWait(t)
	t.state = threadRunnable
	t.next = runHead
	runHead = t
	if runTail == nil {
		runTail = t
	}
	thisCPU().needPick = true
}

// leaveWait takes a thread out of whatever it waits in.
func leaveWait(t *thread) {
	if t.wait == waitFutex {
		futexRemove(t)
	}
	if t.deadline != 0 {
		timerRemove(t)
	}
	t.wait = waitNothing
	t.waitFile = nil
}

// block takes the running thread off the CPU until ready. A deadline of 0
// means none.
func block(t *thread, wait int32, deadline uint64) {
	t.state = threadBlocked
	t.wait = wait
	if deadline != 0 {
		timerAdd(t, deadline)
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
	if t.state == threadRunning && t != c.idle {
		if c.needPick && runHead != nil {
			// t was interrupted by something more urgent: next in line.
			c.needPick = false
			first := runHead
			t.state = threadRunnable
			t.next = first.next
			first.next = t
			if runTail == first {
				runTail = t
			}
			t = nil
		} else if sliceEnd != 0 && now() >= sliceEnd {
			yield(t)
			t = nil
		}
	} else {
		t = nil
	}
	c.needPick = false
	if t == nil {
		t = runHead
		if t == nil {
			t = c.idle
		} else {
			runHead = t.next
			if runHead == nil {
				runTail = nil
			}
			t.next = nil
		}
		sliceEnd = 0
	}
	t.state = threadRunning
	if runHead == nil {
		sliceEnd = 0
	} else if sliceEnd == 0 {
		sliceEnd = now() + timeSlice
	}
	deliverSignals(t)
	armTimer()
	return t
}

// timerHead is the list of threads with a deadline, soonest first.
var timerHead *thread

func timerAdd(t *thread, deadline uint64) {
	t.deadline = deadline
	var prev *thread
	next := timerHead
	for next != nil && next.deadline <= deadline {
		prev, next = next, next.timerNext
	}
	t.timerPrev, t.timerNext = prev, next
	if prev == nil {
		timerHead = t
	} else {
		prev.timerNext = t
	}
	if next != nil {
		next.timerPrev = t
	}
}

func timerRemove(t *thread) {
	if t.timerPrev == nil {
		timerHead = t.timerNext
	} else {
		t.timerPrev.timerNext = t.timerNext
	}
	if t.timerNext != nil {
		t.timerNext.timerPrev = t.timerPrev
	}
	t.timerNext, t.timerPrev = nil, nil
	t.deadline = 0
}

// expireTimers readies the threads whose deadline has come.
func expireTimers() {
	if timerHead == nil {
		return
	}
	ns := now()
	for timerHead != nil && timerHead.deadline <= ns {
		t := timerHead
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
	if timerHead != nil && (next == 0 || timerHead.deadline < next) {
		next = timerHead.deadline
	}
	setTimer(next)
}

// metalLock guards everything in metal. See the package comment.
var metalLock spinLock

// spinLock is a lock for trap context.
type spinLock struct{ held uint32 }

func (l *spinLock) lock() {
	for !atomic.CompareAndSwapUint32(&l.held, 0, 1) {
		cpu.Pause()
	}
}

func (l *spinLock) unlock() { atomic.StoreUint32(&l.held, 0) }
