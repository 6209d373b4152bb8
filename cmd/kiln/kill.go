package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kiln/instance"
	"kiln/run/signals"
)

var killCommand = command{
	name:  "kill",
	usage: "[-s SIGNAL] INSTANCE…",
	short: "send an instance's program a signal",
	long: `
Sends the program SIGNAL, a name or a number. KILL, which it is unless you say
otherwise, ends the machine at once, with status 137. No restart follows KILL,
TERM, INT and QUIT.`,
	flags: func(fs *pflag.FlagSet) action {
		name := fs.StringP("signal", "s", "KILL", "the `SIGNAL`: HUP, SIGHUP, 1, RTMIN+3")
		return func(a *app, args []string, _ int) (int, error) {
			sig, err := parseSignal(*name)
			if err != nil {
				return 0, err
			}
			return a.each(args, func(i *instance.Instance) error { return killInstance(i, sig) })
		}
	},
}

// killInstance sends the program of i signal sig.
func killInstance(i *instance.Instance, sig syscall.Signal) error {
	name := signals.Name(sig)
	err := i.Ask(instance.Request{Action: instance.ActionSignal, Signal: name})
	if !i.Up() || errors.Is(err, instance.ErrGone) {
		return fmt.Errorf("%s does not run", i.Name)
	}
	if err == nil && sig == unix.SIGKILL {
		err = i.Kill()
	}
	if err != nil {
		return err
	}
	return i.Note(instance.EventKill, map[string]string{"signal": name})
}

// The real-time signals as the C library counts them, which keeps two for itself.
const (
	firstRealTime = 34
	lastRealTime  = 64
)

// parseSignal reads a signal's name, with or without SIG, or its number.
func parseSignal(s string) (syscall.Signal, error) {
	bad := usageError{fmt.Sprintf("-s %s: no such signal", s), "kill -l lists them"}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > lastRealTime {
			return 0, bad
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	for prefix, base := range map[string]int{"RTMIN": firstRealTime, "RTMAX": lastRealTime} {
		offset, ok := strings.CutPrefix(name, prefix)
		n, err := strconv.Atoi("0" + strings.TrimLeft(offset, "+-"))
		if strings.HasPrefix(offset, "-") {
			n = -n
		}
		if n += base; ok && err == nil && n >= firstRealTime && n <= lastRealTime {
			return syscall.Signal(n), nil
		}
	}
	return 0, bad
}
