// Package platform runs the Sentry's tasks on the bare machine: it implements
// gVisor's platform.Platform with metal's page tables and ring 3 (package
// kernel/machine).
//
// One CR3 serves the kernel (upper half) and the current program (lower half).
// A page of a program is a page frame of the Sentry's memory file, or of the
// root file system image, mapped a second time at a user address.
//
// Context: task goroutines, except Context.Interrupt and Context.Preempt,
// which any goroutine may call. The package takes no locks.
package platform

import (
	"runtime"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/platform"

	"kiln/kernel/machine"
)

const (
	// minUserAddress keeps page 0 and its neighbours unmapped, so that a nil
	// pointer faults. Linux's default for vm.mmap_min_addr.
	minUserAddress = 64 << 10

	// maxUserAddress is Linux's TASK_SIZE: the lower half without its last
	// page, because SYSRET to a non-canonical address faults in ring 0.
	maxUserAddress = 1<<47 - hostarch.PageSize

	// mapUnit is how much of a mapping the Sentry prepares around a page
	// fault. A page table page maps 2 MB, and pages of it that have no frame
	// yet cost only their table entry until the program touches them.
	mapUnit = 2 << 20
)

// Platform implements platform.Platform. There is one, made by New.
type Platform struct {
	platform.NoCPUPreemptionDetection
	platform.NoCPUNumbers

	hooks Hooks
	fatal atomic.Pointer[Fault]

	// pulled counts the tasks in the Sentry that may be about to make a
	// fresh floating point state. gVisor initialises the x87 unit for that
	// (fpu.NewState), which would clobber x87 state that metal leaves in the
	// CPU after a program's system call. While it is not 0, no state stays.
	pulled atomic.Int32

	reserve *Reserve
	exit    chan struct{} // holds something while one of a crowd exits
}

// Hooks are what the platform calls out to.
type Hooks struct {
	// Poll makes goroutines runnable whose descriptors are ready. It is
	// called when a device interrupt ended ring 3.
	Poll func()

	// MakeRoom is called on a task's goroutine when fewer frames are free
	// than pages and what must stay free. It frees memory. It returns true
	// if there is still no room: the task then looks at its signals and
	// tries again.
	MakeRoom func(ctx context.Context, pages int) (stop bool)

	// NoTask is called on a task's goroutine before a system call that makes a
	// task, while memory is short. It reports whether that call will fail: then
	// nothing is promised for it.
	NoTask func(ctx context.Context) bool

	// Collect frees the kernel's garbage.
	Collect func()

	// NoMemory is called on a task's goroutine when the program touched a
	// page and there was no frame for it. It frees memory; the task then
	// looks at its signals and tries again.
	NoMemory func(ctx context.Context)
}

// New returns the platform. It counts in r what it promises to tasks.
func New(h Hooks, r *Reserve) *Platform {
	return &Platform{hooks: h, reserve: r, exit: make(chan struct{}, 1)}
}

// SupportsAddressSpaceIO implements platform.Platform: the Sentry reaches
// program memory through the memory file's own mapping.
func (*Platform) SupportsAddressSpaceIO() bool { return false }

// HaveGlobalMemoryBarrier implements platform.Platform. Several processors
// would need an interrupt to each of them, which metal does not offer yet.
func (*Platform) HaveGlobalMemoryBarrier() bool { return runtime.NumCPU() == 1 }

// GlobalMemoryBarrier implements platform.Platform. A single processor sees
// its own accesses in program order, whatever thread makes them
// (Intel SDM vol. 3A §9.2.2), so there is nothing to wait for.
func (*Platform) GlobalMemoryBarrier() error { return nil }

// MapUnit implements platform.Platform.
func (*Platform) MapUnit() uint64 { return mapUnit }

// MinUserAddress implements platform.Platform.
func (*Platform) MinUserAddress() hostarch.Addr { return minUserAddress }

// MaxUserAddress implements platform.Platform.
func (*Platform) MaxUserAddress() hostarch.Addr { return maxUserAddress }

// ConcurrencyCount implements platform.Platform. A task in ring 3 keeps its P.
func (*Platform) ConcurrencyCount() int { return runtime.GOMAXPROCS(0) }

// SeccompInfo implements platform.Platform: there is no host to be protected
// by a filter, so the platform asks for no system calls.
func (*Platform) SeccompInfo() platform.SeccompInfo {
	return platform.StaticSeccompInfo{PlatformName: "kiln"}
}

// NewAddressSpace implements platform.Platform.
func (*Platform) NewAddressSpace() (platform.AddressSpace, error) {
	pt, err := machine.NewPageTable()
	if err != nil {
		return nil, err
	}
	return &space{table: pt}, nil
}

// NewContext implements platform.Platform.
func (p *Platform) NewContext(context.Context) platform.Context {
	p.reserve.enter()
	return &taskContext{platform: p}
}

// LastFault returns the exception that ended the last task to exit because of
// one, or nil.
func (p *Platform) LastFault() *Fault { return p.fatal.Load() }
