package image

import "strings"

// DefaultConfig is the bake configuration if none is named.
const DefaultConfig = "hw_generic"

// A Config is a bake configuration: as in Rumprun, a set of kernel components
// under a name. For each, build.sh builds a kernel program of its own, with
// the build tags that leave out what the others have.
type Config struct {
	Name       string
	Short      string   // one line
	Components []string // what the kernel has, in words
	PCI        bool     // it finds devices on PCI
	MMIO       bool     // it finds virtio-mmio devices
	Folders    bool     // it mounts folders of the host
}

// What all configurations have, in words.
const (
	network = "network: TCP/IP versions 4 and 6, DHCP, local sockets, netlink"
	memory  = "file systems in memory: EROFS, tmpfs, overlay, proc, sys, devpts"
)

// configs are in the order in which they are listed.
var configs = []Config{
	{
		Name:  DefaultConfig,
		Short: "virtual machines in general: every component",
		Components: []string{
			"devices: virtio 1.2 over PCI and MMIO: network, block, entropy, 9P",
			network, memory,
			"file systems on disks: ext2, ext3, ext4, ISO 9660; folders of the host by 9P",
		},
		PCI: true, MMIO: true, Folders: true,
	},
	{
		Name:  "hw_virtio",
		Short: "virtual machines with virtio on PCI, such as pc and q35",
		Components: []string{
			"devices: virtio 1.2 over PCI: network, block, entropy",
			network, memory,
			"file systems on disks: ext2, ext3, ext4, ISO 9660",
		},
		PCI: true,
	},
	{
		Name:  "microvm",
		Short: "microvm, a virtual machine without PCI",
		Components: []string{
			"devices: virtio 1.2 over MMIO: network, block, entropy",
			network, memory,
			"file systems on disks: ext2, ext3, ext4",
		},
		MMIO: true,
	},
}

// Configs returns all configurations.
func Configs() []Config { return append([]Config(nil), configs...) }

// FindConfig returns the configuration called name. As in Rumprun, "-" in it
// may stand for "_".
func FindConfig(name string) (Config, bool) {
	want := strings.ReplaceAll(name, "-", "_")
	for _, c := range configs {
		if c.Name == want {
			return c, true
		}
	}
	return Config{}, false
}

// ConfigNames returns the names of all configurations.
func ConfigNames() []string {
	var names []string
	for _, c := range configs {
		names = append(names, c.Name)
	}
	return names
}
