package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/limits"
)

// priorityCorrection: getpriority(2) and setpriority(2).
//
// Linux asks and sets the niceness of a process, of a process group or of a
// user's, keeps it between -20 and 19, and lets only root raise a priority beyond
// RLIMIT_NICE (kernel/sys.c). gVisor does a process only, and lets everybody.
// Niceness changes nothing here. test/linux/src/process.c.
var priorityCorrection = correction{
	name: "priority",
	calls: map[uintptr]Wrapper{
		unix.SYS_GETPRIORITY: instead(getPriority),
		unix.SYS_SETPRIORITY: instead(setPriority),
	},
}

// Niceness has these limits.
const (
	minNice = -20
	maxNice = 19
)

// priorityTargets returns the tasks that the first two arguments name.
func priorityTargets(t *kernel.Task, args arch.SyscallArguments) ([]*kernel.Task, error) {
	which, who := args[0].Int(), args[1].Int()
	ns := t.PIDNamespace()
	var match func(*kernel.Task) bool
	switch which {
	case linux.PRIO_PROCESS:
		target := t
		if who != 0 {
			if target = ns.TaskWithID(kernel.ThreadID(who)); target == nil {
				return nil, linuxerr.ESRCH
			}
		}
		return []*kernel.Task{target}, nil
	case linux.PRIO_PGRP:
		group := t.ThreadGroup().ProcessGroup()
		if who != 0 {
			group = ns.ProcessGroupWithID(kernel.ProcessGroupID(who))
		}
		match = func(target *kernel.Task) bool { return group != nil && target.ThreadGroup().ProcessGroup() == group }
	case linux.PRIO_USER:
		uid := t.Credentials().RealKUID
		if who != 0 {
			uid = t.UserNamespace().MapToKUID(auth.UID(who))
		}
		match = func(target *kernel.Task) bool { return target.Credentials().RealKUID == uid }
	default:
		return nil, linuxerr.EINVAL
	}
	var targets []*kernel.Task
	for _, target := range ns.Tasks() {
		if match(target) {
			targets = append(targets, target)
		}
	}
	if targets == nil {
		return nil, linuxerr.ESRCH
	}
	return targets, nil
}

// getPriority returns 20 minus the lowest niceness.
func getPriority(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	targets, err := priorityTargets(t, args)
	if err != nil {
		return 0, nil, err
	}
	nice := maxNice
	for _, target := range targets {
		nice = min(nice, target.Niceness())
	}
	return uintptr(maxNice + 1 - nice), nil, nil
}

func setPriority(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	targets, err := priorityTargets(t, args)
	if err != nil {
		return 0, nil, err
	}
	nice := min(max(int(args[2].Int()), minNice), maxNice)
	for _, target := range targets {
		if e := mayNice(t, target, nice); e != nil {
			err = e
			continue
		}
		target.SetNiceness(nice)
	}
	return 0, nil, err
}

// mayNice follows set_one_prio.
func mayNice(t, target *kernel.Task, nice int) error {
	creds, owner := t.Credentials(), target.Credentials()
	capable := creds.HasCapabilityIn(linux.CAP_SYS_NICE, owner.UserNamespace)
	if !capable && creds.EffectiveKUID != owner.RealKUID && creds.EffectiveKUID != owner.EffectiveKUID {
		return linuxerr.EPERM
	}
	limit := target.ThreadGroup().Limits().Get(limits.Nice).Cur
	if nice < target.Niceness() && !capable && uint64(maxNice+1-nice) > limit {
		return linuxerr.EACCES
	}
	return nil
}
