package sentry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/inet"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"

	"kiln/image/channel"
	"kiln/kernel/uplink"
)

// show writes the JSON of what a session wants to see.
func (s *Sentry) show(session *uplink.Session, what string) error {
	var v any
	switch what {
	case channel.ShowProcesses:
		all := s.listProcesses()
		v = &all
	case channel.ShowStatistics:
		st, err := s.statistics()
		if err != nil {
			return err
		}
		v = &st
	default:
		return fmt.Errorf("this kernel does not know %q: bake the image again with this kiln", what)
	}
	b, err := channel.MarshalShown(v)
	if err != nil {
		return err
	}
	_, err = session.Stdout.Write(b)
	return lostIsFine(err)
}

// listProcesses returns what runs, by number.
func (s *Sentry) listProcesses() []channel.Process {
	ns := s.kernel.RootPIDNamespace()
	all := []channel.Process{}
	for _, tg := range ns.ThreadGroups() {
		leader := tg.Leader()
		if tg == s.idle || leader == nil {
			continue // it is there for others' sake, or has just ended
		}
		p := channel.Process{
			ID: int(ns.IDOfThreadGroup(tg)), UID: uint32(leader.Credentials().RealKUID), Threads: tg.Count(),
			Age: int(time.Duration(s.kernel.RealtimeClock().Now().Sub(leader.StartTime())).Milliseconds()),
		}
		if parent := leader.Parent(); parent != nil {
			p.Parent = int(ns.IDOfThreadGroup(parent.ThreadGroup()))
		}
		use := tg.CPUStats()
		p.CPU = int((use.UserTime + use.SysTime).Milliseconds())
		p.Memory, p.Command = s.imageOf(leader, p.ID)
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b channel.Process) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// imageOf returns how much memory a process has, and its arguments.
func (s *Sentry) imageOf(leader *kernel.Task, id int) (resident uint64, args []string) {
	var m *mm.MemoryManager
	leader.WithMuLocked(func(t *kernel.Task) { m = t.MemoryManager() })
	if m != nil {
		resident = m.ResidentSetSize()
		// A program that has unmounted /proc has only its name.
		if b, err := s.mounts.readFile(fmt.Sprintf("/proc/%d/cmdline", id)); err == nil && len(b) > 0 {
			return resident, strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		}
	}
	return resident, []string{"[" + leader.Name() + "]"}
}

// statistics returns what the guest uses.
func (s *Sentry) statistics() (channel.Statistics, error) {
	st := channel.Statistics{Processes: s.kernel.RootPIDNamespace().NumTasks(), Network: []channel.Interface{}}
	if s.idle != nil {
		st.Processes--
	}
	var err error
	if st.Memory, st.Total, err = s.memory.Use(); err != nil {
		return st, err
	}
	stack := s.kernel.RootNetworkNamespace().Stack()
	if stack == nil {
		return st, nil
	}
	for _, i := range stack.Interfaces() {
		if i.Flags&loopbackFlag != 0 {
			continue
		}
		var dev inet.StatDev
		if err := stack.Statistics(&dev, i.Name); err != nil {
			return st, fmt.Errorf("network interface %s: %w", i.Name, err)
		}
		st.Network = append(st.Network, channel.Interface{Name: i.Name, Received: dev[0], Sent: dev[8]})
	}
	slices.SortFunc(st.Network, func(a, b channel.Interface) int { return cmp.Compare(a.Name, b.Name) })
	return st, nil
}

// loopbackFlag is IFF_LOOPBACK, netdevice(7).
const loopbackFlag = 0x8
