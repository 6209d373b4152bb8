package sentry

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/notice"
	"kiln/kernel/uplink"
)

// endOfTransmission is what ends input on a terminal in its default state.
const endOfTransmission = 'D' - '@'

// terminal is a pseudoterminal whose user is on the host: the console's, or one
// of a session.
type terminal struct {
	ctx    context.Context // of the kernel
	sentry *Sentry
	creds  *auth.Credentials // whose it is
	in     io.Reader         // what is typed; nil: nothing is
	out    io.Writer
	ended  chan struct{} // closed when the program has

	master  *vfs.FileDescription
	replica *vfs.FileDescription // keeps the programs' end open
	path    string               // of the programs' end
	pty     *pty
	pumps   sync.WaitGroup // the goroutines that copy
	output  sync.WaitGroup // that which copies output
}

// openTerminal makes a pseudoterminal the console. ctx is a context of init.
func (s *Sentry) openTerminal(ctx context.Context) (*terminal, error) {
	t := &terminal{
		ctx: s.kernel.SupervisorContext(), sentry: s, creds: s.creds,
		in: s.input(), out: s.output(), ended: make(chan struct{}),
	}
	return t, t.open(ctx, s.config.Rows, s.config.Cols)
}

// open makes the pseudoterminal, of a size that may be 0. ctx is a context of a
// process.
func (t *terminal) open(ctx context.Context, rows, cols uint16) error {
	var err error
	if t.master, err = t.openFile(ctx, "/dev/pts/ptmx", linux.O_RDWR); err != nil {
		return err
	}
	if t.pty, err = ptyOf(t.master); err == nil {
		t.path = fmt.Sprintf("/dev/pts/%d", t.pty.number)
		t.replica, err = t.openFile(ctx, t.path, linux.O_RDWR|linux.O_NOCTTY)
	}
	if err != nil {
		t.master.DecRef(t.ctx)
		return err
	}
	if rows != 0 && cols != 0 {
		t.resize(rows, cols)
	}
	return nil
}

// release gives back a terminal that nothing is copied of any more. It hangs up
// for who still has it open.
func (t *terminal) release() {
	t.replica.DecRef(t.ctx)
	t.master.DecRef(t.ctx)
}

// openFile opens a file for the terminal's user.
func (t *terminal) openFile(ctx context.Context, path string, flags uint32) (*vfs.FileDescription, error) {
	return t.sentry.openAs(ctx, t.creds, path, flags)
}

// open opens a file for init.
func (s *Sentry) open(ctx context.Context, path string, flags uint32) (*vfs.FileDescription, error) {
	return s.openAs(ctx, s.creds, path, flags)
}

// openAs opens a file for somebody.
func (s *Sentry) openAs(ctx context.Context, creds *auth.Credentials, path string, flags uint32) (*vfs.FileDescription, error) {
	fd, err := s.mounts.vfs.OpenAt(ctx, creds, s.mounts.at(path), &vfs.OpenOptions{Flags: flags})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return fd, nil
}

func (t *terminal) files(tg *kernel.ThreadGroup, foreground bool) (files [3]*vfs.FileDescription, err error) {
	replica, err := t.openFile(tg.Leader().AsyncContext(), t.path, linux.O_RDWR|linux.O_NOCTTY)
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
	t.pumps.Add(1)
	t.output.Add(1)
	go func() {
		defer t.pumps.Done()
		defer t.output.Done()
		if err := copyOut(t.ctx, t.out, t.ended, t.master); err != nil && !errors.Is(err, uplink.ErrLost) {
			notice.Printf("output of a terminal: %v", err)
		}
	}()
	if t.in == nil {
		return
	}
	t.pumps.Add(1)
	go func() {
		defer t.pumps.Done()
		copyIn(t.ctx, t.master, t.ended, t.in)
		t.endInput()
	}()
}

func (t *terminal) drain() {
	close(t.ended)
	t.output.Wait()
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
