package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"kiln/instance"
)

var startCommand = command{
	name:  "start",
	usage: "INSTANCE…",
	short: "start an instance again that has ended",
	long: `
Starts a guest as the instance's kiln run did, from the same folder, in the
background. One that runs already is left alone.`,
	flags: func(*pflag.FlagSet) action {
		return func(a *app, args []string, _ int) (int, error) {
			return a.each(args, a.startInstance)
		}
	},
}

var restartCommand = command{
	name:  "restart",
	usage: "[-t SECONDS] INSTANCE…",
	short: "end an instance's guest and start another one",
	long: `
Asks the program to end, as kiln stop does, and starts a guest again, as kiln
start does. One that has ended is just started.`,
	flags: func(fs *pflag.FlagSet) action {
		timeout := stopTimeoutFlag(fs)
		return func(a *app, args []string, _ int) (int, error) {
			return a.each(args, func(i *instance.Instance) error { return a.restartInstance(i, timeout.value) })
		}
	},
}

// startInstance starts i in the background, if it does not run.
func (a *app) startInstance(i *instance.Instance) error {
	if !i.Up() { // it may be about to end
		if err := i.WaitDown(); err != nil {
			return err
		}
	}
	h, err := i.Hold()
	if errors.Is(err, instance.ErrUp) {
		return nil
	}
	if err != nil {
		return err
	}
	started, code, err := a.launch(h)
	if started {
		return nil
	}
	if err == nil { // the supervisor has said why
		err = fmt.Errorf("%s: it did not start, status %d", i.Name, code)
	}
	return err
}

// restartInstance restarts i. timeout is as for kiln stop.
func (a *app) restartInstance(i *instance.Instance, timeout *time.Duration) error {
	err := instance.ErrGone
	if i.Up() {
		r := instance.Request{Action: instance.ActionRestart}
		if timeout != nil {
			ms := timeout.Milliseconds()
			r.Timeout = &ms
		}
		err = i.Ask(r)
	}
	if errors.Is(err, instance.ErrGone) {
		return a.startInstance(i)
	}
	if err != nil {
		return err
	}
	for {
		now, err := i.Look()
		if err != nil {
			return err
		}
		if now == nil || !now.Up() {
			return fmt.Errorf("%s did not start again; kiln logs %s tells more", i.Name, i.Name)
		}
		if now.State.Runs > i.State.Runs {
			return i.Note(instance.EventRestart, nil)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
