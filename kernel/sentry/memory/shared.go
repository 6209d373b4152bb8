package memory

import (
	"fmt"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/safemem"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/usage"
	"gvisor.dev/gvisor/pkg/usermem"
)

// findWindow finds where the memory file is mapped. Metal gives it one window,
// so that the whole file is at one place.
func (k *Keeper) findWindow(mf *pgalloc.MemoryFile) error {
	fr, err := mf.Allocate(hostarch.PageSize, pgalloc.AllocOpts{Kind: usage.System})
	if err != nil {
		return fmt.Errorf("memory file: %w", err)
	}
	defer mf.DecRef(fr)
	blocks, err := mf.MapInternal(fr, hostarch.Read)
	if err != nil {
		return fmt.Errorf("memory file: %w", err)
	}
	k.window = blocks.Head().Addr() - uintptr(fr.Start)
	return nil
}

// Shared is platform.Hooks.Shared: a page of a program's is shared if the memory
// file counts more than one reference to it, and also if it is not the memory
// file's, but the loaded image's.
func (k *Keeper) Shared(ctx context.Context, addr uint64) bool {
	t := kernel.TaskFromContext(ctx)
	if t == nil {
		return true
	}
	page := hostarch.Addr(addr).RoundDown()
	ar, ok := page.ToRange(hostarch.PageSize)
	if !ok {
		return true
	}
	shared := true
	// Reading copies nothing, and the writer looks at the address alone.
	_, _ = t.MemoryManager().CopyInTo(ctx, hostarch.AddrRangeSeqOf(ar), safemem.WriterFunc(func(b safemem.BlockSeq) (uint64, error) {
		if off := uint64(b.Head().Addr() - k.window); off < k.kernel.MemoryFile().TotalSize() {
			fr := memmap.FileRange{Start: off, End: off + hostarch.PageSize}
			shared = !k.kernel.MemoryFile().HasUniqueRef(fr)
		}
		return 0, nil
	}), usermem.IOOpts{})
	return shared
}
