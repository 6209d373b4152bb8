package sentry

import (
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/notice"
)

// endPatience is how long what is left of the programs may take to end once
// they were killed.
const endPatience = 5 * time.Second

// unmount ends what still runs, writes back, and unmounts all disks, for the
// end of the machine.
func (s *Sentry) unmount() {
	if s.storage == nil || !s.storage.cache.InUse() {
		return
	}
	s.kernel.Kill(linux.WaitStatusTerminationSignal(linux.SIGKILL))
	// Files that are open hold nothing up: what is behind them is taken away.
	for begin := time.Now(); s.started && s.anyRunning(); {
		if time.Since(begin) > endPatience {
			notice.Printf("not all processes have ended; unmounting all the same")
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.storage.cache.Shutdown()
}

// anyRunning reports whether a program has not ended.
func (s *Sentry) anyRunning() bool {
	for _, t := range s.kernel.RootPIDNamespace().Tasks() {
		if t.ThreadGroup() != s.idle && t.ExitState() < kernel.TaskExitZombie {
			return true
		}
	}
	return false
}
