package run

import (
	"io"
	"time"

	"kiln/image/channel"
)

// An Order is what somebody elsewhere than at our terminal asks of a run.
type Order struct {
	// Stop asks the program to end. The machine is killed when Timeout has
	// passed since; a negative one never passes.
	Stop    bool
	Timeout time.Duration
	Kill    bool   // end the machine at once
	Signal  string // send the program this signal: a name as in signal(7) without SIG, or a number
	// Rows and Cols, if not 0, are the new size of the program's terminal.
	Rows, Cols uint16
}

// obey passes to the guest what o asks of it. It returns from when on the machine
// is to be killed, nil if this says nothing about it.
func (s *session) obey(o Order) (deadline <-chan time.Time) {
	switch {
	case o.Stop:
		s.link.send(channel.Request{Shutdown: true})
		if o.Timeout >= 0 {
			return time.After(o.Timeout)
		}
	case o.Signal != "":
		s.link.send(channel.Request{Signal: o.Signal})
	case o.Rows != 0 && o.Cols != 0:
		s.link.send(channel.Request{Winsize: []uint16{o.Rows, o.Cols}})
	}
	return nil
}

// own is where our own lines go.
func (s Stdio) own() io.Writer {
	if s.Own != nil {
		return s.Own
	}
	return s.Err
}
