package uplink

import (
	"fmt"

	"kiln/image/channel"
)

// handler takes the host's frames. Those of a session that is not open are
// ignored: the host may have sent them before it knew of the session's end.
type handler struct{ *Link }

// Message implements channel.Handler.
func (h handler) Message(number channel.Session, b []byte) error {
	r, err := channel.ParseRequest(b)
	if err != nil {
		return err
	}
	if number == channel.Console {
		if r.Open != 0 || r.Hangup {
			return ruleError("the console cannot be begun or ended")
		}
		h.requests <- r
		return nil
	}
	if r.Open != 0 {
		return h.begin(number, r.Open)
	}
	if r.Shutdown {
		return ruleError("a session asks for the machine's end")
	}
	if s := h.session(number); s != nil {
		s.request(r)
	}
	return nil
}

// streamsOf returns the streams that stream s is one of, nil if they are of a
// session that is not open.
func (h handler) streamsOf(s channel.Stream) *streams {
	if s.Session() == channel.Console {
		return &h.streams
	}
	if session := h.session(s.Session()); session != nil {
		return &session.streams
	}
	return nil
}

// Data implements channel.Handler.
func (h handler) Data(s channel.Stream, b []byte) error {
	if s.Role() != channel.Stdin {
		return noStream(s)
	}
	if streams := h.streamsOf(s); streams != nil {
		return streams.Stdin.receive(b)
	}
	return nil
}

// End implements channel.Handler.
func (h handler) End(s channel.Stream) error {
	if s.Role() != channel.Stdin {
		return noStream(s)
	}
	streams := h.streamsOf(s)
	if streams == nil {
		return nil
	}
	if err := streams.Stdin.window.End(); err != nil {
		return err
	}
	streams.Stdin.end()
	return nil
}

// Credit implements channel.Handler.
func (h handler) Credit(s channel.Stream, n int) error {
	if s.Role() != channel.Stdout && s.Role() != channel.Stderr {
		return noStream(s)
	}
	streams := h.streamsOf(s)
	if streams == nil {
		return nil
	}
	o := streams.Stdout
	if s.Role() == channel.Stderr {
		o = streams.Stderr
	}
	if err := o.window.Add(n); err != nil {
		return err
	}
	h.room()
	return nil
}

func noStream(s channel.Stream) error {
	return ruleError("stream %d is none that the host sends this on", s)
}

func ruleError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", channel.ErrRule, fmt.Sprintf(format, args...))
}
