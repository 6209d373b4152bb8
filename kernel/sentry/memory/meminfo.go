package memory

import (
	"fmt"
	"math"
	"strings"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/usage"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/procfs"
)

// Files are the files of /proc whose values are the keeper's.
func (k *Keeper) Files() []procfs.File {
	return []procfs.File{
		{Path: "meminfo", Read: k.meminfo},
		procfs.Number("sys/kernel/threads-max", k.MaxThreads()),
	}
}

// account says who has the machine's page frames, in KB. The fields add up to
// total.
type account struct {
	total, free uint64
	anon        uint64 // programs' own pages, System V and shared memory without a name
	files       uint64 // files in memory
	cache       uint64 // pages of files on disks
	tables      uint64 // page tables
	kernel      uint64 // the kernel's heap, stacks and buffers
	stacks      uint64 // of that, stacks of its threads
	garbage     uint64 // of that, what a collection may give back at most
	keep        uint64 // of free, what programs cannot have
}

// accountOf makes the account of a machine in state m with the Sentry's count of
// the memory file's pages.
func accountOf(m machine.MemInfo, u usage.MemoryStats, h heapStats) account {
	const kb = machine.PageSize / 1024
	a := account{
		total:   m.Total * kb,
		free:    m.Free * kb,
		anon:    (u.Anonymous + u.System) / 1024,
		files:   u.Tmpfs / 1024,
		cache:   (u.PageCache + u.Mapped) / 1024,
		tables:  m.PageTables * kb,
		stacks:  h.stacks / 1024,
		garbage: h.free / 1024,
		keep:    min(m.LowWater, m.Free) * kb,
	}
	if h.objects > h.live {
		a.garbage += (h.objects - h.live) / 1024
	}
	// The rest is the kernel's. The Sentry's count may be a moment older.
	if known := a.free + a.anon + a.files + a.cache + a.tables; known < a.total {
		a.kernel = a.total - known
	}
	a.garbage = min(a.garbage, a.kernel)
	return a
}

// available is what programs could have without one being killed: free frames,
// the page cache, and what a collection finds, of which a part is a guess.
func (a account) available() uint64 { return a.free - a.keep + a.cache + a.garbage/2 }

// account makes the machine's account, and returns the Sentry's count.
func (k *Keeper) account() (account, usage.MemoryStats, error) {
	m, u, err := k.counts()
	if err != nil {
		return account{}, u, err
	}
	return accountOf(m, u, readHeap()), u, nil
}

// Use returns how many bytes of the machine's memory are in use and cannot be had
// for something else, and how many there are.
func (k *Keeper) Use() (used, total uint64, err error) {
	a, _, err := k.account()
	if err != nil {
		return 0, 0, err
	}
	return (a.total - min(a.available(), a.total)) << 10, a.total << 10, nil
}

// counts returns the machine's count of page frames and the Sentry's.
func (k *Keeper) counts() (machine.MemInfo, usage.MemoryStats, error) {
	m, err := k.state()
	if err != nil {
		return m, usage.MemoryStats{}, err
	}
	// As in gVisor, a count that is a little old is good enough.
	_ = k.kernel.MemoryFile().UpdateUsage(nil)
	u, _ := usage.MemoryAccounting.Copy()
	return m, u, nil
}

// filePages returns how many pages files in memory have, as of some 10 ms ago.
func (k *Keeper) filePages() int {
	_, u, err := k.counts()
	if err != nil {
		return k.total // not known: leave programs all that they may need
	}
	return int(u.Tmpfs / machine.PageSize)
}

// sysinfo is sysinfo(2) with the figures of /proc/meminfo.
func (k *Keeper) sysinfo(fn kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, control, err := fn(t, nr, args)
		if err != nil {
			return n, control, err
		}
		a, _, err := k.account()
		if err != nil {
			return n, control, err
		}
		var ram [4 * 8]byte // totalram, freeram, sharedram, bufferram; include/uapi/linux/sysinfo.h
		for i, kb := range []uint64{a.total, a.free, a.files, 0} {
			hostarch.ByteOrder.PutUint64(ram[8*i:], kb<<10)
		}
		_, err = t.CopyOutBytes(args[0].Pointer()+sysinfoRAM, ram[:])
		return n, control, err
	}
}

// sysinfoRAM is where totalram lies in struct sysinfo.
const sysinfoRAM = 32

// meminfo makes /proc/meminfo, proc_meminfo(5). There is no swap, and no list of
// active pages: all are.
func (k *Keeper) meminfo(context.Context) (string, error) {
	a, u, err := k.account()
	if err != nil {
		return "", err
	}
	dirty, writeback := usage.DirtyMemoryAccounting.Copy()
	var b strings.Builder
	for _, l := range []struct {
		name string
		kb   uint64
	}{
		{"MemTotal", a.total},
		{"MemFree", a.free},
		{"MemAvailable", a.available()},
		{"Buffers", 0},
		{"Cached", a.cache + a.files},
		{"SwapCached", 0},
		{"Active", a.anon + a.files + a.cache},
		{"Inactive", 0},
		{"Active(anon)", a.anon + a.files},
		{"Inactive(anon)", 0},
		{"Active(file)", a.cache},
		{"Inactive(file)", 0},
		{"Unevictable", 0},
		{"Mlocked", 0},
		{"SwapTotal", 0},
		{"SwapFree", 0},
		{"Dirty", dirty / 1024},
		{"Writeback", writeback / 1024},
		{"AnonPages", a.anon},
		{"Mapped", u.Mapped / 1024},
		{"Shmem", a.files},
		{"KReclaimable", a.garbage},
		{"Slab", a.kernel - min(a.stacks, a.kernel)},
		{"SReclaimable", a.garbage},
		{"SUnreclaim", a.kernel - min(a.stacks+a.garbage, a.kernel)},
		{"KernelStack", a.stacks},
		{"PageTables", a.tables},
		{"NFS_Unstable", 0},
		{"Bounce", 0},
		{"WritebackTmp", 0},
		{"CommitLimit", a.total},
		{"Committed_AS", a.anon + a.files},
		{"VmallocTotal", math.MaxInt32},
		{"VmallocUsed", 0},
		{"VmallocChunk", 0},
	} {
		fmt.Fprintf(&b, "%-15s %8d kB\n", l.name+":", l.kb)
	}
	return b.String(), nil
}
