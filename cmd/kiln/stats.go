package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kiln/image/channel"
	"kiln/run/control"
	"kiln/run/qemu"
)

const statsUsage = "[--no-stream] [--json] NAME…"

var statsCommand = command{
	name:  "stats",
	usage: statsUsage,
	short: "show what guests that run use",
	long: `
Shows, once a second until it is interrupted, what the guests NAME use: of the
processors of this machine, the whole virtual machine (100 % is one of them); of
their memory, what they have in use and cannot have for something else; what went
over their network interfaces and to and from this machine's disks; and how many
processes and threads they have.`,
	flags: func(fs *pflag.FlagSet) action {
		once := fs.Bool("no-stream", false, "show it once")
		asJSON := fs.Bool("json", false, "print an object of JSON for each guest, in a line")
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) == 0 {
				return 0, usageError{"a guest is needed", "kiln stats " + statsUsage}
			}
			return a.copied(a.stats(args, *once, *asJSON))
		}
	},
}

// guestUse is what a guest uses.
type guestUse struct {
	Name      string  `json:"name"`
	CPU       float64 `json:"cpu"` // percent of one processor
	Memory    uint64  `json:"memory"`
	Total     uint64  `json:"total"`
	Received  uint64  `json:"received"` // bytes, over all interfaces
	Sent      uint64  `json:"sent"`
	Read      uint64  `json:"read"` // bytes from and to this machine's disks
	Written   uint64  `json:"written"`
	Processes int     `json:"processes"`
}

// statsInterval is how often statistics are shown.
const statsInterval = time.Second

// stats shows what guests use until it is interrupted.
func (a *app) stats(guests []string, once, asJSON bool) error {
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(interrupt)
	before, _, err := a.sample(guests)
	if err != nil {
		return err
	}
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		select {
		case <-interrupt:
			return nil
		case <-tick.C:
		}
		after, all, err := a.sample(guests)
		if err != nil {
			return err
		}
		for i := range all {
			all[i].CPU = 100 * float64(after[i].CPU-before[i].CPU) / float64(after[i].at.Sub(before[i].at))
		}
		before = after
		if err := a.printUse(all, asJSON); err != nil || once {
			return err
		}
	}
}

// taken is what QEMU's process had used at a time.
type taken struct {
	qemu.Use
	at time.Time
}

// sample returns what guests use now, but for the share of the processors, and
// what that is worked out from.
func (a *app) sample(guests []string) (host []taken, all []guestUse, err error) {
	for _, guest := range guests {
		path, err := a.findGuest(guest)
		if err != nil {
			return nil, nil, err
		}
		pid, err := control.Server(path)
		if errors.Is(err, control.ErrNotServed) {
			return nil, nil, usageError{fmt.Sprintf("there is no running guest %q", guest), ""}
		}
		if err != nil {
			return nil, nil, err
		}
		var st channel.Statistics
		if err := a.look(guest, channel.ShowStatistics, &st); err != nil {
			return nil, nil, err
		}
		use, err := qemu.UseOf(pid)
		if err != nil {
			return nil, nil, err
		}
		g := guestUse{Name: guest, Memory: st.Memory, Total: st.Total, Processes: st.Processes, Read: use.Read, Written: use.Written}
		for _, i := range st.Network {
			g.Received += i.Received
			g.Sent += i.Sent
		}
		host, all = append(host, taken{use, time.Now()}), append(all, g)
	}
	return host, all, nil
}

// printUse prints what guests use.
func (a *app) printUse(all []guestUse, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(a.stdout)
		for _, g := range all {
			if err := e.Encode(g); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCPU %\tMEMORY / TOTAL\tMEMORY %\tNET IN / OUT\tDISK READ / WRITTEN\tPIDS")
	for _, g := range all {
		fmt.Fprintf(w, "%s\t%.2f%%\t%s / %s\t%.2f%%\t%s / %s\t%s / %s\t%d\n", g.Name, g.CPU,
			bytesText(g.Memory), bytesText(g.Total), 100*float64(g.Memory)/float64(max(g.Total, 1)),
			bytesText(g.Received), bytesText(g.Sent), bytesText(g.Read), bytesText(g.Written), g.Processes)
	}
	return w.Flush()
}
