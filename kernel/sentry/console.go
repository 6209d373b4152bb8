package sentry

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/host"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/pipefs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// console is the program's standard input, output and error.
//
// There are two. Without a terminal, descriptors 1 and 2 are character devices
// whose data is sent to the host at once (output.go): one copy, no goroutine,
// and /dev/stdout can be opened again. Input is a pipe that a goroutine fills.
// With a terminal, a pseudoterminal gives the program termios, job control and
// Ctrl-C, all gVisor's own; goroutines copy between its master and the host.
//
// On a machine without the channel the serial port takes the host's place:
// metal's descriptors 0 to 2.
type console interface {
	// files returns descriptors 0 to 2 for process tg, each with a reference
	// for the caller. A terminal becomes the controlling one of what runs in
	// the foreground.
	files(tg *kernel.ThreadGroup, foreground bool) ([3]*vfs.FileDescription, error)

	start()                   // begin to copy
	drain()                   // all output has left when it returns
	resize(rows, cols uint16) // the terminal's window
}

// openConsole makes the console that the configuration asks for. ctx is a
// context of init.
func (s *Sentry) openConsole(ctx context.Context) (console, error) {
	if s.config.Terminal {
		return s.openTerminal(ctx)
	}
	return s.openPlain(ctx)
}

// input is where the console's input comes from.
func (s *Sentry) input() io.Reader {
	if s.config.Link != nil {
		return s.config.Link.Stdin
	}
	return os.Stdin
}

// output is where a terminal's output goes.
func (s *Sentry) output() io.Writer {
	if s.config.Link != nil {
		return s.config.Link.Stdout
	}
	return os.Stdout
}

// plainConsole is the console without a terminal.
type plainConsole struct {
	ctx   context.Context // of the kernel
	std   [3]*vfs.FileDescription
	pump  *vfs.FileDescription // write end of standard input, or nil
	input io.Reader
}

func (s *Sentry) openPlain(ctx context.Context) (*plainConsole, error) {
	c := &plainConsole{ctx: s.kernel.SupervisorContext(), input: s.input()}
	var err error
	for fd := 1; fd <= 2; fd++ {
		if s.config.Link != nil {
			c.std[fd], err = s.openOutput(fd)
		} else {
			c.std[fd], err = s.importOutput(ctx, fd)
		}
		if err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	if s.config.Stdin {
		c.std[0], c.pump, err = pipefs.NewConnectedPipeFDs(ctx, s.kernel.PipeMount(), 0)
	} else {
		c.std[0], err = s.mounts.vfs.OpenAt(ctx, s.mounts.creds, s.mounts.at("/dev/null"), &vfs.OpenOptions{Flags: linux.O_RDONLY})
	}
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return c, nil
}

// importOutput makes the kernel's descriptor fd one of the program's.
func (s *Sentry) importOutput(ctx context.Context, fd int) (*vfs.FileDescription, error) {
	// The program may close its descriptor; the kernel's stays.
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	file, err := host.NewFD(ctx, s.kernel.HostMount(), own, &host.NewFDOptions{
		HaveFlags:    true,
		Flags:        linux.O_WRONLY,
		VirtualOwner: true, // the program may chmod and chown it
	})
	if err != nil {
		unix.Close(own)
		return nil, err
	}
	return file, nil
}

func (c *plainConsole) files(*kernel.ThreadGroup, bool) ([3]*vfs.FileDescription, error) {
	for _, file := range c.std {
		file.IncRef()
	}
	return c.std, nil
}

func (c *plainConsole) drain()                   {}
func (c *plainConsole) resize(rows, cols uint16) {}

func (c *plainConsole) start() {
	if c.pump != nil {
		go c.pumpInput()
	}
}

// pumpInput copies the console's input into the pipe until either ends; then
// the program reads the end of its input.
func (c *plainConsole) pumpInput() {
	defer c.pump.DecRef(c.ctx)
	copyIn(c.ctx, c.pump, nil, c.input)
}
