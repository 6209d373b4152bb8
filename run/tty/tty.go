// Package tty is the user's terminal, as the terminal of a program in a guest.
package tty

import (
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// EscapeKey, typed EscapeCount times in a row, is for leaving: a terminal in raw
// mode leaves no other way out of a guest that hangs. It is Ctrl-].
const (
	EscapeKey   = 0x1d
	EscapeCount = 3
)

// Escape counts the escape keys in a row.
type Escape int

// See reports whether typed completes the sequence.
func (e *Escape) See(typed []byte) bool {
	for _, c := range typed {
		if c != EscapeKey {
			*e = 0
			continue
		}
		if *e++; *e == EscapeCount {
			return true
		}
	}
	return false
}

// Terminal is the user's terminal.
type Terminal struct {
	in, out *os.File // nil unless both are a terminal
	saved   *term.State
}

// Open looks whether what a program is connected to can be the user's terminal:
// where input and output both are one.
func Open(r io.Reader, w io.Writer) *Terminal {
	in, ok1 := r.(*os.File)
	out, ok2 := w.(*os.File)
	if !ok1 || !ok2 || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return &Terminal{}
	}
	return &Terminal{in: in, out: out}
}

// Present reports whether there is one.
func (u *Terminal) Present() bool { return u.in != nil }

// Size returns the size of its window, 0 if that is not known.
func (u *Terminal) Size() (rows, cols uint16) {
	if u.in == nil {
		return 0, 0
	}
	c, r, err := term.GetSize(int(u.out.Fd()))
	if err != nil {
		return 0, 0
	}
	return uint16(r), uint16(c)
}

// MakeRaw makes the terminal pass each key on.
func (u *Terminal) MakeRaw() error {
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

// Restore undoes MakeRaw. It may be called again.
func (u *Terminal) Restore() {
	if u.saved == nil {
		return
	}
	// A terminal that is gone needs no restoring.
	_ = term.Restore(int(u.in.Fd()), u.saved)
	u.saved = nil
}
