package memory

import (
	"testing"

	"gvisor.dev/gvisor/pkg/sentry/usage"

	"kiln/kernel/machine"
)

// TestAccount: each frame is in one place, and what programs could have counts
// the garbage by half.
func TestAccount(t *testing.T) {
	const mb = 1 << 20
	m := machine.MemInfo{Total: 64 << 8, Free: 20 << 8, PageTables: 1 << 8, LowWater: 3 << 8}
	u := usage.MemoryStats{Anonymous: 10 * mb, Tmpfs: 4 * mb, PageCache: 8 * mb, Mapped: 1 * mb}
	h := heapStats{objects: 12 * mb, live: 8 * mb, free: 2 * mb, stacks: 3 * mb}
	a := accountOf(m, u, h)
	if sum := a.free + a.anon + a.files + a.cache + a.tables + a.kernel; sum != a.total || a.kernel != 20<<10 {
		t.Errorf("the account %+v adds up to %d of %d KB, with %d for the kernel", a, sum, a.total, a.kernel)
	}
	if got, want := a.available(), uint64(17+9+3)<<10; got != want {
		t.Errorf("available = %d KB, want %d", got, want)
	}
	// The Sentry's count may be of another moment, and more than there is.
	u.Anonymous = 100 * mb
	if a := accountOf(m, u, h); a.kernel != 0 || a.garbage != 0 {
		t.Errorf("with more counted than there is, the kernel has %d KB", a.kernel)
	}
}
