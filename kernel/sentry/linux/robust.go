package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	pb "gvisor.dev/gvisor/pkg/sentry/seccheck/points/points_go_proto"
	"gvisor.dev/gvisor/pkg/sync"
)

// robustCorrection: robust mutexes whose owner ends.
//
// Linux goes through the ended thread's list of robust futexes, marks each with
// FUTEX_OWNER_DIED, wakes a waiter, or makes the first waiter of a priority-inheriting
// one the owner (exit_robust_list and exit_pi_state_list in kernel/futex/core.c).
//
// gVisor takes bit 0 of a list entry, which says that the futex inherits
// priorities, for a part of the next entry's address; wakes nobody who waits for such a
// futex; and looks for waiters of others under a wrong key if bit 7 of the owner's
// thread number is set. Waiters stay for ever. test/linux/src/robust.c.
//
// The list is gone through here before gVisor does, when it says that a task ends,
// as it says to monitors of its own. A task that calls execve keeps gVisor's.
var robustCorrection = correction{
	name:  "robust",
	calls: map[uintptr]Wrapper{unix.SYS_FUTEX: awaitHandover},
	apply: func(*kernel.Kernel) {
		seccheck.Global.AppendSink(&exitSink{}, []seccheck.PointReq{{Pt: seccheck.PointTaskExit}})
	},
}

// exitSink is told of each task that ends, on its goroutine.
type exitSink struct{ seccheck.SinkDefaults }

// Name implements seccheck.Sink.
func (*exitSink) Name() string { return "kiln" }

// TaskExit implements seccheck.Sink.
func (*exitSink) TaskExit(ctx context.Context, _ seccheck.FieldSet, _ *pb.TaskExit) error {
	t := kernel.TaskFromContext(ctx)
	if t == nil || t.MemoryManager() == nil {
		return nil
	}
	if head := t.GetRobustList(); head != 0 {
		t.SetRobustList(0)
		exitRobustList(t, head)
	}
	return nil
}

// robustEntry is a pointer in the list: an address, and in bit 0 whether the futex
// inherits priorities.
type robustEntry uint64

func (e robustEntry) addr() hostarch.Addr { return hostarch.Addr(e &^ 1) }
func (e robustEntry) pi() bool            { return e&1 != 0 }

// exitRobustList follows Linux' function of that name. What cannot be read ends
// it silently, as there.
func exitRobustList(t *kernel.Task, head hostarch.Addr) {
	var h linux.RobustListHead
	if _, err := h.CopyIn(t, head); err != nil {
		return
	}
	pending := robustEntry(h.ListOpPending)
	entry := robustEntry(h.List)
	for n := 0; n < linux.ROBUST_LIST_LIMIT && entry.addr() != head; n++ {
		// The next entry is read first: who is woken may change the list.
		var next uint64
		_, err := primitive.CopyUint64In(t, entry.addr(), &next)
		if entry.addr() != pending.addr() {
			ownerDied(t, entry.addr()+hostarch.Addr(h.FutexOffset), entry.pi(), false)
		}
		if err != nil {
			return
		}
		entry = robustEntry(next)
	}
	if pending.addr() != 0 {
		ownerDied(t, pending.addr()+hostarch.Addr(h.FutexOffset), pending.pi(), true)
	}
}

// ownerDied marks a futex of the task that ends (handle_futex_death). pending says
// that the task was about to take or release it.
func ownerDied(t *kernel.Task, addr hostarch.Addr, pi, pending bool) {
	tid := uint32(t.ThreadID())
	for {
		word, err := t.LoadUint32(addr)
		if err != nil {
			return
		}
		switch owner := word & linux.FUTEX_TID_MASK; {
		case pending && !pi && owner == 0:
			t.Futex().Wake(t, addr, false, linux.FUTEX_BITSET_MATCH_ANY, 1)
			return
		case owner != tid:
			return
		}
		if pi && word&linux.FUTEX_WAITERS != 0 {
			handOver(t, addr, tid)
			return
		}
		was, err := t.CompareAndSwapUint32(addr, word, word&linux.FUTEX_WAITERS|linux.FUTEX_OWNER_DIED)
		if err != nil {
			return
		}
		if was != word {
			continue
		}
		if word&linux.FUTEX_WAITERS != 0 {
			t.Futex().Wake(t, addr, false, linux.FUTEX_BITSET_MATCH_ANY, 1)
		}
		return
	}
}

// handovers is held while a futex passes to a waiter, until the word says that its
// owner died.
var handovers sync.Mutex

// handOver makes the first waiter of a priority-inheriting futex its owner. gVisor
// keeps waiters of shared and of private futexes apart; who locks a robust one uses
// the first kind (glibc, nptl/pthread_mutex_lock.c).
func handOver(t *kernel.Task, addr hostarch.Addr, tid uint32) {
	handovers.Lock()
	defer handovers.Unlock()
	for _, private := range []bool{false, true} {
		if err := t.Futex().UnlockPI(t, addr, tid, private); err != nil {
			return
		}
		word, err := t.LoadUint32(addr)
		if err != nil || word != 0 {
			break
		}
		if private {
			break // nobody waits
		}
		if was, err := t.CompareAndSwapUint32(addr, 0, tid|linux.FUTEX_WAITERS); err != nil || was != 0 {
			break
		}
	}
	for {
		word, err := t.LoadUint32(addr)
		if err != nil {
			return
		}
		if was, err := t.CompareAndSwapUint32(addr, word, word|linux.FUTEX_OWNER_DIED); err != nil || was == word {
			return
		}
	}
}

// awaitHandover wraps futex(2): who has got a priority-inheriting futex goes on once
// its word is right.
func awaitHandover(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, sysno, args)
		if args[1].Int()&^(linux.FUTEX_PRIVATE_FLAG|linux.FUTEX_CLOCK_REALTIME) == linux.FUTEX_LOCK_PI && err == nil {
			handovers.Lock()
			handovers.Unlock()
		}
		return n, ctrl, err
	}
}
