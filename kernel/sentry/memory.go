package sentry

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"gvisor.dev/gvisor/pkg/memutil"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/usage"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/disk"
)

const gcPercent = 400

// setUpMemory tells the Sentry and the Go runtime how much memory there is.
// total is in bytes; 0 means unknown.
func setUpMemory(total uint64) error {
	if err := usage.Init(); err != nil {
		return fmt.Errorf("memory accounting: %w", err)
	}
	if total == 0 {
		return nil
	}
	// What /proc/meminfo and sysinfo(2) report.
	usage.MinimumTotalMemoryBytes = total
	usage.MaximumTotalMemoryBytes = total
	// tmpfs mounts without a size are bounded by half of it, as on Linux.
	tmpfs.SetTotalHostMem(total)
	// The heap is small next to what packets and system calls churn
	// through it, so a collection is rarely worth its time: let garbage
	// pile up to several times the live heap, but not beyond the limit that
	// package memory sets.
	debug.SetGCPercent(gcPercent)
	return nil
}

// newMemoryFile returns the file whose pages are the programs' memory.
func newMemoryFile() (*pgalloc.MemoryFile, error) {
	const name = "kiln-memory"
	fd, err := memutil.CreateMemFD(name, 0)
	if err != nil {
		return nil, fmt.Errorf("memory file: %w", err)
	}
	file := os.NewFile(uintptr(fd), name)
	mf, err := pgalloc.NewMemoryFile(file, pgalloc.MemoryFileOpts{
		// Pages that are kept only to be fast again compete with the
		// program for a small machine.
		DelayedEviction: pgalloc.DelayedEvictionDisabled,
		// Linux's integrity measurement, which the extra mapping is
		// for, does not exist here.
		DisableIMAWorkAround: true,
	})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("memory file: %w", err)
	}
	return mf, nil
}

// keepMemory has the keeper watch over the tasks that will run.
func (s *Sentry) keepMemory() {
	s.memory.Wrap()
	s.memory.Start(s.kernel, s.storage.reclaim, s.networks.reclaim)
}

// cacheMemory is disk.Options.Memory.
func cacheMemory() disk.Memory {
	m, err := machine.Memory()
	if err != nil {
		return disk.Memory{}
	}
	return disk.Memory{
		Total: m.Total * machine.PageSize,
		Free:  (m.Free - min(m.Free, m.LowWater)) * machine.PageSize,
	}
}

// reclaim is a memory.Reclaim: it takes pages from the page cache.
func (st *storage) reclaim(pages int) int {
	n := st.cache.Reclaim(pages, true)
	runtime.Gosched() // the memory file's releaser
	return n
}
