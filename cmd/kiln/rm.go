package main

import (
	"errors"

	"github.com/spf13/pflag"

	"kiln/instance"
)

var rmCommand = command{
	name:  "rm",
	usage: "[-f] INSTANCE…",
	short: "remove instances",
	long: `
Removes an instance that has ended: its record, its output, and the image that
was baked for it alone. Volumes stay. With -f one that runs is killed before, and
one that does not exist is no error.`,
	flags: func(fs *pflag.FlagSet) action {
		force := fs.BoolP("force", "f", false, "kill the instance first if it runs")
		return func(a *app, args []string, _ int) (int, error) {
			return a.eachNamed(args, func(name string) error {
				i, err := a.findInstance(name)
				if e, ok := errors.AsType[*instance.Error](err); ok && e.Missing && *force {
					return nil
				}
				if err != nil {
					return err
				}
				return removeInstance(i, *force)
			})
		}
	},
}

// removeInstance removes i. force says to kill it if it runs.
func removeInstance(i *instance.Instance, force bool) error {
	if force {
		if err := i.Kill(); err != nil {
			return err
		}
	}
	if !i.Up() { // it may be about to end
		if err := i.WaitDown(); err != nil {
			return err
		}
	}
	h, err := i.Hold()
	if errors.Is(err, instance.ErrUp) {
		return &instance.Error{Msg: i.Name + " runs", Hint: "kiln stop " + i.Name + " ends it; with -f, kiln rm kills it"}
	}
	if e, ok := errors.AsType[*instance.Error](err); ok && e.Missing && force {
		return nil // it was to go away when it ends
	}
	if err != nil {
		return err
	}
	return h.RemoveHeld()
}
