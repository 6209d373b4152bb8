// Package netpoll lets a goroutine that never blocks run the Go runtime's
// network poller.
//
// The runtime looks for ready descriptors when a processor (P) runs out of
// goroutines, and otherwise every 10 ms. A program that computes in ring 3
// keeps its P busy, so a device interrupt that arrives meanwhile would wait
// for up to 10 ms although metal ends ring 3 at once. Poll closes the gap.
//
// The package reaches into the runtime of the Go release that go.mod pins
// (runtime/netpoll_epoll.go, runtime/proc.go), so whatever links it needs
// -ldflags=-checklinkname=0. That is why the kernel program alone imports it
// and why its test has a build tag:
//
//	go test -tags kiln_kernel -ldflags=-checklinkname=0 ./kernel/machine/netpoll
package netpoll

import _ "unsafe" // for go:linkname

// gList is runtime.gList: a list of goroutines linked through g.schedlink.
type gList struct {
	head uintptr
	size int32
}

//go:linkname netpoll runtime.netpoll
func netpoll(delay int64) (gList, int32)

//go:linkname injectglist runtime.injectglist
func injectglist(*gList)

//go:linkname netpollAdjustWaiters runtime.netpollAdjustWaiters
func netpollAdjustWaiters(delta int32)

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// Poll makes the goroutines runnable whose descriptors have become ready. It
// does not block and does not yield: follow it with runtime.Gosched.
//
// Context: an ordinary goroutine.
func Poll() {
	// injectglist puts the goroutines on the queue of the P that it looks up
	// once; being moved to another P half way would corrupt that queue.
	// Pinned, the goroutine also keeps the list, which the garbage collector
	// does not see, for no longer than the runtime itself would.
	procPin()
	list, delta := netpoll(0)
	injectglist(&list)
	netpollAdjustWaiters(delta)
	procUnpin()
}
