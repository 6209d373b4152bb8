package run

import (
	"net"
	"sync"

	"kiln/image/channel"
	"kiln/run/control"
	"kiln/run/output"
)

// listenControl makes the socket for tools that enter the guest, if there is to
// be one; else it returns nil.
func listenControl(path string) (*control.Listener, error) {
	if path == "" {
		return nil, nil
	}
	l, err := control.Listen(path)
	if err != nil {
		return nil, &Error{ExitMachine, err.Error(), ""}
	}
	return l, nil
}

// serveControl lets tools enter the guest until that is gone. Then it closes left,
// once they have all that was for them.
func (s *session) serveControl(l *control.Listener) {
	if l == nil {
		close(s.left)
		return
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			s.link.tools.Add(1)
			go s.link.serveTool(conn)
		}
	}()
	<-s.link.ended
	// A socket that is gone already is as good.
	_ = l.Close()
	<-accepted
	s.link.tools.Wait()
	close(s.left)
}

// A relay passes the frames of one session on, between a tool and the guest.
type relay struct {
	link   *link
	number channel.Session
	conn   net.Conn // to the tool
	// windows are what the writer of each stream may send, by the stream's role.
	windows [4]*channel.Sender

	mu    sync.Mutex
	wake  sync.Cond // something has changed; L is mu
	begun bool      // the guest knows of it; guarded by mu
	ended bool      // the guest has ended it, or is gone; guarded by mu
	gone  bool      // the tool is; guarded by mu
	queue []byte    // for the tool, within windows; guarded by mu
	notes int       // how many bytes of the queue are notices; guarded by mu
}

// serveTool carries a tool's session until either side ends it.
func (l *link) serveTool(conn net.Conn) {
	defer l.tools.Done()
	defer conn.Close()
	r := l.newRelay(conn)
	if r == nil {
		// The tool sees the connection's end: the machine has ended.
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		r.writeTool()
	}()
	// A tool that breaks a rule is a tool that has gone.
	_ = channel.Serve(conn, toolHandler{r})
	r.leave()
	<-written
}

// newRelay makes a session with an unused number, nil if the guest is gone.
func (l *link) newRelay(conn net.Conn) *relay {
	l.sessionMu.Lock()
	defer l.sessionMu.Unlock()
	if l.sessions == nil || len(l.sessions) >= int(channel.LastSession) {
		return nil
	}
	for {
		if l.lastUsed++; l.lastUsed > channel.LastSession {
			l.lastUsed = 1
		}
		if l.sessions[l.lastUsed] == nil {
			break
		}
	}
	r := &relay{link: l, number: l.lastUsed, conn: conn}
	r.wake.L = &r.mu
	for role := channel.Stdin; role <= channel.Stderr; role++ {
		r.windows[role] = channel.NewSender()
	}
	l.sessions[r.number] = r
	return r
}

// endSessions ends all sessions, as the guest is gone.
func (l *link) endSessions() {
	l.sessionMu.Lock()
	sessions := l.sessions
	l.sessions = nil
	l.sessionMu.Unlock()
	for _, r := range sessions {
		r.end(nil)
	}
}

// forget ends the use of a session's number.
func (l *link) forget(r *relay) {
	l.sessionMu.Lock()
	defer l.sessionMu.Unlock()
	delete(l.sessions, r.number)
}

// relayOf returns a session's relay. It is an error if there is none: the guest
// knows of no other.
func (l *link) relayOf(s channel.Session) (*relay, error) {
	l.sessionMu.Lock()
	defer l.sessionMu.Unlock()
	if r := l.sessions[s]; r != nil {
		return r, nil
	}
	return nil, noStream(s.Stream(channel.Messages))
}

// sessionReport passes a report on.
func (l *link) sessionReport(s channel.Session, report channel.Report, b []byte) error {
	r, err := l.relayOf(s)
	if err != nil {
		return err
	}
	frame := channel.AppendFrame(nil, channel.KindMessage, channel.Messages, b)
	if report.Exit != nil {
		l.forget(r)
		r.end(frame)
	} else {
		r.note(frame)
	}
	return nil
}

// sessionData passes data on that the guest was given credit for.
func (l *link) sessionData(s channel.Stream, b []byte) error {
	r, err := l.relayOf(s.Session())
	if err != nil {
		return err
	}
	if s.Role() == channel.Stdin {
		return noStream(s)
	}
	if n := r.windows[s.Role()].Take(len(b)); n < len(b) {
		return ruleError("%d bytes of stream %d without credit", len(b)-n, s)
	}
	r.add(channel.KindData, s.Role(), b)
	return nil
}

// sessionEnd passes a stream's end on.
func (l *link) sessionEnd(s channel.Stream) error {
	r, err := l.relayOf(s.Session())
	if err != nil {
		return err
	}
	if s.Role() == channel.Stdin {
		return noStream(s)
	}
	if r.windows[s.Role()].Close() {
		return ruleError("stream %d ended twice", s)
	}
	r.add(channel.KindEnd, s.Role(), nil)
	return nil
}

// sessionCredit passes credit on.
func (l *link) sessionCredit(s channel.Stream, n int) error {
	r, err := l.relayOf(s.Session())
	if err != nil {
		return err
	}
	if s.Role() != channel.Stdin {
		return noStream(s)
	}
	if err := r.windows[channel.Stdin].Add(n); err != nil {
		return err
	}
	r.queueFrame(channel.AppendCredit(nil, channel.Stdin, n))
	return nil
}

// add queues a frame for the tool.
func (r *relay) add(kind channel.Kind, role channel.Stream, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.queue = channel.AppendFrame(r.queue, kind, role, b)
		r.wake.Signal()
	}
}

// queueFrame is add for a frame that is made.
func (r *relay) queueFrame(frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.queue = append(r.queue, frame...)
		r.wake.Signal()
	}
}

// note queues a notice, unless there are too many.
func (r *relay) note(frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone && r.notes+len(frame) <= output.MaxNotes {
		r.notes += len(frame)
		r.queue = append(r.queue, frame...)
		r.wake.Signal()
	}
}

// end ends the session behind a last frame.
func (r *relay) end(frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.queue = append(r.queue, frame...)
	r.wake.Signal()
}

// leave ends the session as the tool has gone.
func (r *relay) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone, r.queue = true, nil
	r.wake.Signal()
	switch {
	case r.ended:
	case r.begun: // its number is free when the guest has ended it
		r.request(channel.Request{Hangup: true})
	default:
		r.ended = true
		r.link.forget(r)
	}
}

// writeTool writes what is queued to the tool until the session has ended.
func (r *relay) writeTool() {
	for {
		r.mu.Lock()
		for len(r.queue) == 0 && !r.ended && !r.gone {
			r.wake.Wait()
		}
		b := r.queue
		r.queue, r.notes = nil, 0
		last := r.ended || r.gone
		r.mu.Unlock()
		if len(b) > 0 {
			if _, err := r.conn.Write(b); err != nil {
				last = true
			}
		}
		if last {
			// Ends the reading, too. The tool has what was written.
			r.conn.Close()
			return
		}
	}
}

// forward sends a frame to the guest, unless the session has ended: its number may
// be another's by then.
func (r *relay) forward(frame []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		return ruleError("a tool sends data before it says what for")
	}
	if !r.ended {
		r.link.write(frame)
	}
	return nil
}

// request sends a request to the guest. mu is held.
func (r *relay) request(q channel.Request) {
	// Only a large one fails, and none is.
	if frame, err := channel.AppendRequest(nil, r.number, q); err == nil {
		r.link.write(frame)
	}
}

// toolHandler takes the tool's frames.
type toolHandler struct{ *relay }

// Message implements channel.Handler.
func (h toolHandler) Message(s channel.Session, b []byte) error {
	q, err := channel.ParseRequest(b)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s != channel.Console || q.Shutdown || q.Hangup || (q.Open != 0) == h.begun {
		return ruleError("a tool asks for %+v", q)
	}
	h.begun = true
	if h.ended {
		return nil
	}
	h.request(q)
	return nil
}

// Data implements channel.Handler.
func (h toolHandler) Data(s channel.Stream, b []byte) error {
	if s != channel.Stdin || h.windows[s].Take(len(b)) < len(b) {
		return ruleError("%d bytes of stream %d from a tool", len(b), s)
	}
	return h.forward(channel.AppendFrame(nil, channel.KindData, h.number.Stream(s), b))
}

// End implements channel.Handler.
func (h toolHandler) End(s channel.Stream) error {
	if s != channel.Stdin || h.windows[s].Close() {
		return noStream(s)
	}
	return h.forward(channel.AppendFrame(nil, channel.KindEnd, h.number.Stream(s), nil))
}

// Credit implements channel.Handler.
func (h toolHandler) Credit(s channel.Stream, n int) error {
	if s != channel.Stdout && s != channel.Stderr {
		return noStream(s)
	}
	if err := h.windows[s].Add(n); err != nil {
		return err
	}
	return h.forward(channel.AppendCredit(nil, h.number.Stream(s), n))
}
