// Command kernel is the program that metal carries: gVisor's Sentry, which
// runs the image's Linux program, and nothing else. It is linked into the
// upper half and baked into an image, see docs/architecture.md.
package main

import (
	"kiln/image/channel"
	"kiln/kernel/config"
	"kiln/kernel/machine"
	"kiln/kernel/machine/netpoll"
	"kiln/kernel/notice"
	"kiln/kernel/sentry"
	"kiln/kernel/uplink"
	"kiln/kernel/virtio"
)

// exitBroken is the exit status when the kernel itself could not do its work,
// as docker's.
const exitBroken = 125

func main() {
	devices, broken := virtio.Discover()
	link, err := uplink.Open(devices)
	if err != nil {
		notice.Printf("the channel to the host: %v", err)
	}
	if link != nil {
		notice.To(link)
		if err := link.Report(channel.ReadyReport()); err != nil {
			notice.Printf("%v", err)
		}
	}
	exit, err := run(sentry.Config{Devices: devices, Broken: broken, Link: link})
	if err != nil {
		notice.Printf("%v", err)
		exit.Code = exitBroken
	}
	if exit.Reason != "" {
		notice.Printf("%s", exit.Reason)
	}
	if link != nil {
		if err := link.Exit(exit.Code); err != nil {
			notice.Printf("%v", err)
		}
	}
	machine.PowerOff(exit.Code)
}

// run boots the Sentry on the machine that c has, and runs the program to its
// end.
func run(c sentry.Config) (sentry.Exit, error) {
	if err := config.Load(&c); err != nil {
		return sentry.Exit{}, err
	}
	c.Poll = netpoll.Poll
	var err error
	if c.RootFS, err = machine.RootFS(); err != nil {
		return sentry.Exit{}, err
	}
	s, err := sentry.Boot(c)
	if err != nil {
		return sentry.Exit{}, err
	}
	return s.Run()
}
