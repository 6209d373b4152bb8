package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

var portCommand = command{
	name:  "port",
	usage: "INSTANCE [PORT[/tcp|/udp]]",
	short: "list the ports that an instance publishes",
	long:  "Lists where the ports of INSTANCE's program are published, or where its PORT is.",
	flags: func(*pflag.FlagSet) action {
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) < 1 || len(args) > 2 {
				return 0, usageError{fmt.Sprintf("%d arguments are given, want 1 or 2", len(args)), "kiln port INSTANCE [PORT]"}
			}
			i, err := a.findInstance(args[0])
			if err != nil {
				return 0, err
			}
			if len(args) == 1 {
				for _, p := range i.State.Ports {
					fmt.Fprintf(a.stdout, "%d/%s -> %s:%d\n", p.GuestPort, p.Proto, p.HostIP, p.HostPort)
				}
				return 0, nil
			}
			want := args[1]
			if !strings.Contains(want, "/") {
				want += "/tcp"
			}
			found := false
			for _, p := range i.State.Ports {
				if fmt.Sprintf("%d/%s", p.GuestPort, p.Proto) == want {
					found = true
					fmt.Fprintf(a.stdout, "%s:%d\n", p.HostIP, p.HostPort)
				}
			}
			if !found {
				return exitFailure, fmt.Errorf("%s publishes no port %s", i.Name, want)
			}
			return 0, nil
		}
	},
}
