package sentry

import (
	"fmt"
	"os"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/notice"
)

// endOfTransmission is what ends input on a terminal in its default state.
const endOfTransmission = 'D' - '@'

// terminal is the console with a pseudoterminal.
type terminal struct {
	ctx     context.Context // of the kernel
	master  *vfs.FileDescription
	replica *vfs.FileDescription // the program's end; this reference keeps it open
	pty     *pty

	ended   chan struct{} // closed when the program has
	drained chan struct{} // closed when its output has left
}

// openTerminal makes the first pseudoterminal of /dev/pts the console.
func (s *Sentry) openTerminal(ctx context.Context) (*terminal, error) {
	open := func(path string) (*vfs.FileDescription, error) {
		fd, err := s.mounts.vfs.OpenAt(ctx, s.creds, s.mounts.at(path), &vfs.OpenOptions{Flags: linux.O_RDWR})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return fd, nil
	}
	master, err := open("/dev/pts/ptmx")
	if err != nil {
		return nil, err
	}
	// Nothing else has run, so this is number 0. To open it makes it init's
	// controlling terminal, for init leads a session without one.
	replica, err := open("/dev/pts/0")
	if err != nil {
		return nil, err
	}
	p, err := ptyOf(master)
	if err != nil {
		return nil, err
	}
	t := &terminal{
		ctx: s.kernel.SupervisorContext(), master: master, replica: replica, pty: p,
		ended: make(chan struct{}), drained: make(chan struct{}),
	}
	if s.config.Rows != 0 && s.config.Cols != 0 {
		t.resize(s.config.Rows, s.config.Cols)
	}
	return t, nil
}

func (t *terminal) files() [3]*vfs.FileDescription {
	for range 3 {
		t.replica.IncRef()
	}
	return [3]*vfs.FileDescription{t.replica, t.replica, t.replica}
}

func (t *terminal) start() {
	go t.pumpOutput()
	go copyIn(t.ctx, t.master, t.ended, os.Stdin)
}

// pumpOutput copies what the program writes to the console until the program
// has ended and nothing is left.
func (t *terminal) pumpOutput() {
	defer close(t.drained)
	b := make([]byte, copySize)
	for {
		n, err := readFile(t.ctx, t.master, t.ended, b)
		if err != nil {
			return // io.EOF: the master does not fail otherwise
		}
		if _, err := os.Stdout.Write(b[:n]); err != nil {
			notice.Printf("console output: %v", err)
			return
		}
	}
}

func (t *terminal) drain() {
	close(t.ended)
	<-t.drained
}

// resize sets the window size and tells the foreground processes.
func (t *terminal) resize(rows, cols uint16) {
	if t.pty.setSize(rows, cols) {
		t.pty.tty.SignalForegroundProcessGroup(kernel.SignalInfoPriv(linux.SIGWINCH))
	}
}

// endInput types Ctrl-D: on a terminal the end of input is a character.
func (t *terminal) endInput() {
	if err := writeFile(t.ctx, t.master, t.ended, []byte{endOfTransmission}); err != nil {
		notice.Printf("end of input: %v", err)
	}
}
