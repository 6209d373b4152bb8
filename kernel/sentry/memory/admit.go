package memory

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/machine"
)

const (
	// admitPages are what the kernel takes to start a process beside its
	// arguments: pages of its memory that are written to, page tables, a task.
	admitPages = 256
	// admitPatience is for how long memory may be short before nothing is begun.
	admitPatience = 2 * time.Second
)

// errFull says that the kernel begins nothing more.
var errFull = errors.New("the guest has no memory left for it")

// Admit makes room for the kernel to start a process of its own accord, with
// arguments of so many bytes. Nobody is killed for that. It returns what is to be
// called when the process is there, or why it cannot be started.
func (k *Keeper) Admit(arguments int) (done func(), err error) {
	if n := k.kernel.RootPIDNamespace().NumTasks(); n >= k.MaxThreads() {
		return nil, fmt.Errorf("the guest has %d processes and threads, and no more are allowed with its memory", n)
	}
	return k.Lend(admitPages + arguments*execCopies/machine.PageSize)
}

// FileRoom makes room for the kernel to read or write so many bytes of a file. It
// returns what is to be called when that is done. A file in memory is full while
// there still is some, as for programs.
func (k *Keeper) FileRoom(file *vfs.FileDescription, bytes int, write bool) (done func(), err error) {
	pages := bytes/machine.PageSize + 2
	if write && inMemory(file) && !k.roomForFiles(pages) {
		return nil, linuxerr.ENOSPC
	}
	return k.Lend(pages)
}

// Lend makes room for pages that the kernel takes of its own accord, without
// killing. It returns what is to be called when they are taken, or are no longer
// needed.
func (k *Keeper) Lend(pages int) (done func(), err error) {
	if k.brimful.Load() {
		runtime.GC()
		k.look()
	}
	for began := time.Now(); ; time.Sleep(nap) {
		if !k.brimful.Load() && k.roomForKernel(pages) {
			return k.reserve.Promise(pages), nil
		}
		if time.Since(began) > admitPatience {
			return nil, errFull
		}
	}
}
