package channel

import "sync"

// A Sender keeps a stream's writer within the credit that it has. The zero
// value has none; NewSender's has Window.
type Sender struct {
	mu     sync.Mutex
	credit int           // bytes that may be sent; guarded by mu
	closed bool          // nothing more is sent; guarded by mu
	more   chan struct{} // has a value when credit was given
}

// NewSender returns the sender of a new stream.
func NewSender() *Sender { return &Sender{credit: Window, more: make(chan struct{}, 1)} }

// Take returns how many of n bytes may be sent now, and takes their credit.
func (s *Sender) Take(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	n = min(n, s.credit)
	s.credit -= n
	return n
}

// Back gives back credit that was taken and not used.
func (s *Sender) Back(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit += n
}

// Close lets nothing more be taken. It reports whether the sender was closed
// before.
func (s *Sender) Close() (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.closed = s.closed, true
	return before
}

// Room reports whether there is credit.
func (s *Sender) Room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credit > 0
}

// Add takes credit that the reader gave.
func (s *Sender) Add(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credit+n > Window {
		return ruleError("credit of %d bytes on top of %d", n, s.credit)
	}
	s.credit += n
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

// More has a value once credit was given since the last one. One goroutine may
// wait there.
func (s *Sender) More() <-chan struct{} { return s.more }

// A Receiver keeps a stream's reader to the credit that it gave. Its zero value
// is that of a new stream.
type Receiver struct {
	mu     sync.Mutex
	unread int  // bytes that came and were not yet consumed; guarded by mu
	owed   int  // consumed, and no credit given for; guarded by mu
	ended  bool // guarded by mu
}

// Receive notes n bytes that came.
func (r *Receiver) Receive(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return ruleError("data behind a stream's end")
	}
	if r.unread+r.owed+n > Window {
		return ruleError("%d bytes without credit", r.unread+r.owed+n-Window)
	}
	r.unread += n
	return nil
}

// End notes the stream's end.
func (r *Receiver) End() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return ruleError("a stream ended twice")
	}
	r.ended = true
	return nil
}

// Consume notes that n bytes that came have gone to where they belong. It
// returns the credit to give the writer, which is often none: credit is given
// by half windows, for a frame of it costs both sides as much as one of data.
func (r *Receiver) Consume(n int) (credit int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unread -= n
	r.owed += n
	if r.owed < Window/2 || r.ended {
		return 0
	}
	credit, r.owed = r.owed, 0
	return credit
}
