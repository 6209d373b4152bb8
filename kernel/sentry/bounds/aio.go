package bounds

import (
	"fmt"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"

	"kiln/kernel/sentry/linux"
)

// All asynchronous operations that programs asked room for with io_setup(2) are
// at most fs.aio-max-nr: ioctx_alloc in fs/aio.c of Linux.

// aioContext is a program's, by its address.
type aioContext struct {
	mm *mm.MemoryManager
	id uint64
}

// aioMost is above what one context may have: io_events in 256 MB, twice.
const aioMost = 0x10000000 / 32 / 2

func (b *Bounds) aioCalls() map[uintptr]linux.Wrapper {
	return map[uintptr]linux.Wrapper{unix.SYS_IO_SETUP: b.aioSetup, unix.SYS_IO_DESTROY: b.aioDestroy}
}

func (b *Bounds) aioSetup(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		events := int64(args[0].Uint())
		if events > aioMost {
			return 0, nil, linuxerr.EINVAL
		}
		if b.aioNow(t)+events > b.aio.get() {
			return 0, nil, linuxerr.EAGAIN
		}
		n, ctrl, err := next(t, nr, args)
		if err != nil {
			return n, ctrl, err
		}
		c := aioContext{mm: t.MemoryManager()}
		if _, err := primitive.CopyUint64In(t, args[1].Pointer(), &c.id); err != nil {
			return 0, nil, err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.contexts[c] = events
		return n, ctrl, nil
	}
}

func (b *Bounds) aioDestroy(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, nr, args)
		if err == nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.contexts, aioContext{t.MemoryManager(), args[0].Uint64()})
		}
		return n, ctrl, err
	}
}

// aioNow returns how many operations there is room for. Contexts went with their
// address space.
func (b *Bounds) aioNow(t *kernel.Task) (n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.contexts) == 0 {
		return 0
	}
	live := liveSpaces(t)
	for c, events := range b.contexts {
		if !live[c.mm] {
			delete(b.contexts, c)
			continue
		}
		n += events
	}
	return n
}

// liveSpaces are the address spaces of all tasks.
func liveSpaces(t *kernel.Task) map[*mm.MemoryManager]bool {
	live := map[*mm.MemoryManager]bool{}
	for _, task := range t.Kernel().RootPIDNamespace().Tasks() {
		task.WithMuLocked(func(task *kernel.Task) { live[task.MemoryManager()] = true })
	}
	return live
}

// aioNr is the content of /proc/sys/fs/aio-nr.
func (b *Bounds) aioNr(ctx context.Context) (string, error) {
	t := kernel.TaskFromContext(ctx)
	if t == nil {
		return "0\n", nil
	}
	return fmt.Sprintf("%d\n", b.aioNow(t)), nil
}
