package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// locksCorrection: fcntl(2) that asks for a lock.
//
// If nothing is in the way of a lock, Linux sets l_type to F_UNLCK and leaves the
// other fields as they are (F_GETLK in fcntl(2); fcntl_getlk in fs/locks.c). gVisor
// clears them. Linux refuses F_OFD_GETLK with a process number, and says that the
// owner of an open file's lock is process -1, where gVisor says 0.
// test/linux/src/locks.c.
var locksCorrection = correction{
	name:  "locks",
	calls: map[uintptr]Wrapper{unix.SYS_FCNTL: keepLockFields},
}

func keepLockFields(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		cmd := args[1].Int()
		if cmd != linux.F_GETLK && cmd != linux.F_OFD_GETLK {
			return next(t, sysno, args)
		}
		var asked, got linux.Flock
		if _, err := asked.CopyIn(t, args[2].Pointer()); err != nil {
			return next(t, sysno, args) // which says what is wrong first
		}
		n, ctrl, err := next(t, sysno, args)
		if err != nil {
			return n, ctrl, err
		}
		if cmd == linux.F_OFD_GETLK && asked.PID != 0 {
			_, err = asked.CopyOut(t, args[2].Pointer())
			if err == nil {
				err = linuxerr.EINVAL
			}
			return 0, ctrl, err
		}
		if _, err := got.CopyIn(t, args[2].Pointer()); err != nil {
			return 0, ctrl, err
		}
		switch {
		case got.Type == linux.F_UNLCK:
			asked.Type = linux.F_UNLCK
			_, err = asked.CopyOut(t, args[2].Pointer())
		case got.PID == 0 && t.PIDNamespace() == t.PIDNamespace().Root():
			// In the root namespace, only an open file has no number.
			got.PID = -1
			_, err = got.CopyOut(t, args[2].Pointer())
		}
		return n, ctrl, err
	}
}
