package run

import (
	"encoding/json"
	"slices"

	"kiln/image"
	"kiln/run/qemu"
)

// Standalone returns the run configuration, in JSON, for a machine that
// something else than Run starts, such as a CD. Of o it takes what is for the
// guest.
func Standalone(o Options) ([]byte, error) {
	if config, ok := image.FindConfig(o.Manifest.Config); ok && !config.PCI {
		return nil, configError(config, "what boots from a disk or a CD has PCI")
	}
	c := image.RunConfig{
		Args: o.Args, Commands: o.Commands, Env: o.Env, Cwd: o.Cwd, Hostname: o.Hostname, Mounts: o.Mounts,
	}
	var err error
	if c.Network, err = o.Network.standalone(o.Networks); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// standalone returns the configuration of the interfaces that -I and -W name,
// in order. Without any it is defaults.
func (n Networking) standalone(defaults []image.Network) ([]image.Network, error) {
	configs, err := ParseAddresses(n.Addresses)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(defaults)
	for i, s := range n.Interfaces {
		name, _, err := ParseInterface(s)
		if err != nil {
			return nil, err
		}
		// What the machine's network is nobody knows: ask it.
		c := defaultConfig(qemu.NIC{})
		if j := slices.IndexFunc(configs, func(c image.Network) bool { return c.Name == name }); j >= 0 {
			c = complete(configs[j], qemu.NIC{})
			configs = slices.Delete(configs, j, j+1)
		} else if i < len(list) {
			c = list[i]
		}
		c.Name = name
		if i < len(list) {
			list[i] = c
		} else {
			list = append(list, c)
		}
	}
	if len(configs) > 0 {
		return nil, inputError("-W "+configs[0].Name+",…: there is no interface "+configs[0].Name, "declare it: -I "+configs[0].Name+",vioif")
	}
	return list, nil
}
