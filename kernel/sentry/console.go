package sentry

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/host"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/pipefs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/notice"
)

// console is the program's standard input, output and error.
//
// There are two. Without a terminal, output is imported as it is from metal's
// descriptors 1 and 2: one copy, no goroutine, in order with the kernel's own
// lines, and /dev/stdout can be opened again. Input is a pipe that a goroutine
// fills from metal's descriptor 0, because the Sentry would block a thread in
// a read. With a terminal, a pseudoterminal gives the program termios, job
// control and Ctrl-C, all gVisor's own; goroutines copy between its master
// and metal's descriptors.
type console interface {
	// files returns descriptors 0 to 2 for process tg, each with a reference
	// for the caller. A terminal becomes the controlling one of what runs in
	// the foreground.
	files(tg *kernel.ThreadGroup, foreground bool) ([3]*vfs.FileDescription, error)

	start()                   // begin to copy
	drain()                   // all output has left when it returns
	resize(rows, cols uint16) // the terminal's window
	endInput(sent int64)      // input ends after that many bytes
}

// openConsole makes the console that the configuration asks for. ctx is a
// context of init.
func (s *Sentry) openConsole(ctx context.Context) (console, error) {
	if s.config.Terminal {
		return s.openTerminal(ctx)
	}
	return s.openPlain(ctx)
}

// plainConsole is the console without a terminal.
type plainConsole struct {
	ctx  context.Context // of the kernel
	std  [3]*vfs.FileDescription
	pump *vfs.FileDescription // write end of standard input, or nil

	input inputCount
	close sync.Once // of pump
}

// An inputCount tells when all input has come. What the host sends and that
// it has sent all take two ways, and either may be faster.
type inputCount struct {
	mu    sync.Mutex
	come  int64 // bytes; guarded by mu
	sent  int64 // bytes, once ended is set; guarded by mu
	ended bool  // the host has sent all; guarded by mu
}

// add counts n bytes, and reports whether they were the last.
func (i *inputCount) add(n int) (all bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.come += int64(n)
	return i.ended && i.come >= i.sent
}

// end says that there are sent bytes in all, and reports whether they have
// come.
func (i *inputCount) end(sent int64) (all bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended, i.sent = true, sent
	return i.come >= sent
}

func (s *Sentry) openPlain(ctx context.Context) (*plainConsole, error) {
	c := &plainConsole{ctx: s.kernel.SupervisorContext()}
	var err error
	for fd := 1; fd <= 2; fd++ {
		if c.std[fd], err = s.importOutput(ctx, fd); err != nil {
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

// pumpInput copies the console's input into the pipe until either end closes,
// or all that the host has sent was copied; then the program reads the end of
// its input.
func (c *plainConsole) pumpInput() {
	b := make([]byte, copySize)
	for {
		n, err := os.Stdin.Read(b)
		if n > 0 && writeFile(c.ctx, c.pump, nil, b[:n]) != nil {
			err = io.EOF // the program reads no more
		}
		if err != nil && err != io.EOF {
			notice.Printf("console input: %v", err)
		}
		if err != nil || c.input.add(n) {
			c.closePump()
			return
		}
	}
}

// endInput closes the pipe if all has been copied. Then the goroutine that
// copies is left behind in a read that nothing ends.
func (c *plainConsole) endInput(sent int64) {
	if c.pump != nil && c.input.end(sent) {
		c.closePump()
	}
}

func (c *plainConsole) closePump() { c.close.Do(func() { c.pump.DecRef(c.ctx) }) }
