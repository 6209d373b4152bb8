package run

import (
	"errors"
	"os"

	"golang.org/x/term"
)

// copyOutput passes the console's output on, unchanged, until it ends.
func (s *session) copyOutput() {
	b := make([]byte, 32<<10)
	var err error
	for {
		n, readErr := s.process.Console.Read(b)
		if n > 0 {
			s.control.setReady() // who writes has set up its serial ports
			s.shown += int64(n)
			if _, err = s.std.Out.Write(b[:n]); err != nil {
				break
			}
		}
		if readErr != nil {
			// io.EOF. The pipe does not fail otherwise, and QEMU's exit
			// status tells more than a read error could.
			break
		}
	}
	s.copied <- err
}

// copyInput passes standard input to the console, and its end to the control
// channel.
func (s *session) copyInput() {
	select {
	case <-s.control.ready:
	case <-s.process.Done():
		return
	}
	b := make([]byte, 4<<10)
	var sent int64
	var keys escape
	for {
		n, err := s.std.In.Read(b)
		if n > 0 {
			if s.keys && keys.see(b[:n]) {
				close(s.cancel)
				return
			}
			if _, err := s.process.Input.Write(b[:n]); err != nil {
				return // QEMU is gone
			}
			sent += int64(n)
		}
		if err != nil {
			// For the program an input that fails is one that ends.
			s.control.send(request{EOF: true, Sent: sent})
			return
		}
	}
}

// escapeKey, typed escapeCount times in a row, ends the machine: a terminal in
// raw mode leaves no other way out of a guest that hangs. It is Ctrl-].
const (
	escapeKey   = 0x1d
	escapeCount = 3
)

// escape counts the escape keys in a row.
type escape int

// see reports whether typed completes the sequence.
func (e *escape) see(typed []byte) bool {
	for _, c := range typed {
		if c != escapeKey {
			*e = 0
			continue
		}
		if *e++; *e == escapeCount {
			return true
		}
	}
	return false
}

// userTerminal is the user's terminal.
type userTerminal struct {
	in, out *os.File // nil unless both are a terminal
	saved   *term.State
}

// openTerminal looks whether the console can be the user's terminal: where
// input and output both are one.
func openTerminal(std Stdio) *userTerminal {
	in, ok1 := std.In.(*os.File)
	out, ok2 := std.Out.(*os.File)
	if !ok1 || !ok2 || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return &userTerminal{}
	}
	return &userTerminal{in: in, out: out}
}

// state returns the terminal's state.
func (u *userTerminal) state() terminal {
	if u.in == nil {
		return terminal{}
	}
	cols, rows, err := term.GetSize(int(u.out.Fd()))
	if err != nil {
		return terminal{present: true} // of unknown size
	}
	return terminal{present: true, rows: uint16(rows), cols: uint16(cols)}
}

// makeRaw makes the terminal pass each key on.
func (u *userTerminal) makeRaw() error {
	if u.in == nil {
		return errors.New("it is none")
	}
	state, err := term.MakeRaw(int(u.in.Fd()))
	if err != nil {
		return err
	}
	u.saved = state
	return nil
}

// restore undoes makeRaw. It may be called again.
func (u *userTerminal) restore() {
	if u.saved == nil {
		return
	}
	// A terminal that is gone needs no restoring.
	_ = term.Restore(int(u.in.Fd()), u.saved)
	u.saved = nil
}
