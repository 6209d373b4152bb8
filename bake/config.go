package bake

import (
	"slices"
	"strings"
)

// DefaultConfig is the bake configuration if none is named.
const DefaultConfig = "hw_generic"

// A Config is a bake configuration: as in Rumprun, a set of kernel components
// under a name.
type Config struct {
	Name       string
	Short      string   // one line
	Components []string // what the kernel has, in words
}

// configs are in the order in which they are listed.
var configs = []Config{
	{
		Name:  DefaultConfig,
		Short: "virtual machines in general: every component",
		Components: []string{
			"devices: virtio 1.2 over PCI and MMIO: network, block, entropy, console",
			"network: TCP/IP versions 4 and 6, DHCP, local sockets, netlink",
			"file systems: EROFS, tmpfs, overlay, proc, sys, devpts",
		},
	},
}

// Configs returns all configurations.
func Configs() []Config { return slices.Clone(configs) }

// FindConfig returns the configuration called name. As in Rumprun, "-" in it
// may stand for "_".
func FindConfig(name string) (Config, error) {
	want := strings.ReplaceAll(name, "-", "_")
	var names []string
	for _, c := range configs {
		if c.Name == want {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Config{}, inputErrorf(name, "no such configuration; there is %s", strings.Join(names, ", "))
}
