package linux

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// schedFlags are the flags of struct sched_attr that Linux knows
// (SCHED_FLAG_ALL, include/uapi/linux/sched.h).
const schedFlags = linux.SCHED_FLAG_RESET_ON_FORK | linux.SCHED_FLAG_RECLAIM | linux.SCHED_FLAG_DL_OVERRUN |
	linux.SCHED_FLAG_KEEP_POLICY | linux.SCHED_FLAG_KEEP_PARAMS | schedClamp

// schedClamp are those of utilisation, which a kernel without
// CONFIG_UCLAMP_TASK answers with EOPNOTSUPP.
const schedClamp = linux.SCHED_FLAG_UTIL_CLAMP_MIN | linux.SCHED_FLAG_UTIL_CLAMP_MAX

func schedSetattr(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	addr := args[1].Pointer()
	if addr == 0 || args[0].Int() < 0 || args[2].Uint() != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	a, err := copyInSchedAttr(t, addr)
	if err != nil {
		return 0, nil, err
	}
	if int32(a.SchedPolicy) < 0 {
		return 0, nil, linuxerr.EINVAL
	}
	target, err := schedTarget(t, args)
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, applySchedAttr(t, target, a)
}

// applySchedAttr follows sched_setattr and __sched_setscheduler.
func applySchedAttr(t, target *kernel.Task, a linux.SchedAttr) error {
	old := schedulingOf(target)
	s := scheduling{int32(a.SchedPolicy), a.SchedPriority, a.SchedFlags&linux.SCHED_FLAG_RESET_ON_FORK != 0}
	nice := int(a.SchedNice)
	if a.SchedFlags&linux.SCHED_FLAG_KEEP_POLICY != 0 {
		s.policy, s.reset = old.policy, old.reset
	}
	if a.SchedFlags&linux.SCHED_FLAG_KEEP_PARAMS != 0 {
		s.priority, nice = old.priority, target.Niceness()
	}
	if a.SchedFlags&^schedFlags != 0 || s.policy > 0xff {
		return linuxerr.EINVAL
	}
	if err := s.set(t, target); err != nil {
		return err
	}
	if a.SchedFlags&schedClamp != 0 {
		return linuxerr.EOPNOTSUPP
	}
	if !s.realTime() {
		target.SetNiceness(max(-20, min(nice, 19)))
	}
	return nil
}

// copyInSchedAttr reads a struct sched_attr of the size that its first field
// says, as sched_copy_attr does.
func copyInSchedAttr(t *kernel.Task, addr hostarch.Addr) (a linux.SchedAttr, err error) {
	var size uint32
	if _, err := primitive.CopyUint32In(t, addr, &size); err != nil {
		return a, err
	}
	if size == 0 {
		size = linux.SCHED_ATTR_SIZE_VER0
	}
	known := size >= linux.SCHED_ATTR_SIZE_VER0 && size <= hostarch.PageSize
	if known {
		if _, err := a.CopyInN(t, addr, int(min(size, linux.SCHED_ATTR_SIZE_LATEST))); err != nil {
			return a, err
		}
		if rest := make([]byte, max(size, linux.SCHED_ATTR_SIZE_LATEST)-linux.SCHED_ATTR_SIZE_LATEST); len(rest) > 0 {
			if _, err := t.CopyInBytes(addr+linux.SCHED_ATTR_SIZE_LATEST, rest); err != nil {
				return a, err
			}
			for _, b := range rest {
				known = known && b == 0
			}
		}
	}
	if !known {
		if _, err := primitive.CopyUint32Out(t, addr, linux.SCHED_ATTR_SIZE_LATEST); err != nil {
			return a, err
		}
		return a, linuxerr.E2BIG
	}
	if a.SchedFlags&schedClamp != 0 && size < linux.SCHED_ATTR_SIZE_VER1 {
		return a, linuxerr.EINVAL
	}
	return a, nil
}

func schedGetattr(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	addr, size := args[1].Pointer(), args[2].Uint()
	if addr == 0 || size < linux.SCHED_ATTR_SIZE_VER0 || size > hostarch.PageSize || args[3].Uint() != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	target, err := schedTarget(t, args)
	if err != nil {
		return 0, nil, err
	}
	s := schedulingOf(target)
	a := linux.SchedAttr{Size: min(size, linux.SCHED_ATTR_SIZE_LATEST), SchedPolicy: uint32(s.policy), SchedPriority: s.priority}
	if s.reset {
		a.SchedFlags = linux.SCHED_FLAG_RESET_ON_FORK
	}
	if !s.realTime() {
		a.SchedNice = int32(target.Niceness())
	}
	_, err = a.CopyOutN(t, addr, int(a.Size))
	return 0, nil, err
}
