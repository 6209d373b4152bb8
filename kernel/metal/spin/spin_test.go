package spin

import (
	"runtime"
	"sync"
	"testing"

	"kiln/kernel/metal/cpu"
)

// TestLock has several threads count under a lock. The race detector sees what
// the lock does not order.
func TestLock(t *testing.T) {
	const threads, rounds = 4, 2000
	cpu.Pause = runtime.Gosched
	var (
		l     Lock
		count int
		wg    sync.WaitGroup
	)
	for range threads {
		wg.Go(func() {
			for range rounds {
				l.Lock()
				count++
				l.Unlock()
			}
		})
	}
	wg.Wait()
	if count != threads*rounds {
		t.Errorf("counted to %d, want %d", count, threads*rounds)
	}
}
