// Package bounds has the bounds that Linux sets on what a user or a process
// may have of the kernel's objects, where the Sentry has none or other ones.
// They stop who takes too much before the machine is short of memory: a bound
// that Linux makes as large as memory allows is computed here as there.
//
// What programs have is not counted as it comes and goes: the Sentry tells
// nobody when an object goes. What a user makes is added up, which is never less
// than what is there. Only where that sum reaches a bound is counted what there
// is (count.go), and the sum begins from there.
//
// Context: goroutines of tasks, outside the Sentry's locks.
// Lock order: Bounds.mu, then the Sentry's task set, a task's, an address space's.
package bounds

import (
	"math"
	"sync"
	"sync/atomic"

	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/mm"

	"kiln/kernel/sentry/linux"
	"kiln/kernel/sentry/procfs"
)

// Bounds are the bounds of a machine.
type Bounds struct {
	pipePagesSoft, pipePagesHard, pipeMaxSize setting // pipe(7)
	inotifyInstances, inotifyWatches          setting // inotify(7)
	epollWatches                              setting // epoll(7)
	mappings                                  setting // vm.max_map_count, proc(5)
	aio                                       setting // fs.aio-max-nr, proc(5)
	fileMax                                   setting // fs.file-max, proc(5)

	opened atomic.Int64 // files at most

	mu       sync.Mutex
	taken    map[share]int64             // guarded by mu
	maps     map[*mm.MemoryManager]int64 // mappings at most; guarded by mu
	contexts map[aioContext]int64        // with their room; guarded by mu
}

// share is what a user has of a kind.
type share struct {
	user auth.KUID
	kind kind
}

// kind is a kind of objects that are bounded for each user.
type kind int

const (
	pipePages kind = iota
	inotifyInstances
	inotifyWatches
	epollWatches
	pendingSignals // and timers, which have a signal allotted
	tasks
	kinds
)

// What Linux takes for an object of the kernel when it divides memory (64 bit):
// INOTIFY_WATCH_COST in fs/notify/inotify/inotify_user.c, EP_ITEM_COST in
// fs/eventpoll.c.
const (
	inotifyWatchBytes = 1280
	epollItemBytes    = 192
)

// Bounds that do not depend on memory.
const (
	pageSize       = 4096
	mostPipePages  = 16384   // fs/pipe.c, pipe_user_pages_soft
	mostAIO        = 0x10000 // fs/aio.c, aio_max_nr
	leastFiles     = 8192    // include/linux/fs.h, NR_FILE
	mostMappings   = 65530   // include/linux/mm.h, DEFAULT_MAX_MAP_COUNT
	pipeMaxDefault = 1 << 20 // fs/pipe.c, pipe_max_size
	mostInotify    = 128     // fs/notify/inotify/inotify_user.c
)

// New returns the bounds of a machine with so many page frames.
func New(frames int) *Bounds {
	bytes := int64(frames) * pageSize
	b := &Bounds{taken: map[share]int64{}, maps: map[*mm.MemoryManager]int64{}, contexts: map[aioContext]int64{}}
	// Linux has 16384 pages on any machine, and no hard bound.
	b.pipePagesSoft.set("fs/pipe-user-pages-soft", min(mostPipePages, int64(frames)/8&^(defaultPages-1)))
	b.pipePagesHard.set("fs/pipe-user-pages-hard", int64(frames)/4)
	b.pipeMaxSize.set("fs/pipe-max-size", pipeMaxDefault)
	b.pipeMaxSize.round = roundPipe
	b.inotifyInstances.set("fs/inotify/max_user_instances", mostInotify)
	b.inotifyWatches.set("fs/inotify/max_user_watches", min(max(bytes/100/inotifyWatchBytes, 8192), 1<<20))
	b.epollWatches.set("fs/epoll/max_user_watches", bytes/25/epollItemBytes)
	// Linux has 65530 on any machine.
	b.mappings.set("vm/max_map_count", min(mostMappings, int64(frames)))
	b.aio.set("fs/aio-max-nr", mostAIO)
	b.fileMax.set("fs/file-max", max(bytes/1024/10, leastFiles))
	b.fileMax.most = math.MaxInt64
	return b
}

// Files are the bounds' files in /proc.
func (b *Bounds) Files() []procfs.File {
	files := []procfs.File{
		{Path: "sys/fs/aio-nr", Read: b.aioNr},
		{Path: "sys/fs/file-nr", Read: b.fileNr},
		// gVisor's, for POSIX message queues: mq_overview(7).
		procfs.Number("sys/fs/mqueue/queues_max", int(abi.DFLT_QUEUESMAX)),
		procfs.Number("sys/fs/mqueue/msg_max", int(abi.DFLT_MSGMAX)),
		procfs.Number("sys/fs/mqueue/msg_default", int(abi.DFLT_MSG)),
		procfs.Number("sys/fs/mqueue/msgsize_max", int(abi.DFLT_MSGSIZEMAX)),
		procfs.Number("sys/fs/mqueue/msgsize_default", int(abi.DFLT_MSGSIZE)),
	}
	for _, s := range []*setting{
		&b.pipePagesSoft, &b.pipePagesHard, &b.pipeMaxSize, &b.inotifyInstances, &b.inotifyWatches, &b.epollWatches, &b.mappings,
		&b.aio, &b.fileMax,
	} {
		files = append(files, s.file())
	}
	return files
}

// Wrap has the bounds' calls answer programs. It is called once, before tasks
// run.
func (b *Bounds) Wrap() {
	linux.Wrap(b.pipeCalls())
	linux.Wrap(b.watchCalls())
	linux.Wrap(b.signalCalls())
	linux.Wrap(b.mappingCalls())
	linux.Wrap(limitCalls)
	linux.Wrap(taskCalls)
	linux.Wrap(b.aioCalls())
	linux.Wrap(b.fileCalls())
}

// take adds n to what t's user has of a kind. If that were more than bound, it
// reports false, and adds nothing.
func (b *Bounds) take(t, owner *kernel.Task, k kind, n, bound int64) bool {
	s := share{owner.Credentials().RealKUID, k}
	b.mu.Lock()
	if b.taken[s]+n <= bound {
		b.taken[s] += n
		b.mu.Unlock()
		return true
	}
	b.mu.Unlock()
	counted := count(t, s.user)
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, n := range counted {
		b.taken[share{s.user, kind(k)}] = n
	}
	if b.taken[s]+n > bound {
		return false
	}
	b.taken[s] += n
	return true
}

// failing wraps a call that fails where refuse returns an error.
func failing(refuse func(*kernel.Task, arch.SyscallArguments) error) linux.Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if err := refuse(t, args); err != nil {
				return 0, nil, err
			}
			return next(t, nr, args)
		}
	}
}
