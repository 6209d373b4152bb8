package run

import (
	"kiln/image/channel"
	"kiln/run/output"
	"kiln/run/tty"
)

// copySerial passes what the guest writes to its serial port on until it ends:
// the program's output on a machine without the channel, else what the kernel
// has to say about its crash.
func (s *session) copySerial(to *output.Output) {
	b := make([]byte, 32<<10)
	for {
		n, err := s.process.Console.Read(b)
		if n > 0 {
			if s.link.conn == nil {
				s.link.setReady() // who writes has set up its serial port
			}
			s.shown += int64(n)
			to.Write(b[:n])
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
	var keys tty.Escape
	for {
		room := s.inputRoom()
		n, err := s.std.In.Read(b[:room])
		if n > 0 && s.keys && keys.See(b[:n]) {
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
