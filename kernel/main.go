// Command kernel is the program that metal carries: gVisor's Sentry, which
// runs the image's Linux program, and nothing else. It is linked into the
// upper half and baked into an image, see docs/architecture.md.
package main

import (
	"io"

	"kiln/kernel/config"
	"kiln/kernel/machine"
	"kiln/kernel/machine/netpoll"
	"kiln/kernel/notice"
	"kiln/kernel/sentry"
)

// exitBroken is the exit status when the kernel itself could not do its work,
// as docker's.
const exitBroken = 125

func main() {
	channel := control()
	if channel != nil {
		notice.To(channel)
		notice.Ready()
	}
	exit, err := run(channel)
	if err != nil {
		notice.Printf("%v", err)
		exit.Code = exitBroken
	}
	if exit.Reason != "" {
		notice.Printf("%s", exit.Reason)
	}
	machine.PowerOff(exit.Code)
}

// run boots the Sentry and runs the program to its end. channel is the control
// channel, or nil.
func run(channel io.ReadWriter) (sentry.Exit, error) {
	c, err := config.Load()
	if err != nil {
		return sentry.Exit{}, err
	}
	c.Poll = netpoll.Poll
	if c.RootFS, err = machine.RootFS(); err != nil {
		return sentry.Exit{}, err
	}
	s, err := sentry.Boot(c)
	if err != nil {
		return sentry.Exit{}, err
	}
	return s.Run(channel)
}

// control opens the channel to `kiln run`. A machine without one is no error.
func control() io.ReadWriter {
	f, err := machine.Control()
	if err != nil {
		notice.Printf("control channel: %v", err)
	}
	if f == nil {
		return nil
	}
	return f
}
