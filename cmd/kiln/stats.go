package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kiln/image/channel"
	"kiln/instance"
	"kiln/run/control"
	"kiln/run/qemu"
)

const statsUsage = "[--no-stream] [--json] [NAME…]"

var statsCommand = command{
	name:  "stats",
	usage: statsUsage,
	short: "show what guests that run use",
	long: `
Shows, once a second until it is interrupted, what the guests NAME use, without a
NAME all instances that run, as they come and go: of the processors of this machine, the whole virtual machine (100 % is one of them); of
their memory, what they have in use and cannot have for something else; what went
over their network interfaces and to and from this machine's disks; and how many
processes and threads they have.`,
	flags: func(fs *pflag.FlagSet) action {
		once := fs.Bool("no-stream", false, "show it once")
		asJSON := fs.Bool("json", false, "print an object of JSON for each guest, in a line")
		return func(a *app, args []string, _ int) (int, error) {
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

// stats shows what guests use until it is interrupted: those named, or if none is,
// all that run.
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
		for i, g := range all {
			// One that is new has used nothing yet.
			if now, then := after[g.Name], before[g.Name]; !then.at.IsZero() {
				all[i].CPU = 100 * float64(now.CPU-then.CPU) / float64(now.at.Sub(then.at))
			}
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

// sample returns what guests use now, but for the share of the processors, and by
// their names what that is worked out from. Without guests it looks at all that run
// and that can be asked.
func (a *app) sample(guests []string) (host map[string]taken, all []guestUse, err error) {
	named := len(guests) > 0
	if !named {
		if guests, err = a.runningInstances(); err != nil {
			return nil, nil, err
		}
	}
	host = make(map[string]taken)
	for _, guest := range guests {
		g, now, err := a.useOf(guest)
		if err != nil && named {
			return nil, nil, err
		}
		if err == nil { // else it has ended since, or begins
			host[guest], all = now, append(all, g)
		}
	}
	return host, all, nil
}

// runningInstances returns the names of the instances that run, sorted.
func (a *app) runningInstances() ([]string, error) {
	store, err := instance.Open(a.getenv)
	if err != nil {
		return nil, err
	}
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range list {
		if i.Up() {
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// useOf returns what one guest uses.
func (a *app) useOf(guest string) (guestUse, taken, error) {
	path, err := a.findGuest(guest)
	if err != nil {
		return guestUse{}, taken{}, err
	}
	pid, err := control.Server(path)
	if errors.Is(err, control.ErrNotServed) {
		return guestUse{}, taken{}, usageError{fmt.Sprintf("there is no running guest %q", guest), ""}
	}
	if err != nil {
		return guestUse{}, taken{}, err
	}
	var st channel.Statistics
	if err := a.look(guest, channel.ShowStatistics, &st); err != nil {
		return guestUse{}, taken{}, err
	}
	use, err := qemu.UseOf(pid)
	if err != nil {
		return guestUse{}, taken{}, err
	}
	g := guestUse{Name: guest, Memory: st.Memory, Total: st.Total, Processes: st.Processes, Read: use.Read, Written: use.Written}
	for _, i := range st.Network {
		g.Received += i.Received
		g.Sent += i.Sent
	}
	return g, taken{use, time.Now()}, nil
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
