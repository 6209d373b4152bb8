package run

import (
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kiln/image/channel"
)

// maxNotes bounds the notices that wait for a reader of standard error, in
// bytes. A guest may have any number to give.
const maxNotes = 64 << 10

// output writes one stream of the program's to where it belongs, on a goroutine
// of its own, so that a reader who is slow holds up nobody else.
type output struct {
	w        io.Writer
	window   channel.Receiver
	consumed func(n int) // told of each n bytes of the stream that were written
	failed   chan<- error
	lenient  bool // only a reader who has gone is a failure

	mu      sync.Mutex
	wake    sync.Cond     // something has changed; L is mu
	queue   []byte        // to be written; guarded by mu
	stream  int           // how many bytes of queue are the stream's; guarded by mu
	notes   int           // how many are not; guarded by mu
	writing bool          // guarded by mu
	idle    chan struct{} // closed when all is written; guarded by mu
	closed  bool          // nothing more comes; guarded by mu
	done    chan struct{} // closed when closed and all is written
}

// newOutput starts to write to w. The first error goes to failed; what comes
// behind it is dropped. lenient is for what may be closed: then no error is one
// but that its reader has gone.
func newOutput(w io.Writer, failed chan<- error, lenient bool) *output {
	o := &output{w: w, consumed: func(int) {}, failed: failed, lenient: lenient, idle: make(chan struct{}), done: make(chan struct{})}
	o.wake.L = &o.mu
	close(o.idle)
	go o.run()
	return o
}

// add queues bytes of the stream, which the window bounds.
func (o *output) add(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stream += len(b)
	o.enqueue(b)
}

// write queues bytes that no window bounds, and waits while many are queued.
func (o *output) write(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > channel.Window {
		o.wake.Wait()
	}
	o.enqueue(b)
}

// note queues a line of ours, unless there are too many.
func (o *output) note(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.notes+len(line) > maxNotes {
		return
	}
	o.notes += len(line)
	o.enqueue([]byte(line))
}

// enqueue is called with mu held.
func (o *output) enqueue(b []byte) {
	if len(o.queue) == 0 && !o.writing {
		o.idle = make(chan struct{})
	}
	o.queue = append(o.queue, b...)
	o.wake.Broadcast()
}

// run writes what is queued until the output is closed.
func (o *output) run() {
	defer close(o.done)
	var spare []byte
	failed := false
	for {
		o.mu.Lock()
		for len(o.queue) == 0 && !o.closed {
			o.wake.Wait()
		}
		if len(o.queue) == 0 {
			o.mu.Unlock()
			return
		}
		b, stream := o.queue, o.stream
		o.queue, o.stream, o.notes, o.writing = spare[:0], 0, 0, true
		o.wake.Broadcast()
		o.mu.Unlock()
		if !failed {
			if _, err := o.w.Write(b); err != nil {
				failed = true
				if !o.lenient || errors.Is(err, unix.EPIPE) {
					o.failed <- err
				}
			}
		}
		if stream > 0 {
			o.consumed(stream)
		}
		spare = b
		o.mu.Lock()
		o.writing = false
		if len(o.queue) == 0 {
			close(o.idle)
		}
		o.mu.Unlock()
	}
}

// settle waits until all is written, at the most so long.
func (o *output) settle(patience time.Duration) {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	select {
	case <-idle:
		return
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

// close says that nothing more comes. What is queued is still written.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.wake.Broadcast()
}
