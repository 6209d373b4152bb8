package uplink

import (
	"errors"
	"fmt"
	"io"

	"kiln/image/channel"
)

// Session is something that the host wants done, with streams of its own.
type Session struct {
	streams
	link     *Link
	number   channel.Session
	size     int                  // of its opening
	requests chan channel.Request // signals and sizes of its terminal
	gone     chan struct{}        // closed when whom it is for has gone
}

// Sessions are those that the host begins. The channel is closed when no more
// will. Who takes one calls its End.
func (l *Link) Sessions() <-chan *Session { return l.sessions }

// Requests are what is asked of the session: signals, and sizes of its terminal.
// The channel is never closed.
func (s *Session) Requests() <-chan channel.Request { return s.requests }

// Gone is closed when whom the session is for has gone: nothing that is sent
// arrives.
func (s *Session) Gone() <-chan struct{} { return s.gone }

// Opening reads what the session is for. It waits for it.
func (s *Session) Opening() (channel.Opening, error) {
	b := make([]byte, s.size)
	if _, err := io.ReadFull(s.Stdin, b); err != nil {
		return channel.Opening{}, fmt.Errorf("the session ends before it has begun: %w", err)
	}
	return channel.ParseOpening(b)
}

// Notice tells whom the session is for a line.
func (s *Session) Notice(format string, args ...any) error {
	return s.link.report(s.number, channel.NoticeReport(fmt.Sprintf(format, args...)))
}

// End ends the session with an exit status, behind its output. Nobody may use its
// streams any more.
func (s *Session) End(status int) error {
	s.link.mu.Lock()
	delete(s.link.open, s.number)
	s.link.mu.Unlock()
	return s.link.report(s.number, channel.ExitReport(status))
}

// begin begins a session, or says that there are too many.
func (l *Link) begin(number channel.Session, size int) error {
	s := &Session{
		streams: newStreams(l, number), link: l, number: number, size: size,
		requests: make(chan channel.Request, requestsKept), gone: make(chan struct{}),
	}
	l.mu.Lock()
	_, there := l.open[number]
	full := len(l.open) >= channel.MaxSessions
	if !there && !full {
		l.open[number] = s
	}
	l.mu.Unlock()
	switch {
	case there:
		return ruleError("session %d begins twice", number)
	case full:
		go s.refuse()
	default:
		l.sessions <- s // there is room: it has as much as open
	}
	return nil
}

// refuse ends a session that was never open.
func (s *Session) refuse() {
	err := s.Notice("%d sessions are open in the guest, and it serves no more at once", channel.MaxSessions)
	// A host that does not take this has no use for it.
	_ = errors.Join(err, s.End(channel.ExitFailed))
}

// session returns an open session, or nil.
func (l *Link) session(number channel.Session) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[number]
}

// listSessions returns the open sessions.
func (l *Link) listSessions() []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Session, 0, len(l.open))
	for _, s := range l.open {
		all = append(all, s)
	}
	return all
}

// request passes on what is asked of the session. Who has that much waiting gets
// no more: further signals are lost, as those that a process blocks.
func (s *Session) request(r channel.Request) {
	if r.Hangup {
		s.hangUp()
		return
	}
	select {
	case s.requests <- r:
	default:
	}
}

// hangUp notes that whom the session is for has gone. It is called by the
// goroutine of Link.serve alone.
func (s *Session) hangUp() {
	select {
	case <-s.gone:
		return
	default:
	}
	close(s.gone)
	s.Stdin.end()
	s.Stdout.lose()
	s.Stderr.lose()
	s.link.room()
}
