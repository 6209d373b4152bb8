package main

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kiln/image/channel"
	"kiln/run/control"
	"kiln/run/output"
)

var topCommand = command{
	name:  "top",
	usage: "NAME",
	short: "list the processes of a guest that runs",
	long: `
Lists the processes of the guest NAME, by number: their parents, users, threads,
resident memory, time that they took of the processor, age and arguments. The
guest needs no program for that.`,
	flags: func(*pflag.FlagSet) action {
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) != 1 {
				return 0, usageError{"a guest is needed", "kiln top NAME"}
			}
			var all []channel.Process
			if err := a.look(args[0], channel.ShowProcesses, &all); err != nil {
				return a.copied(err)
			}
			return 0, a.printProcesses(all)
		}
	},
}

// look asks a guest for something, which it reads into what v points to.
func (a *app) look(guest, what string, v any) error {
	var out bytes.Buffer
	if err := a.session(guest, channel.Opening{Show: what}, control.Stdio{Out: &out, Err: a.stderr}); err != nil {
		return err
	}
	return channel.UnmarshalShown(out.Bytes(), v)
}

// printProcesses prints a table of processes.
func (a *app) printProcesses(all []channel.Process) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PID\tPPID\tUID\tTHREADS\tMEMORY\tCPU\tAGE\tCOMMAND")
	for _, p := range all {
		age := (time.Duration(p.Age) * time.Millisecond).Round(time.Second)
		cpu := (time.Duration(p.CPU) * time.Millisecond).Round(10 * time.Millisecond)
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%s\t%v\t%v\t%s\n",
			p.ID, p.Parent, p.UID, p.Threads, bytesText(p.Memory), cpu, age, output.Printable(strings.Join(p.Command, " ")))
	}
	return w.Flush()
}

// bytesText returns a number of bytes for people.
func bytesText(n uint64) string {
	const units = "KMGT"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1024, 0
	for v >= 1000 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.3g %ciB", v, units[unit])
}
