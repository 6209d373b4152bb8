//go:build kiln_kernel

package netpoll

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestPoll blocks a goroutine in the netpoller and makes its descriptor ready
// from the only processor, which never goes idle. The goroutine must run
// after Poll and one Gosched, long before the runtime's own 10 ms poll.
func TestPoll(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r := os.NewFile(uintptr(fds[0]), "reader")
	defer r.Close()
	defer syscall.Close(fds[1])

	var got atomic.Int32
	go func() {
		var b [1]byte
		for {
			if _, err := r.Read(b[:]); err != nil {
				return
			}
			got.Add(1)
		}
	}()
	time.Sleep(20 * time.Millisecond) // the reader is parked in the netpoller

	const rounds = 100
	late := 0
	for i := int32(1); i <= rounds; i++ {
		// RawSyscall does not tell the scheduler, so nothing else polls.
		b := [1]byte{}
		if _, err := rawWrite(fds[1], b[:]); err != 0 {
			t.Fatal(err)
		}
		Poll()
		runtime.Gosched()
		if got.Load() != i {
			late++
			for got.Load() != i {
				runtime.Gosched()
			}
		}
	}
	// sysmon may have taken the goroutine first in a round or two.
	if late > rounds/10 {
		t.Errorf("the reader was not runnable after Poll in %d of %d rounds, want at most %d", late, rounds, rounds/10)
	}
}
