package run

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kiln/image"
	"kiln/run/qemu"
	"kiln/run/volume"
)

// DefaultMemory is what a machine gets unless the image or the user says
// otherwise, in MB.
const DefaultMemory = 64

// DefaultStopTimeout is Options.StopTimeout unless the user says otherwise.
const DefaultStopTimeout = image.DefaultStopTimeout * time.Millisecond

// Options say what to run, and on what.
type Options struct {
	Image    string // path
	Manifest image.Manifest
	ImageEnd uint64 // first physical address after the image
	// Check finds out whether the image is damaged, which takes a while. If
	// not nil, it is called while QEMU starts.
	Check func() error

	// Kernel says that the image is a kernel program of the user's own,
	// which has the serial port and no channel.
	Kernel bool

	Accel   string // one of Accelerators; "" means auto
	Machine string // one of qemu.Types; "" means the fastest that the image's kernel knows
	CPU     string // a model of QEMU's; "" means the accelerator's usual one
	Memory  int    // MB; 0 means the image's default

	Args      []string // for the program, in place of the image's
	Env       []string // KEY=VALUE, in addition to the image's
	Cwd       string
	Hostname  string
	Processes uint64 // RLIMIT_NPROC; 0 means no limit
	Verbose   bool   // the kernel's log on the console
	Strace    string // what is printed of system calls: "", image.StraceCalls or image.StraceCount
	Faults    uint64 // for tests: one in so many promises of memory fails; 0: none

	Network Networking
	Disks   []string // -b
	Volumes []string // -v

	// Interactive connects standard input: as the program's terminal if it
	// is one, and standard output too; else as it is.
	Interactive bool
	// NoSignals keeps the signals that this process gets from the program:
	// those that would end it are requests to end, the others do nothing.
	NoSignals   bool
	StopTimeout time.Duration // from a request to end to the kill
	Trace       bool          // print QEMU's command line

	Commands []image.Command // to run instead of the image's program and Args
	Mounts   []image.Mount   // of disks, in addition to those that Disks name
	Networks []image.Network // of interfaces, in place of the image's

	GDB    string   // where QEMU's gdb server listens: a port of localhost, or the path of a socket; "": nowhere
	Paused bool     // the processor waits for gdb, or for QEMU's monitor
	QEMU   []string // arguments of QEMU's, behind the others

	// Control is the path of a unix socket on which this process serves tools
	// that enter the guest (package run/control), for as long as that runs; ""
	// for none.
	Control string

	// Orders, if not nil, is where others ask something of the run.
	Orders <-chan Order

	// Command is whose messages these are; "" means kiln run.
	Command string
	// Started, if not nil, is called when the guest lives: QEMU took its
	// command line and the guest has said something, or a second has passed.
	Started func()
	// Launched, if not nil, is called as soon as QEMU runs, with the number of
	// its process and the ports that it listens at.
	Launched func(pid int, ports []Port)
}

// command is whose messages the run's are.
func (o Options) command() string {
	if o.Command == "" {
		return "kiln run"
	}
	return o.Command
}

// model returns the CPU model that QEMU will take: of several -cpu the last.
func (o Options) model() string {
	for i := len(o.QEMU) - 2; i >= 0; i-- {
		if o.QEMU[i] == "-cpu" || o.QEMU[i] == "--cpu" {
			return o.QEMU[i+1]
		}
	}
	return o.CPU
}

// plan is Options worked out: what to start, and what to tell the guest.
type plan struct {
	machine qemu.Machine
	config  image.RunConfig
	ports   []Port
	volumes []share // those of -v that are volumes
	store   volume.Store
	notes   []string // for the user
}

// terminal is the state of the user's terminal. The zero value is none.
type terminal struct {
	present    bool
	rows, cols uint16
}

// newPlan works out o. It looks at nothing outside of o, h and t.
func newPlan(o Options, h host, t terminal) (*plan, error) {
	accel, note, err := choose(o.Accel, o.model(), h)
	if err != nil {
		return nil, err
	}
	memory, err := memoryFor(o)
	if err != nil {
		return nil, err
	}
	machine, err := machineFor(o)
	if err != nil {
		return nil, err
	}
	p := &plan{machine: qemu.Machine{
		Type: machine, Accel: accel, CPU: o.CPU, Memory: memory, Image: o.Image,
		GDB: o.GDB, Paused: o.Paused, Extra: o.QEMU,
	}}
	if o.Kernel {
		p.machine.Channel = qemu.NoChannel
	}
	if note != "" {
		p.notes = append(p.notes, note)
	}
	if p.config, err = guestConfig(o, t); err != nil {
		return nil, err
	}
	if err := p.addNetwork(o, h); err != nil {
		return nil, err
	}
	return p, p.addStorage(o, h)
}

// guestConfig returns what the guest is told, but for its network and storage.
func guestConfig(o Options, t terminal) (image.RunConfig, error) {
	c := image.RunConfig{
		Args: o.Args, Commands: o.Commands, Env: o.Env, Cwd: o.Cwd, Hostname: o.Hostname,
		Interactive: o.Interactive && t.present,
		Stdin:       o.Interactive && !t.present,
		Verbose:     o.Verbose, Processes: o.Processes, Strace: o.Strace, Faults: o.Faults,
	}
	for _, e := range o.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return c, inputError(fmt.Sprintf("-e %s: not KEY=VALUE", e), "")
		}
	}
	if o.StopTimeout != DefaultStopTimeout {
		c.StopTimeout = int(o.StopTimeout.Milliseconds())
	}
	if c.Interactive {
		c.Rows, c.Cols = t.rows, t.cols
	}
	return c, nil
}

// addNetwork adds the network interfaces, both sides of them.
func (p *plan) addNetwork(o Options, h host) error {
	defaults := o.Manifest.Network
	if len(o.Networks) > 0 {
		defaults = o.Networks
	}
	if o.Network.Exposed {
		published := o.Network.Ports
		if len(published) == 0 {
			published = o.Manifest.Ports
		}
		ports, notes, err := exposedPorts(o.Manifest.Exposed, published, h.freePort)
		if err != nil {
			return err
		}
		o.Network.Ports = slices.Concat(published, ports)
		p.notes = append(p.notes, notes...)
	}
	ifaces, ports, err := o.Network.resolve(defaults, o.Manifest.Ports)
	if err == nil {
		err = checkNetworks(o.Networks, len(ifaces))
	}
	if err != nil {
		return err
	}
	p.ports = ports
	for _, i := range ifaces {
		moved, err := i.avoidHost(h.addresses)
		if err != nil {
			return err
		}
		p.notes = append(p.notes, moved...)
		p.machine.NICs = append(p.machine.NICs, i.nic)
		p.config.Network = append(p.config.Network, i.config)
	}
	return nil
}

// addStorage adds disks, volumes and folders, and what is mounted of them.
func (p *plan) addStorage(o Options, h host) error {
	disks, err := parseDisks(o.Disks)
	if err == nil {
		err = checkMounts(o.Mounts, len(disks))
	}
	if err != nil {
		return err
	}
	shares, err := parseShares(o.Volumes, disks)
	if err != nil {
		return err
	}
	for i, d := range disks {
		p.machine.Disks = append(p.machine.Disks, d.disk())
		if d.path != "" {
			p.config.Mounts = append(p.config.Mounts, d.mount(i))
		}
	}
	p.config.Mounts = append(p.config.Mounts, o.Mounts...)
	if err := p.addShares(shares, h); err != nil {
		return err
	}
	if config, ok := image.FindConfig(o.Manifest.Config); ok && !config.Folders && len(p.machine.Folders) > 0 {
		return configError(config, "it knows no folders of the host")
	}
	return nil
}

// configError says what an image cannot do for the configuration that it was
// baked with.
func configError(c image.Config, lack string) error {
	return inputError(fmt.Sprintf("the image was baked with %s, for %s: %s", c.Name, c.Short, lack), "bake it with --config "+image.DefaultConfig)
}

// machineFor returns the machine type: what the user asked for, if the image's
// kernel finds its devices there, or else the fastest of those.
func machineFor(o Options) (string, error) {
	config, ok := image.FindConfig(o.Manifest.Config)
	if !ok {
		config.PCI, config.MMIO = true, true // a kernel program of the user's own
	}
	suits := func(t string) bool { return t == qemu.Microvm && config.MMIO || t != qemu.Microvm && config.PCI }
	for _, t := range qemu.Types() {
		switch {
		case o.Machine == "" && suits(t), o.Machine == t && suits(t):
			return t, nil
		case o.Machine == t:
			return "", configError(config, "it finds no devices on "+t)
		}
	}
	return "", inputError(fmt.Sprintf("no machine type %q", o.Machine), "there are "+strings.Join(qemu.Types(), ", "))
}

// memoryFor returns the machine's memory in MB.
func memoryFor(o Options) (int, error) {
	memory := o.Memory
	if memory == 0 {
		memory = o.Manifest.Memory
	}
	if memory == 0 {
		memory = DefaultMemory
	}
	if memory < 0 || memory > 1<<20 {
		return 0, inputError(fmt.Sprintf("%d MB is no amount of memory", memory), "")
	}
	if least := image.LeastMemory(o.ImageEnd); memory < least {
		return 0, inputError(fmt.Sprintf("%d MB of memory are too little: this image and its kernel need at least %d MB", memory, least),
			fmt.Sprintf("give the machine more: -M %d", max(DefaultMemory, 2*((least+1)/2))))
	}
	return memory, nil
}

// check looks whether the host has what the plan asks of it.
func (p *plan) check() error {
	for _, port := range p.ports {
		if err := port.check(); err != nil {
			return err
		}
	}
	for _, s := range p.volumes {
		if _, err := p.store.Find(s.source); err != nil {
			return volumeError(s, err)
		}
	}
	for i := range p.machine.Disks {
		if err := checkDisk(&p.machine.Disks[i]); err != nil {
			return err
		}
	}
	for i := range p.machine.Folders {
		if err := checkFolder(&p.machine.Folders[i]); err != nil {
			return err
		}
	}
	for _, nic := range p.machine.NICs {
		if err := checkTap(nic); err != nil {
			return err
		}
	}
	return nil
}

// module returns the run configuration as the guest gets it.
func (p *plan) module() ([]byte, error) { return json.Marshal(p.config) }

// listeners returns where QEMU listens for the guest.
func (p *plan) listeners() []netip.AddrPort {
	var at []netip.AddrPort
	for _, port := range p.ports {
		if port.Proto == "tcp" {
			at = append(at, netip.AddrPortFrom(port.IP, port.Host))
		}
	}
	return at
}
