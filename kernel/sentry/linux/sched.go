package linux

import (
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/limits"
)

// schedCorrection: scheduling policies and priorities.
//
// Linux has the real-time policies SCHED_FIFO and SCHED_RR with priorities 1 to
// 99, for root, or within RLIMIT_RTPRIO (sched(7); __sched_setscheduler in
// kernel/sched/core.c). gVisor refuses them, knows no sched_setparam and no
// sched_rr_get_interval, and says that the priorities of any policy are 0 to 0.
//
// Here a policy is accepted, remembered, inherited and reported; it changes
// nothing in when a thread runs, as niceness does not. Threads take turns in
// the order in which they became ready. test/linux/src/sched.c.
var schedCorrection = correction{
	name: "sched",
	calls: map[uintptr]Wrapper{
		unix.SYS_SCHED_SETPARAM:         instead(schedSetparam),
		unix.SYS_SCHED_GETPARAM:         instead(schedGetparam),
		unix.SYS_SCHED_SETSCHEDULER:     instead(schedSetscheduler),
		unix.SYS_SCHED_GETSCHEDULER:     instead(schedGetscheduler),
		unix.SYS_SCHED_GET_PRIORITY_MAX: instead(schedPriority(99)),
		unix.SYS_SCHED_GET_PRIORITY_MIN: instead(schedPriority(1)),
		unix.SYS_SCHED_RR_GET_INTERVAL:  instead(schedInterval),
		unix.SYS_SCHED_SETATTR:          instead(schedSetattr),
		unix.SYS_SCHED_GETATTR:          instead(schedGetattr),
		unix.SYS_CLONE:                  inheritScheduling,
		unix.SYS_CLONE3:                 inheritScheduling,
		unix.SYS_FORK:                   inheritScheduling,
		unix.SYS_VFORK:                  inheritScheduling,
	},
}

// maxPriority is the highest real-time priority.
const maxPriority = 99

// scheduling is what sched_setattr(2) sets, but for the niceness. The Sentry
// keeps one number for a task, which only the calls above look at: the policy in
// bits 0 to 7, the priority in bits 8 to 15, SCHED_RESET_ON_FORK as it is.
type scheduling struct {
	policy   int32
	priority uint32
	reset    bool // children have SCHED_OTHER
}

func schedulingOf(t *kernel.Task) scheduling {
	n := t.GetScheduler()
	return scheduling{int32(n & 0xff), uint32(n >> 8 & 0xff), n&linux.SCHED_RESET_ON_FORK != 0}
}

func (s scheduling) store(t *kernel.Task) {
	n := uint(s.policy) | uint(s.priority)<<8
	if s.reset {
		n |= linux.SCHED_RESET_ON_FORK
	}
	t.SetScheduler(n)
}

func (s scheduling) realTime() bool {
	return s.policy == linux.SCHED_FIFO || s.policy == linux.SCHED_RR
}

// valid follows __sched_setscheduler. SCHED_DEADLINE is none of ours: its
// parameters are a promise that is not kept here.
func (s scheduling) valid() bool {
	switch s.policy {
	case linux.SCHED_NORMAL, linux.SCHED_BATCH, linux.SCHED_IDLE, linux.SCHED_FIFO, linux.SCHED_RR:
	default:
		return false
	}
	return s.priority <= maxPriority && s.realTime() == (s.priority != 0)
}

// permitted reports whether t may change target's scheduling from old to s
// (user_check_sched_setscheduler).
func (s scheduling) permitted(t, target *kernel.Task, old scheduling) bool {
	creds, owner := t.Credentials(), target.Credentials()
	if creds.HasCapabilityIn(linux.CAP_SYS_NICE, owner.UserNamespace) {
		return true
	}
	limit := target.ThreadGroup().Limits().Get(limits.RealTimePriority).Cur
	if s.realTime() && (s.policy != old.policy && limit == 0 || s.priority > old.priority && uint64(s.priority) > limit) {
		return false
	}
	if old.reset && !s.reset {
		return false
	}
	return creds.EffectiveKUID == owner.EffectiveKUID || creds.EffectiveKUID == owner.RealKUID
}

// set checks s and stores it for target.
func (s scheduling) set(t, target *kernel.Task) error {
	if !s.valid() {
		return linuxerr.EINVAL
	}
	if !s.permitted(t, target, schedulingOf(target)) {
		return linuxerr.EPERM
	}
	s.store(target)
	return nil
}

// schedTarget returns the task that argument 0 names.
func schedTarget(t *kernel.Task, args arch.SyscallArguments) (*kernel.Task, error) {
	pid := kernel.ThreadID(args[0].Int())
	switch {
	case pid < 0:
		return nil, linuxerr.EINVAL
	case pid == 0:
		return t, nil
	}
	if target := t.PIDNamespace().TaskWithID(pid); target != nil {
		return target, nil
	}
	return nil, linuxerr.ESRCH
}

// copyInPriority reads a struct sched_param.
func copyInPriority(t *kernel.Task, addr hostarch.Addr) (uint32, error) {
	if addr == 0 {
		return 0, linuxerr.EINVAL
	}
	var p int32
	_, err := primitive.CopyInt32In(t, addr, &p)
	return uint32(p), err
}

func schedSetparam(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, setSchedParam(t, args, args[1].Pointer(), func(old scheduling) scheduling { return old })
}

func schedSetscheduler(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	policy := args[1].Int()
	if policy < 0 {
		return 0, nil, linuxerr.EINVAL
	}
	return 0, nil, setSchedParam(t, args, args[2].Pointer(), func(scheduling) scheduling {
		return scheduling{policy: policy &^ linux.SCHED_RESET_ON_FORK, reset: policy&linux.SCHED_RESET_ON_FORK != 0}
	})
}

// setSchedParam sets what change makes of a task's scheduling, with the priority
// in the struct sched_param at param.
func setSchedParam(t *kernel.Task, args arch.SyscallArguments, param hostarch.Addr, change func(scheduling) scheduling) error {
	if args[0].Int() < 0 {
		return linuxerr.EINVAL
	}
	priority, err := copyInPriority(t, param)
	if err != nil {
		return err
	}
	target, err := schedTarget(t, args)
	if err != nil {
		return err
	}
	s := change(schedulingOf(target))
	if s.policy > 0xff {
		return linuxerr.EINVAL
	}
	s.priority = priority
	return s.set(t, target)
}

func schedGetparam(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	if args[1].Pointer() == 0 {
		return 0, nil, linuxerr.EINVAL
	}
	target, err := schedTarget(t, args)
	if err != nil {
		return 0, nil, err
	}
	_, err = primitive.CopyInt32Out(t, args[1].Pointer(), int32(schedulingOf(target).priority))
	return 0, nil, err
}

func schedGetscheduler(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	target, err := schedTarget(t, args)
	if err != nil {
		return 0, nil, err
	}
	s := schedulingOf(target)
	n := uintptr(s.policy)
	if s.reset {
		n |= linux.SCHED_RESET_ON_FORK
	}
	return n, nil, nil
}

// schedPriority returns the call that says which priority is the limit for a
// policy: limit for the real-time ones.
func schedPriority(limit uintptr) kernel.SyscallFn {
	return func(_ *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		switch args[0].Int() {
		case linux.SCHED_FIFO, linux.SCHED_RR:
			return limit, nil, nil
		case linux.SCHED_NORMAL, linux.SCHED_BATCH, linux.SCHED_IDLE, linux.SCHED_DEADLINE:
			return 0, nil, nil
		}
		return 0, nil, linuxerr.EINVAL
	}
}

// Time slices. Linux gives SCHED_RR 100 ms (RR_TIMESLICE); the Go runtime lets
// a thread go on for 10 ms when another is ready, whatever its policy.
const (
	rrSlice   = 100 * time.Millisecond
	fairSlice = 10 * time.Millisecond
)

func schedInterval(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	target, err := schedTarget(t, args)
	if err != nil {
		return 0, nil, err
	}
	slice := fairSlice
	switch schedulingOf(target).policy {
	case linux.SCHED_RR:
		slice = rrSlice
	case linux.SCHED_FIFO:
		slice = 0
	}
	ts := linux.NsecToTimespec(slice.Nanoseconds())
	_, err = ts.CopyOut(t, args[1].Pointer())
	return 0, nil, err
}

// inherit gives a child of a task what it has of s (sched_fork).
func (s scheduling) inherit(child *kernel.Task) {
	if s.reset {
		s.reset = false
		if s.realTime() {
			s.policy, s.priority = linux.SCHED_NORMAL, 0
		}
		child.SetNiceness(max(0, child.Niceness()))
	}
	s.store(child)
}

// inheritScheduling gives a child its parent's policy. The child is not
// yet able to run: there is one CPU, and its parent has it.
func inheritScheduling(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		tid, ctrl, err := next(t, sysno, args)
		if err != nil || t.GetScheduler() == linux.SCHED_NORMAL {
			return tid, ctrl, err
		}
		if child := t.PIDNamespace().TaskWithID(kernel.ThreadID(tid)); child != nil {
			schedulingOf(t).inherit(child)
		}
		return tid, ctrl, err
	}
}
