package run

import (
	"errors"
	"os"

	"golang.org/x/term"

	"kiln/image/channel"
)

// copySerial passes what the guest writes to its serial port on until it ends:
// the program's output on a machine without the channel, else what the kernel
// has to say about its crash.
func (s *session) copySerial(to *output) {
	b := make([]byte, 32<<10)
	for {
		n, err := s.process.Console.Read(b)
		if n > 0 {
			if s.link.conn == nil {
				s.link.setReady() // who writes has set up its serial port
			}
			s.shown += int64(n)
			to.write(b[:n])
		}
		if err != nil {
			// io.EOF. The pipe does not fail otherwise, and QEMU's exit
			// status tells more than a read error could.
			return
		}
	}
}

// inputSize is how much of standard input is read at once.
const inputSize = channel.MaxPayload

// copyInput passes standard input to the guest until either ends.
func (s *session) copyInput() {
	b := make([]byte, inputSize)
	var keys escape
	for {
		room := s.inputRoom()
		n, err := s.std.In.Read(b[:room])
		if n > 0 && s.keys && keys.see(b[:n]) {
			close(s.cancel)
			return
		}
		if !s.passInput(b[:n], room, err != nil) || err != nil {
			// For the program an input that fails is one that ends.
			return
		}
	}
}

// inputRoom returns how much the guest takes of standard input. It waits until
// that is something.
func (s *session) inputRoom() int {
	if s.link.conn == nil {
		select {
		case <-s.link.ready: // the serial port loses what comes before
		case <-s.process.Done():
		}
		return inputSize
	}
	for {
		if n := s.link.stdin.Take(inputSize); n > 0 {
			return n
		}
		select {
		case <-s.link.stdin.More():
		case <-s.process.Done():
			return inputSize // the write fails
		}
	}
}

// passInput passes b on, and that it is the last. room is what inputRoom
// returned. It reports whether the guest is there.
func (s *session) passInput(b []byte, room int, last bool) bool {
	if s.link.conn == nil {
		_, err := s.process.Input.Write(b)
		return err == nil
	}
	s.link.stdin.Back(room - len(b))
	var frames []byte
	if len(b) > 0 {
		frames = channel.AppendFrame(frames, channel.KindData, channel.Stdin, b)
	}
	if last {
		frames = channel.AppendFrame(frames, channel.KindEnd, channel.Stdin, nil)
	}
	return s.link.write(frames)
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
