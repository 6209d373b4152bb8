package machine

import (
	"math/rand/v2"
	"sync/atomic"
)

// Faults, for tests: FreeFrames says for a while that there are no frames, so
// that promises that could be kept fail.
var (
	faultEvery uint64      // looks between the beginnings of two faults, on average; 0: none
	faulty     atomic.Bool // a fault has begun
)

// faultLooks is how many looks see a fault, on average.
const faultLooks = 4

// FailFrames has FreeFrames fail once in so many looks. It is called once, before
// programs run; 0 is for never.
func FailFrames(every uint64) { faultEvery = every }

// fault reports whether a look at the free frames is to see none.
func fault() bool {
	if faulty.Load() {
		faulty.Store(rand.Uint64N(faultLooks) != 0)
		return true
	}
	if rand.Uint64N(faultEvery) == 0 {
		faulty.Store(true)
	}
	return false
}
