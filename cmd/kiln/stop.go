package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"kiln/instance"
)

var stopCommand = command{
	name:  "stop",
	usage: "[-t SECONDS] INSTANCE…",
	short: "ask an instance's program to end",
	long: `
Asks the program to end, by the image's stop signal, and waits until the guest is
gone. Once SECONDS have passed, the machine is killed. No restart follows. An
INSTANCE is named by its name, its identifier, the beginning of that, or the
number of its process.`,
	flags: func(fs *pflag.FlagSet) action {
		timeout := stopTimeoutFlag(fs)
		return func(a *app, args []string, _ int) (int, error) {
			return a.each(args, func(i *instance.Instance) error { return stopInstance(i, timeout.value) })
		}
	},
}

// seconds is a flag that may be absent.
type seconds struct{ value *time.Duration }

// stopTimeoutFlag adds the flag -t.
func stopTimeoutFlag(fs *pflag.FlagSet) *seconds {
	var s seconds
	fs.VarP(&s, "time", "t", "from the request to end until the machine is killed; -1 never (default: the run's --stop-timeout)")
	return &s
}

func (s *seconds) String() string { return "" }

func (s *seconds) Type() string { return "SECONDS" }

func (s *seconds) Set(text string) error {
	var n float64
	if _, err := fmt.Sscanf(text+"\n", "%g\n", &n); err != nil || n > 1e9 || n != n {
		return fmt.Errorf("%q is no number of seconds", text)
	}
	d := time.Duration(n * float64(time.Second))
	s.value = &d
	return nil
}

// stopInstance stops i, which may have ended already.
func stopInstance(i *instance.Instance, timeout *time.Duration) error {
	stopped, err := i.Stop(timeout)
	if err != nil || !stopped {
		return err
	}
	return i.Note(instance.EventStop, nil)
}
