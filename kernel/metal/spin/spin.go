// Package spin is the lock of code that cannot block.
//
// Context: any, with interrupts off: a CPU that was interrupted while it held a
// lock would wait for itself.
package spin

import (
	"sync/atomic"

	"kiln/kernel/metal/cpu"
)

// Lock is a lock for a few hundred instructions: who waits for it keeps its
// CPU. It is not fair. The zero value is open.
type Lock struct{ held uint32 }

// Lock waits until the lock is open, and takes it.
func (l *Lock) Lock() {
	for !atomic.CompareAndSwapUint32(&l.held, 0, 1) {
		cpu.Pause()
	}
}

// Unlock opens the lock.
func (l *Lock) Unlock() { atomic.StoreUint32(&l.held, 0) }
