package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kiln/instance"
)

var eventsCommand = command{
	name:  "events",
	usage: "[--since TIME] [--until TIME] [--json] [--filter KEY=VALUE]…",
	short: "tell what happens to instances",
	long: `
Prints what happens to this user's instances, as it happens: create, start, kill,
die with the exit status, stop, restart, rename, destroy. With --since it begins
with what has happened since then, as far as that is kept (about the last 2 MB);
with --until it ends there. TIMEs are as for kiln logs.

Filters of the same KEY are alternatives, those of several must all hold:

  event=ACTION  instance=NAME or an identifier  label=KEY or label=KEY=VALUE`,
	flags: func(fs *pflag.FlagSet) action {
		var e eventsFlags
		fs.StringVar(&e.since, "since", "", "begin with what has happened since `TIME`")
		fs.StringVar(&e.until, "until", "", "end at `TIME`")
		fs.BoolVar(&e.asJSON, "json", false, "print JSON, an object a line")
		fs.StringArrayVarP(&e.filters, "filter", "f", nil, "tell only of those that fit, `KEY=VALUE`")
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) > 0 {
				return 0, usageError{"kiln events takes no arguments", "kiln events --filter instance=" + args[0]}
			}
			err := a.events(e)
			return exitCodeOf(err), err
		}
	},
}

type eventsFlags struct {
	since, until string
	asJSON       bool
	filters      []string
}

func (a *app) events(e eventsFlags) error {
	now := time.Now()
	since, err := parseTime("--since", e.since, now)
	if err != nil {
		return err
	}
	if e.since == "" {
		since = now
	}
	until, err := parseTime("--until", e.until, now)
	if err != nil {
		return err
	}
	fits, err := parseEventFilters(e.filters)
	if err != nil {
		return err
	}
	store, err := instance.Open(a.getenv)
	if err != nil {
		return err
	}
	err = store.Events(func(event instance.Event) error {
		if !until.IsZero() && event.Time.After(until) {
			return io.EOF
		}
		if event.Time.Before(since) || !fits(event) {
			return nil
		}
		return printEvent(a.stdout, event, e.asJSON)
	}, func() bool {
		if !until.IsZero() && !time.Now().Before(until) {
			return false
		}
		time.Sleep(50 * time.Millisecond)
		return true
	})
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) {
		return nil
	}
	return err
}

// printEvent prints e in a line.
func printEvent(w io.Writer, e instance.Event, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(e)
	}
	words := []string{"image=" + printableWord(e.Image), "name=" + e.Name}
	for _, key := range slices.Sorted(maps.Keys(e.Attributes)) {
		words = append(words, printableWord(key+"="+e.Attributes[key]))
	}
	_, err := fmt.Fprintf(w, "%s instance %s %s (%s)\n", e.Time.Format(time.RFC3339Nano), e.Action, e.ID, strings.Join(words, ", "))
	return err
}

// eventFilters are the keys of kiln events --filter, and whether an event fits a
// value.
var eventFilters = map[string]func(e instance.Event, value string) bool{
	"event":    func(e instance.Event, v string) bool { return e.Action == v },
	"instance": func(e instance.Event, v string) bool { return e.Name == v || v != "" && strings.HasPrefix(e.ID, v) },
	"label": func(e instance.Event, v string) bool {
		key, value, given := strings.Cut(v, "=")
		has, ok := e.Attributes[key]
		return ok && (!given || has == value)
	},
}

// parseEventFilters returns what the values of --filter leave.
func parseEventFilters(values []string) (fits func(instance.Event) bool, err error) {
	byKey := make(map[string][]string)
	for _, f := range values {
		key, value, ok := strings.Cut(f, "=")
		if eventFilters[key] == nil || !ok {
			return nil, usageError{fmt.Sprintf("--filter %s: no such filter", f), "there are event, instance and label: --filter event=die"}
		}
		byKey[key] = append(byKey[key], value)
	}
	return func(e instance.Event) bool {
		for key, values := range byKey {
			if !slices.ContainsFunc(values, func(v string) bool { return eventFilters[key](e, v) }) {
				return false
			}
		}
		return true
	}, nil
}
