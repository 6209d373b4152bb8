package sentry

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// writeHosts sees to it that the machine's own name has an address, as a
// Debian system does (hosts(5)): it writes a file of hosts, or adds a line to
// the image's if that does not know the name.
func writeHosts(image, writes *mounter, name string) error {
	const file = "/etc/hosts"
	hosts, err := image.readFile(file)
	if err != nil {
		return err
	}
	if hosts == nil {
		hosts = []byte("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	} else if knowsHost(string(hosts), name) {
		return nil
	}
	if len(hosts) > 0 && hosts[len(hosts)-1] != '\n' {
		hosts = append(hosts, '\n')
	}
	return writes.writeFile(file, string(hosts)+hostLine(name))
}

// knowsHost reports whether a file of hosts has an address for name.
func knowsHost(hosts, name string) bool {
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 1 && slices.Contains(fields[1:], name) {
			return true
		}
	}
	return false
}

// hostLine is the line for a machine's own name: the name, and if that has a
// domain also the name without it.
func hostLine(name string) string {
	if short, _, ok := strings.Cut(name, "."); ok && short != "" {
		name += " " + short
	}
	return "127.0.1.1\t" + name + "\n"
}

// writeMachineID gives this machine an identity of its own, unless the image
// has one (machine-id(5)): an image is started many times, as many machines.
func writeMachineID(image, writes *mounter) error {
	const file = "/etc/machine-id"
	old, err := image.readFile(file)
	if err != nil {
		return err
	}
	if text := string(bytes.TrimSpace(old)); text != "" && text != "uninitialized" {
		return nil
	}
	id, err := newMachineID()
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return writes.writeFile(file, id+"\n")
}

// newMachineID returns a random UUID, version 4, without its dashes (RFC 9562
// §5.4).
func newMachineID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.EncodeToString(b[:]), nil
}
