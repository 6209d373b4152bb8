// Package output writes what a guest sends to where it belongs.
package output

import (
	"errors"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"kiln/image/channel"
)

// MaxNotes bounds the notices that wait for a reader of standard error, in
// bytes. A guest may have any number to give.
const MaxNotes = 64 << 10

// Output writes one stream of the program's to where it belongs, on a goroutine
// of its own, so that a reader who is slow holds up nobody else.
type Output struct {
	Window   channel.Receiver // what the guest was given credit for
	Consumed func(n int)      // told of each n bytes of the stream that were written

	w       io.Writer
	failed  chan<- error
	lenient bool // only a reader who has gone is a failure

	mu      sync.Mutex
	wake    sync.Cond     // something has changed; L is mu
	queue   []byte        // to be written; guarded by mu
	stream  int           // how many bytes of queue are the stream's; guarded by mu
	notes   int           // how many are not; guarded by mu
	writing bool          // guarded by mu
	idle    chan struct{} // closed when all is written; guarded by mu
	closed  bool          // nothing more comes; guarded by mu
	done    chan struct{} // closed when Close was called and all is written
}

// New starts to write to w. The first error goes to failed; what comes
// behind it is dropped. lenient is for what may be closed: then no error is one
// but that its reader has gone.
func New(w io.Writer, failed chan<- error, lenient bool) *Output {
	o := &Output{w: w, Consumed: func(int) {}, failed: failed, lenient: lenient, idle: make(chan struct{}), done: make(chan struct{})}
	o.wake.L = &o.mu
	close(o.idle)
	go o.run()
	return o
}

// Add queues bytes of the stream, which the window bounds.
func (o *Output) Add(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stream += len(b)
	o.enqueue(b)
}

// Write queues bytes that no window bounds, and waits while many are queued.
func (o *Output) Write(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > channel.Window {
		o.wake.Wait()
	}
	o.enqueue(b)
}

// Note queues a line of ours, unless there are too many.
func (o *Output) Note(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.notes+len(line) > MaxNotes {
		return
	}
	o.notes += len(line)
	o.enqueue([]byte(line))
}

// enqueue is called with mu held.
func (o *Output) enqueue(b []byte) {
	if len(o.queue) == 0 && !o.writing {
		o.idle = make(chan struct{})
	}
	o.queue = append(o.queue, b...)
	o.wake.Broadcast()
}

// run writes what is queued until the output is closed.
func (o *Output) run() {
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
			o.Consumed(stream)
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

// Settle waits until all is written, at the most so long.
func (o *Output) Settle(patience time.Duration) {
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

// Close says that nothing more comes. What is queued is still written.
func (o *Output) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.wake.Broadcast()
}

// Done is closed when Close was called and all is written.
func (o *Output) Done() <-chan struct{} { return o.done }

// Printable replaces what would do more to a terminal than show a character:
// a notice may quote the guest.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
