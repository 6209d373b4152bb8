package sentry

import (
	"fmt"

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
	sentry  *Sentry
	master  *vfs.FileDescription
	replica *vfs.FileDescription // keeps the programs' end open
	pty     *pty

	ended   chan struct{} // closed when the program has
	drained chan struct{} // closed when its output has left
}

// replicaPath is the programs' end: nothing has run when openTerminal opens
// the master, so this is number 0.
const replicaPath = "/dev/pts/0"

// openTerminal makes the first pseudoterminal of /dev/pts the console. ctx is
// a context of init.
func (s *Sentry) openTerminal(ctx context.Context) (*terminal, error) {
	master, err := s.open(ctx, "/dev/pts/ptmx", linux.O_RDWR)
	if err != nil {
		return nil, err
	}
	replica, err := s.open(ctx, replicaPath, linux.O_RDWR|linux.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	p, err := ptyOf(master)
	if err != nil {
		return nil, err
	}
	t := &terminal{
		ctx: s.kernel.SupervisorContext(), sentry: s, master: master, replica: replica, pty: p,
		ended: make(chan struct{}), drained: make(chan struct{}),
	}
	if s.config.Rows != 0 && s.config.Cols != 0 {
		t.resize(s.config.Rows, s.config.Cols)
	}
	return t, nil
}

// open opens a file for init.
func (s *Sentry) open(ctx context.Context, path string, flags uint32) (*vfs.FileDescription, error) {
	fd, err := s.mounts.vfs.OpenAt(ctx, s.creds, s.mounts.at(path), &vfs.OpenOptions{Flags: flags})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return fd, nil
}

func (t *terminal) files(tg *kernel.ThreadGroup, foreground bool) (files [3]*vfs.FileDescription, err error) {
	replica, err := t.sentry.open(tg.Leader().AsyncContext(), replicaPath, linux.O_RDWR|linux.O_NOCTTY)
	if err != nil {
		return files, err
	}
	if foreground {
		// From a program before this one, if that left it behind.
		if err := tg.SetControllingTTY(t.ctx, t.pty.tty, true /* steal */, true /* readable */); err != nil {
			replica.DecRef(t.ctx)
			return files, fmt.Errorf("controlling terminal: %w", err)
		}
	}
	replica.IncRef()
	replica.IncRef()
	return [3]*vfs.FileDescription{replica, replica, replica}, nil
}

func (t *terminal) start() {
	go t.pumpOutput()
	go func() {
		copyIn(t.ctx, t.master, t.ended, t.sentry.input())
		t.endInput()
	}()
}

// pumpOutput copies what the program writes to the console until the program
// has ended and nothing is left.
func (t *terminal) pumpOutput() {
	defer close(t.drained)
	b := make([]byte, copySize)
	out := t.sentry.output()
	for {
		n, err := readFile(t.ctx, t.master, t.ended, b)
		if err != nil {
			return // io.EOF: the master does not fail otherwise
		}
		if _, err := out.Write(b[:n]); err != nil {
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
	select {
	case <-t.ended:
		return // nobody reads it
	default:
	}
	if err := writeFile(t.ctx, t.master, t.ended, []byte{endOfTransmission}); err != nil {
		notice.Printf("end of input: %v", err)
	}
}
