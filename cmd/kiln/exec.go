package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kiln/image/channel"
	"kiln/run"
	"kiln/run/control"
	"kiln/run/output"
	"kiln/run/signals"
	"kiln/run/tty"
)

const execUsage = "[FLAGS] NAME COMMAND [ARGUMENT…]"

var execCommand = command{
	name:  "exec",
	usage: execUsage,
	short: "run a program in a guest that runs",
	long: `
Runs COMMAND in the guest NAME, beside its program: in the same root, on the
same network, as one more process of its kernel. NAME is also the path of the
socket that kiln run --control made.

Its exit status is the command's; 125 if the guest could not do it, 126 if
COMMAND cannot be executed, 127 if there is none, 137 if the machine ended
meanwhile, 128+N if signal N ended the program.

Signals that kiln exec gets are the program's; three INTs within two seconds
leave it. Who leaves, or is killed, leaves the program running: its input ends,
its output fails, its terminal hangs up.

With -t on a terminal, Ctrl-] three times in a row leaves it.`,
	flags:   execFlags,
	argsEnd: true,
}

// execFlags adds the flags of kiln exec.
func execFlags(fs *pflag.FlagSet) action {
	e := &channel.Exec{}
	fs.BoolVarP(&e.Stdin, "interactive", "i", false, "connect standard input")
	fs.BoolVarP(&e.Terminal, "tty", "t", false, "give the program a terminal; standard error goes there, too")
	fs.BoolVarP(&e.Detach, "detach", "d", false, "do not wait for the program, whose output is lost")
	fs.StringArrayVarP(&e.Env, "env", "e", nil, "set a variable of the program's environment, `KEY=VALUE`, or KEY as it is here")
	fs.StringVarP(&e.Cwd, "workdir", "w", "", "the program's working directory")
	fs.StringVarP(&e.User, "user", "u", "", "run it as `USER[:GROUP]`, names or numbers of the guest's (default: as its program)")
	return func(a *app, args []string, _ int) (int, error) {
		if len(args) < 2 {
			return 0, usageError{"a guest and a command are needed", "kiln exec " + execUsage}
		}
		e.Args = args[1:]
		for i, v := range e.Env {
			name, _, ok := strings.Cut(v, "=")
			if name == "" {
				return 0, usageError{fmt.Sprintf("-e %s: not KEY=VALUE", v), ""}
			}
			if !ok {
				e.Env[i] = v + "=" + a.getenv(v)
			}
		}
		return a.exec(args[0], *e)
	}
}

// exec runs a program in a guest.
func (a *app) exec(guest string, e channel.Exec) (int, error) {
	user := &tty.Terminal{}
	if e.Terminal && !e.Detach {
		if user = tty.Open(a.stdin, a.stdout); !user.Present() && e.Stdin {
			return 0, usageError{"-t: standard input and output are no terminal", "without -t, input and output are passed on as they are"}
		}
		e.Rows, e.Cols = user.Size()
	}
	s, err := a.enter(guest, channel.Opening{Exec: &e})
	if err != nil {
		return exitFailure, err
	}
	caught := signals.Catch(user.Present())
	defer signal.Stop(caught)
	if user.Present() && e.Stdin {
		if err := user.MakeRaw(); err != nil {
			return exitFailure, errors.Join(err, s.Close())
		}
		defer user.Restore()
	}
	std := control.Stdio{Out: a.stdout, Err: a.stderr}
	left := make(chan int, 2)
	if e.Stdin && !e.Detach {
		std.In = a.stdin
		if user.Present() {
			std.In = &keys{r: a.stdin, leave: func() { left <- run.ExitKilled }}
		}
	}
	go passSignals(s, caught, user, left)
	ended := make(chan ending, 1)
	go func() {
		code, err := s.Run(std, a.guestNote)
		ended <- ending{code, err}
	}()
	select {
	case end := <-ended:
		user.Restore()
		return a.sessionStatus(end.code, end.err)
	case code := <-left:
		return code, s.Close()
	}
}

// ending is how a session ended.
type ending struct {
	code int
	err  error
}

// enter begins a session with a guest.
func (a *app) enter(guest string, o channel.Opening) (*control.Session, error) {
	path, err := a.findGuest(guest)
	if err != nil {
		return nil, err
	}
	s, err := control.Dial(path, o)
	if errors.Is(err, control.ErrNotServed) {
		return nil, usageError{fmt.Sprintf("there is no running guest %q", guest), "name a guest that runs, or the socket that kiln run --control made"}
	}
	return s, err
}

// findGuest returns the path of a guest's socket.
func (a *app) findGuest(guest string) (string, error) {
	if info, err := os.Stat(guest); err == nil && info.Mode().Type() == os.ModeSocket {
		return guest, nil
	}
	if i, err := a.findInstance(guest); err == nil && i.Up() {
		return i.ControlSocket(), nil
	}
	return "", usageError{fmt.Sprintf("there is no running guest %q", guest), "name a guest that runs, or the socket that kiln run --control made"}
}

// guestNote prints a line that the guest's kernel has to say.
func (a *app) guestNote(line string) {
	fmt.Fprintf(a.stderr, "%s: %s\n", a.name, output.Printable(line))
}

// sessionStatus returns the exit status for how a session ended.
func (a *app) sessionStatus(code int, err error) (int, error) {
	switch {
	case errors.Is(err, control.ErrEnded):
		return 0, &run.Error{Code: channel.ExitGuestEnded, Msg: "the machine has ended"}
	case errors.Is(err, unix.EPIPE):
		return 128 + int(unix.SIGPIPE), nil
	case err != nil:
		return exitFailure, err
	}
	return code, nil
}

// passSignals passes signals on to the guest's program.
func passSignals(s *control.Session, caught <-chan os.Signal, user *tty.Terminal, left chan<- int) {
	var hurry signals.Hurry
	for sig := range caught {
		switch {
		case sig == unix.SIGPIPE: // the write fails
		case hurry.See(sig, time.Now()):
			left <- 128 + int(unix.SIGINT)
		case sig == unix.SIGWINCH:
			if user.Present() {
				s.Resize(user.Size())
			}
		default:
			s.Signal(signals.Name(sig))
		}
	}
}

// keys is a terminal that is typed on. leave is called for the keys that do that.
type keys struct {
	r     io.Reader
	typed tty.Escape
	leave func()
}

// Read implements io.Reader.
func (k *keys) Read(b []byte) (int, error) {
	n, err := k.r.Read(b)
	if n > 0 && k.typed.See(b[:n]) {
		k.leave()
		return 0, io.EOF
	}
	return n, err
}
