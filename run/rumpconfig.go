package run

import (
	"fmt"
	"os"
	"slices"

	"kiln/image"
	"kiln/image/rumpconfig"
)

// ReadRumprunConfig adds what the Rumprun configuration in file says to o,
// whose manifest is known. What o has already takes precedence. It returns
// lines for the user.
func (o *Options) ReadRumprunConfig(file string) (notes []string, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, inputError(fmt.Sprintf("the configuration cannot be read: %v", err), "")
	}
	c, err := rumpconfig.Parse(b)
	if err != nil {
		return nil, inputError(file+": "+err.Error(), "")
	}
	if o.Commands, err = c.Commands(&o.Manifest); err != nil {
		return nil, inputError(file+": "+err.Error(), "")
	}
	if len(o.Commands) > 0 && len(o.Args) > 0 {
		return nil, inputError(fmt.Sprintf("%s says what runs, so the arguments %q have no program", file, o.Args), "leave one of the two out")
	}
	o.Env = append(c.Env, o.Env...)
	if o.Hostname == "" {
		o.Hostname = c.Hostname
	}
	if len(c.Networks) > 0 {
		o.Networks = c.Networks
	}
	o.Mounts = append(o.Mounts, c.Mounts...)
	return c.Notes, nil
}

// checkMounts reports a mount of a disk that the machine does not have.
func checkMounts(mounts []image.Mount, disks int) error {
	var names []string
	for i := range disks {
		names = append(names, diskName(i))
	}
	for _, m := range mounts {
		if m.Device != "" && !slices.Contains(names, m.Device) {
			return inputError(fmt.Sprintf("%s is to be mounted on %s, but the machine has %d block devices", m.Source, m.Path, disks),
				"attach one: -b FILE")
		}
	}
	return nil
}

// checkNetworks reports a configuration of interfaces that the machine does
// not have.
func checkNetworks(networks []image.Network, ifaces int) error {
	if len(networks) <= ifaces {
		return nil
	}
	return inputError(fmt.Sprintf("interface %s is configured, but the machine has %d network interfaces", networks[len(networks)-1].Name, ifaces),
		"declare one: -I if,vioif,'-net tap,script=no,ifname=tap0'")
}
