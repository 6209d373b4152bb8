package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kiln/instance"
)

var logsCommand = command{
	name:  "logs",
	usage: "[-f] [--since TIME] [--until TIME] [--tail N] [-t] INSTANCE",
	short: "print an instance's output",
	long: `
Prints what the program has written, standard output and error apart, and what
Kiln had to say about it, which is on standard error. Instances in the background
and those with a name keep it, at the most as much as --log-opt of kiln run says.

A TIME is RFC 3339, such as 2026-11-28T19:00:00Z, seconds since 1970, or how long
ago: 10m.`,
	flags: func(fs *pflag.FlagSet) action {
		var l logsFlags
		fs.BoolVarP(&l.follow, "follow", "f", false, "go on with what comes until the instance ends")
		fs.StringVar(&l.since, "since", "", "only what was written since `TIME`")
		fs.StringVar(&l.until, "until", "", "only what was written before `TIME`")
		fs.StringVarP(&l.tail, "tail", "n", "all", "begin with the last `N` lines")
		fs.BoolVarP(&l.stamps, "timestamps", "t", false, "print the time before each line")
		return func(a *app, args []string, _ int) (int, error) {
			i, err := a.oneInstance(args)
			if err != nil {
				return 0, err
			}
			err = a.logs(i, l)
			return exitCodeOf(err), err
		}
	},
}

type logsFlags struct {
	follow, stamps     bool
	since, until, tail string
}

// logs prints the log of i.
func (a *app) logs(i *instance.Instance, l logsFlags) error {
	since, err := parseTime("--since", l.since, time.Now())
	if err != nil {
		return err
	}
	until, err := parseTime("--until", l.until, time.Now())
	if err != nil {
		return err
	}
	lines, err := parseTail(l.tail)
	if err != nil {
		return err
	}
	if err := hasLog(i); err != nil {
		return err
	}
	p := logPrinter{streams: map[string]io.Writer{"stdout": a.stdout, "stderr": a.stderr}, stamps: l.stamps, within: make(map[string]bool)}
	skip := 0
	fits := func(r instance.Record) bool {
		return !r.Time.Before(since) && (until.IsZero() || r.Time.Before(until))
	}
	if lines >= 0 {
		if skip, err = countLines(i, fits); err != nil {
			return err
		}
		skip = max(0, skip-lines)
	}
	err = i.ReadLog(func(r instance.Record) error {
		switch {
		case !until.IsZero() && !r.Time.Before(until):
			return io.EOF
		case !fits(r):
			return nil
		case skip > 0:
			if !r.Partial {
				skip--
			}
			return nil
		}
		return p.print(r)
	}, whileUp(i, l.follow), func() {
		a.note([]string{"output is missing here: it came faster than it was read"})
	})
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) {
		return nil
	}
	return err
}

// hasLog returns an error unless the output of i is kept.
func hasLog(i *instance.Instance) error {
	if i.Remove && !i.Detached {
		return fmt.Errorf("%s keeps no output: it runs in the foreground, and goes away when it ends", i.Name)
	}
	return nil
}

// whileUp returns what waits a moment and reports whether i, if it is followed,
// is still looked after.
func whileUp(i *instance.Instance, follow bool) func() bool {
	begun := false
	return func() bool {
		if !follow {
			return false
		}
		if begun {
			time.Sleep(20 * time.Millisecond)
		}
		begun = true
		now, err := i.Look()
		return err == nil && now != nil && now.Up()
	}
}

// countLines returns how many lines of i's log fit, as it is now.
func countLines(i *instance.Instance, fits func(instance.Record) bool) (int, error) {
	n := 0
	err := i.ReadLog(func(r instance.Record) error {
		if !r.Partial && fits(r) {
			n++
		}
		return nil
	}, func() bool { return false }, nil)
	return n, err
}

// logPrinter prints records.
type logPrinter struct {
	streams map[string]io.Writer
	stamps  bool
	within  map[string]bool // the stream is in the middle of a line
}

func (p *logPrinter) print(r instance.Record) error {
	w := p.streams[r.Stream]
	if w == nil {
		return nil
	}
	var b []byte
	if p.stamps && !p.within[r.Stream] {
		b = append(append(b, r.Stamp...), ' ')
	}
	p.within[r.Stream] = r.Partial
	b = append(b, r.Text...)
	if !r.Partial {
		b = append(b, '\n')
	}
	_, err := w.Write(b)
	return err
}

// parseTime reads a point in time, the value of flag. An empty one is the zero
// time.
func parseTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1e11 {
		return time.Unix(0, int64(n*1e9)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Sprintf("%s %s: no time", flag, s), "write 10m, 2026-11-28T19:00:00Z or seconds since 1970"}
}

// parseTail reads a number of lines, -1 for all.
func parseTail(s string) (int, error) {
	if s == "all" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, usageError{fmt.Sprintf("--tail %s: neither a number nor all", s), ""}
	}
	return int(n), nil
}
