package linux

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/lock"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// deadlockCorrection: fcntl(2) with F_SETLKW.
//
// Linux does not let a process wait for a lock whose owner waits for it, by way of
// others as well, and returns EDEADLK (posix_locks_deadlock in fs/locks.c). gVisor
// lets all of them wait. test/linux/src/deadlock.c.
var deadlockCorrection = correction{
	name:  "deadlock",
	calls: map[uintptr]Wrapper{unix.SYS_FCNTL: refuseDeadlocks},
}

// lockWait is a process that waits for a lock.
type lockWait struct {
	pid  int32 // in the root namespace
	uid  lock.UniqueID
	file *vfs.FileDescription // referenced by the waiting task
	kind lock.LockType
	r    lock.LockRange
}

// lockWaits are all that wait.
var lockWaits struct {
	sync.Mutex
	all []*lockWait
}

// maxLockChain bounds how many processes are followed, as MAX_DEADLK_ITERATIONS
// of Linux does.
const maxLockChain = 10

func refuseDeadlocks(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if args[1].Int() != linux.F_SETLKW {
			return next(t, sysno, args)
		}
		file := t.GetFile(args[0].Int())
		if file == nil {
			return next(t, sysno, args)
		}
		defer file.DecRef(t)
		w, ok := newLockWait(t, args, file)
		if !ok {
			return next(t, sysno, args)
		}
		lockWaits.Lock()
		dead := w.closesCircle(t)
		if !dead {
			lockWaits.all = append(lockWaits.all, w)
		}
		lockWaits.Unlock()
		if dead {
			return 0, nil, linuxerr.EDEADLK
		}
		defer w.over()
		return next(t, sysno, args)
	}
}

// newLockWait returns what a task is about to wait for; ok is false if it will get
// an error, or unlock.
func newLockWait(t *kernel.Task, args arch.SyscallArguments, file *vfs.FileDescription) (w *lockWait, ok bool) {
	var flock linux.Flock
	if _, err := flock.CopyIn(t, args[2].Pointer()); err != nil {
		return nil, false
	}
	kind := lock.ReadLock
	switch {
	case flock.Type == linux.F_WRLCK && file.IsWritable():
		kind = lock.WriteLock
	case flock.Type == linux.F_RDLCK && file.IsReadable():
	default:
		return nil, false
	}
	r, err := file.ComputeLockRange(t, uint64(flock.Start), uint64(flock.Len), flock.Whence)
	if err != nil {
		return nil, false
	}
	return &lockWait{int32(t.TGIDInRoot()), lock.UniqueID(t.FDTable()), file, kind, r}, true
}

// over takes w from those that wait.
func (w *lockWait) over() {
	lockWaits.Lock()
	defer lockWaits.Unlock()
	lockWaits.all = slices.DeleteFunc(lockWaits.all, func(o *lockWait) bool { return o == w })
}

// blocker returns the process that has the lock which w waits for, or 0.
func (w *lockWait) blocker(t *kernel.Task) int32 {
	flock, err := w.file.TestPOSIX(t, w.uid, w.kind, w.r)
	if err != nil || flock.Type == linux.F_UNLCK || flock.PID < 0 {
		return 0
	}
	return flock.PID
}

// closesCircle reports whether w would wait for itself.
//
// Called with lockWaits locked.
func (w *lockWait) closesCircle(t *kernel.Task) bool {
	at := w
	for range maxLockChain {
		pid := at.blocker(t)
		if pid == 0 {
			return false
		}
		if pid == w.pid {
			return true
		}
		i := slices.IndexFunc(lockWaits.all, func(o *lockWait) bool { return o.pid == pid })
		if i < 0 {
			return false
		}
		at = lockWaits.all[i]
	}
	return false
}
