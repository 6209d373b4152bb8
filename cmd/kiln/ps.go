package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"kiln/instance"
)

var psCommand = command{
	name:  "ps",
	usage: "[-a] [-q | --json] [--filter KEY=VALUE]…",
	short: "list the instances that run",
	long: `
Lists the instances of this user that run, the youngest first; with -a also those
that have ended and were not removed. Whether one runs is asked of the kernel, not
read from a file.

Filters of the same KEY are alternatives, those of several must all hold:

  id=PREFIX  name=PART  label=KEY or label=KEY=VALUE  ancestor=IMAGE
  status=running|restarting|exited  exited=STATUS`,
	flags: func(fs *pflag.FlagSet) action {
		var p psFlags
		fs.BoolVarP(&p.all, "all", "a", false, "list also those that have ended")
		fs.BoolVarP(&p.quiet, "quiet", "q", false, "print only identifiers")
		fs.BoolVar(&p.asJSON, "json", false, "print JSON")
		fs.StringArrayVarP(&p.filters, "filter", "f", nil, "list only those that fit, `KEY=VALUE`")
		fs.BoolVar(&p.whole, "no-trunc", false, "do not shorten commands")
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) > 0 {
				return 0, usageError{"kiln ps takes no arguments", "kiln ps --filter name=" + args[0]}
			}
			return a.ps(p)
		}
	},
}

type psFlags struct {
	all, quiet, asJSON, whole bool
	filters                   []string
}

func (a *app) ps(p psFlags) (int, error) {
	fits, all, err := parseFilters(p.filters)
	if err != nil {
		return 0, err
	}
	store, err := instance.Open(a.getenv)
	if err != nil {
		return exitFailure, err
	}
	list, listErr := store.List()
	list = slices.DeleteFunc(list, func(i *instance.Instance) bool {
		return !p.all && !all && !i.Up() || !fits(i)
	})
	switch {
	case p.quiet:
		for _, i := range list {
			fmt.Fprintln(a.stdout, i.ID)
		}
	case p.asJSON:
		err = encodeJSON(a.stdout, append([]*instance.Instance{}, list...))
	default:
		err = printInstances(a.stdout, list, time.Now(), p.whole)
	}
	if err == nil {
		err = listErr
	}
	return exitCodeOf(err), err
}

func exitCodeOf(err error) int {
	if err != nil {
		return exitFailure
	}
	return 0
}

// encodeJSON prints v for programs.
func encodeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// shownCommand is how much of a command is shown, in characters.
const shownCommand = 20

// printInstances prints list as a table. now is the time.
func printInstances(out io.Writer, list []*instance.Instance, now time.Time, whole bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "INSTANCE ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES")
	for _, i := range list {
		command := []rune(printableWords(i.Program))
		if len(command) > shownCommand && !whole {
			command = append(command[:shownCommand-1], '…')
		}
		fmt.Fprintf(w, "%s\t%s\t%q\t%s ago\t%s\t%s\t%s\n", i.ID, printableWord(i.Image), string(command),
			units.HumanDuration(now.Sub(i.Created)), statusWords(i.State, now), portWords(i.State.Ports), i.Name)
	}
	return w.Flush()
}

// statusWords returns a status as people read it.
func statusWords(s instance.State, now time.Time) string {
	since := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) }
	switch s.Status {
	case instance.Running:
		return "Up " + since(s.Started)
	case instance.Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, since(s.Finished))
	}
	return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, since(s.Finished))
}

// portWords returns ports as people read them.
func portWords(ports []instance.Port) string {
	var all []string
	for _, p := range ports {
		all = append(all, fmt.Sprintf("%s:%d->%d/%s", p.HostIP, p.HostPort, p.GuestPort, p.Proto))
	}
	return strings.Join(all, ", ")
}

// filters are the keys of --filter, and whether an instance fits a value.
var filters = map[string]func(i *instance.Instance, value string) bool{
	"id":       func(i *instance.Instance, v string) bool { return strings.HasPrefix(i.ID, v) },
	"name":     func(i *instance.Instance, v string) bool { return strings.Contains(i.Name, v) },
	"ancestor": func(i *instance.Instance, v string) bool { return i.Image == v },
	"status":   func(i *instance.Instance, v string) bool { return string(i.State.Status) == v },
	"exited": func(i *instance.Instance, v string) bool {
		code, err := strconv.Atoi(v)
		return err == nil && !i.Up() && i.State.ExitCode == code
	},
	"label": func(i *instance.Instance, v string) bool {
		key, value, given := strings.Cut(v, "=")
		has, ok := i.Labels[key]
		return ok && (!given || has == value)
	},
}

// parseFilters returns what the values of --filter leave in a list. all says that
// they are about what has ended, too.
func parseFilters(values []string) (fits func(*instance.Instance) bool, all bool, err error) {
	byKey := make(map[string][]string)
	for _, f := range values {
		key, value, ok := strings.Cut(f, "=")
		if filters[key] == nil || !ok {
			return nil, false, usageError{fmt.Sprintf("--filter %s: no such filter", f), "there are ancestor, exited, id, label, name and status: --filter name=web"}
		}
		if key == "status" && !slices.Contains([]string{"running", "restarting", "exited"}, value) {
			return nil, false, usageError{fmt.Sprintf("--filter %s: no such status", f), "there are running, restarting and exited"}
		}
		if _, err := strconv.Atoi(value); key == "exited" && err != nil {
			return nil, false, usageError{fmt.Sprintf("--filter %s: %q is no exit status", f, value), ""}
		}
		byKey[key] = append(byKey[key], value)
		all = all || key == "status" || key == "exited"
	}
	return func(i *instance.Instance) bool {
		for key, values := range byKey {
			if !slices.ContainsFunc(values, func(v string) bool { return filters[key](i, v) }) {
				return false
			}
		}
		return true
	}, all, nil
}
