package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"kiln/instance"
)

var waitCommand = command{
	name:  "wait",
	usage: "INSTANCE…",
	short: "wait until an instance's guest has ended, and print its exit status",
	long: `
Waits for each INSTANCE until its guest has ended, also if another one is to
follow, and prints the exit status.`,
	flags: func(*pflag.FlagSet) action {
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) == 0 {
				return 0, usageError{"no instance is named", "kiln ps lists them"}
			}
			code := 0
			for _, name := range args {
				status, err := a.waitFor(name)
				if err == nil {
					_, err = fmt.Fprintln(a.stdout, status)
				}
				if err != nil {
					code = a.complain(err, exitFailure)
				}
			}
			return code, nil
		}
	},
}

// waitFor waits until the guest of the instance that goes by name has ended, and
// returns its exit status.
func (a *app) waitFor(name string) (int, error) {
	i, err := a.findInstance(name)
	if err != nil {
		return 0, err
	}
	for now := i; ; time.Sleep(20 * time.Millisecond) {
		// If it has gone away, or another guest has followed unseen, the events
		// have the status.
		if now == nil || now.State.Runs > i.State.Runs {
			return i.LastStatus()
		}
		if now.State.Status != instance.Running {
			return now.State.ExitCode, nil
		}
		if now, err = i.Look(); err != nil {
			return 0, err
		}
	}
}
