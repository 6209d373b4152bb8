package bounds

import (
	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/limits"

	"kiln/kernel/sentry/linux"
)

// taskCalls bound a user's tasks: RLIMIT_NPROC in getrlimit(2), copy_process in
// kernel/fork.c of Linux. The Sentry does that, too, but counts a task for the
// user that it began as.
var taskCalls = map[uintptr]linux.Wrapper{
	unix.SYS_FORK: failing(overTasks), unix.SYS_VFORK: failing(overTasks),
	unix.SYS_CLONE: failing(overTasks), unix.SYS_CLONE3: failing(overTasks),
}

// overTasks returns EAGAIN for a task that may make no more.
func overTasks(t *kernel.Task, _ arch.SyscallArguments) error {
	user := t.Credentials().RealKUID
	most := t.ThreadGroup().Limits().Get(limits.ProcessCount).Cur
	if uint64(t.Kernel().RootPIDNamespace().NumTasks()) < most || user == auth.RootKUID ||
		t.HasRootCapability(abi.CAP_SYS_RESOURCE) || t.HasRootCapability(abi.CAP_SYS_ADMIN) {
		return nil
	}
	if n := count(t, user)[tasks]; uint64(n) >= most {
		return linuxerr.EAGAIN
	}
	return nil
}
