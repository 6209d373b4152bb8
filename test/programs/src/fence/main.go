// Command fence is the guest's half of TestFence in test/e2e, a kernel program:
// without an operating system, as drivers are. It plays rounds with whoever
// shares its memory, in words of one page whose address it prints.
package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"kiln/kernel/machine"
)

const (
	lineSize = 64         // bytes of a cache line; each word has its own
	over     = ^uint32(0) // in place of a round's number: there is none
)

func main() {
	page, phys, err := machine.AllocDMA(1)
	if err != nil {
		fmt.Println("fence:", err)
		os.Exit(1)
	}
	word := func(n int) *uint32 { return (*uint32)(unsafe.Pointer(&page[n*lineSize])) }
	round, ours, theirs, seen, done := word(0), word(1), word(2), word(3), word(4)
	fmt.Printf("fence: page at %#x\n", phys)
	for n := uint32(1); ; n++ {
		// With theirs in the cache, as the index of a ring is that was looked
		// at before, the load below is done at once.
		_ = atomic.LoadUint32(theirs)
		for atomic.LoadUint32(round) != n {
			if atomic.LoadUint32(round) == over {
				return
			}
		}
		// As virtio.Queue does it: it says what it wants, and looks what the
		// device has done.
		atomic.StoreUint32(ours, n)
		machine.Fence()
		atomic.StoreUint32(seen, atomic.LoadUint32(theirs))
		atomic.StoreUint32(done, n)
	}
}
