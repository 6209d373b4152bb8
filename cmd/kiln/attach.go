package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"kiln/instance"
	"kiln/run/signals"
)

var attachCommand = command{
	name:  "attach",
	usage: "[--no-stdin] [--sig-proxy=false] INSTANCE",
	short: "connect to an instance's input, output and signals",
	long: `
Prints what the program writes from now on until the instance ends, and ends with
its exit status. If the instance was started with -i, standard input goes to the
program, whose own input stays open when it ends. Signals that kiln attach gets
are the program's; with --sig-proxy=false they end only kiln attach.`,
	flags: func(fs *pflag.FlagSet) action {
		noInput := fs.Bool("no-stdin", false, "do not connect standard input")
		proxy := fs.Bool("sig-proxy", true, "pass signals to the program")
		return func(a *app, args []string, _ int) (int, error) {
			i, err := a.oneInstance(args)
			if err != nil {
				return 0, err
			}
			return a.attach(i, !*noInput, *proxy)
		}
	},
}

// attach connects to i. input says that it gets our standard input, proxy that it
// gets our signals.
func (a *app) attach(i *instance.Instance, input, proxy bool) (int, error) {
	if !i.Up() {
		return exitFailure, fmt.Errorf("%s does not run", i.Name)
	}
	if err := hasLog(i); err != nil {
		return exitFailure, err
	}
	if proxy {
		caught := signals.Catch(false)
		defer signal.Stop(caught)
		go a.proxySignals(i, caught)
	}
	if input {
		conn, err := i.AskInput()
		if err == nil {
			defer conn.Close()
			go passInput(conn, a.stdin)
		} else if !errors.Is(err, instance.ErrNoInput) {
			return exitFailure, err
		}
	}
	if err := i.Note(instance.EventAttach, nil); err != nil {
		return exitFailure, err
	}
	err := a.logs(i, logsFlags{follow: true, tail: "all", since: time.Now().Format(time.RFC3339Nano)})
	if err != nil {
		return exitFailure, err
	}
	return a.statusOf(i)
}

// statusOf returns the exit status of i, which has ended.
func (a *app) statusOf(i *instance.Instance) (int, error) {
	now, err := i.Look()
	if err != nil {
		return exitFailure, err
	}
	if now != nil {
		return now.State.ExitCode, nil
	}
	code, err := i.LastStatus()
	if err != nil {
		return exitFailure, err
	}
	return code, nil
}

// passInput copies from to conn until either ends.
func passInput(conn *net.UnixConn, from io.Reader) {
	_, _ = io.Copy(conn, from) // the end of the instance is seen elsewhere
	_ = conn.CloseWrite()
}

// proxySignals passes signals to the program of i.
func (a *app) proxySignals(i *instance.Instance, caught <-chan os.Signal) {
	for sig := range caught {
		n := sig.(syscall.Signal)
		if slices.Contains(signals.Own, n) || n == syscall.SIGWINCH {
			continue
		}
		err := i.Ask(instance.Request{Action: instance.ActionSignal, Signal: signals.Name(n)})
		if err != nil && !errors.Is(err, instance.ErrGone) {
			a.complain(err, 0)
		}
	}
}
