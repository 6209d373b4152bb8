package instance

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Supervisor looks after an instance's guests, one after the other.
type Supervisor struct {
	*Held
	// Guest runs a guest to its end, and returns its exit status and, if that
	// is not all there is to say, an error. It carries out the requests. It
	// calls SetRunning, and Lives.
	Guest func(requests <-chan Request) (code int, err error)
	// Tell gets what goes wrong with the records meanwhile.
	Tell func(err error)

	mu     sync.Mutex
	guest  chan Request  // takes requests to the guest; nil if there is none; guarded by mu
	wish   wish          // guarded by mu
	wished chan struct{} // has room for one: wish was set
	lived  bool          // a guest did; guarded by mu
}

// A wish is what is to follow the guest that runs.
type wish int

const (
	asPolicySays wish = iota
	noOther           // it was stopped by hand
	another           // it is restarted by hand
)

// NewSupervisor returns a supervisor of h.
func NewSupervisor(h *Held) *Supervisor {
	return &Supervisor{Held: h, wished: make(chan struct{}, 1), Tell: func(error) {}}
}

// Lives says that the guest has begun to run.
func (s *Supervisor) Lives() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lived = true
}

// Lived reports whether a guest has ever begun to run.
func (s *Supervisor) Lived() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lived
}

// StopAfter says that no other guest follows the one that runs.
func (s *Supervisor) StopAfter() { s.setWish(noOther) }

func (s *Supervisor) setWish(w wish) {
	s.mu.Lock()
	s.wish = w
	s.mu.Unlock()
	select {
	case s.wished <- struct{}{}:
	default: // nobody has seen the last one yet
	}
}

// takeWish returns the wish and forgets it, but that no other guest is to follow.
func (s *Supervisor) takeWish() wish {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wish
	if w == another {
		s.wish = asPolicySays
	}
	return w
}

// Run runs guests until none is to follow, and returns the exit status of the
// last one.
func (s *Supervisor) Run() (int, error) {
	var pause time.Duration
	for {
		begun := time.Now()
		code, err := s.runGuest()
		again, now := s.follows(code)
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		if e := s.SetEnded(code, reason, again); e != nil {
			s.Tell(e)
		}
		if !again {
			return code, err
		}
		if err != nil {
			s.Tell(err)
		}
		pause = nextPause(pause, time.Since(begun))
		if !now && !s.rest(pause) {
			return code, err
		}
	}
}

// runGuest runs one guest, unless none is wanted any more.
func (s *Supervisor) runGuest() (int, error) {
	requests := make(chan Request, 64)
	s.mu.Lock()
	stopped := s.wish == noOther
	s.guest = requests
	s.mu.Unlock()
	if stopped {
		return killedStatus, errors.New("it was stopped before it had started")
	}
	defer func() {
		s.mu.Lock()
		s.guest = nil
		s.mu.Unlock()
	}()
	return s.Guest(requests)
}

// follows reports whether another guest follows the one that ended with code,
// and if so whether at once.
func (s *Supervisor) follows(code int) (again, now bool) {
	switch s.takeWish() {
	case noOther:
		return false, false
	case another:
		s.State.Restarts = -1 // SetEnded counts this one, which is by hand
		return true, true
	}
	// What cannot even begin is not tried again.
	return s.Lived() && s.Config.Restart.again(code, s.State.Restarts), false
}

// rest waits for pause to pass, and reports whether another guest is to start
// then.
func (s *Supervisor) rest(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-s.wished:
			switch s.takeWish() {
			case noOther:
				return false
			case another:
				s.State.Restarts = 0
				return true
			}
		}
	}
}

// Do carries out a request of another process'.
func (s *Supervisor) Do(r Request) error {
	switch r.Action {
	case ActionStop:
		s.setWish(noOther)
	case ActionRestart:
		s.setWish(another)
	case ActionSignal:
		if r.ends() {
			s.setWish(noOther)
		}
	case ActionResize:
	default:
		return fmt.Errorf("there is no action %q", r.Action)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guest == nil {
		if r.Action == ActionSignal && !r.ends() {
			return errors.New("it waits for its next start")
		}
		return nil
	}
	select {
	case s.guest <- r:
		return nil
	default:
		return errors.New("it has more requests than it takes")
	}
}
