package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	hostAddr  = "10.0.120.1"
	guestAddr = "10.0.120.101"
)

// A network is a network namespace with one tap, so that nothing outside is
// touched and removing the namespace removes everything.
type network struct {
	ns, tap string
}

// newNetwork needs root and /dev/net/tun.
func newNetwork(ctx context.Context) (*network, error) {
	n := &network{ns: fmt.Sprintf("kiln-bench-%d", os.Getpid()), tap: "tap0"}
	for _, line := range []string{
		"netns add " + n.ns,
		"-n " + n.ns + " link set lo up",
		"-n " + n.ns + " tuntap add " + n.tap + " mode tap",
		"-n " + n.ns + " addr add " + hostAddr + "/24 dev " + n.tap,
		"-n " + n.ns + " link set " + n.tap + " up",
	} {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			n.close()
			return nil, fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return n, nil
}

// command runs argv inside the namespace.
func (n *network) command(ctx context.Context, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.ns}, argv...)...)
}

// output runs a client. A guest that does not answer would hold it for ever.
func (n *network) output(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return n.command(ctx, argv...).Output()
}

// close removes the namespace. It runs also after an interrupt, so it takes
// no context.
func (n *network) close() error {
	if out, err := exec.Command("ip", "netns", "del", n.ns).CombinedOutput(); err != nil {
		return fmt.Errorf("removing network namespace %s: %w: %s", n.ns, err, out)
	}
	return nil
}
