// Package qemu turns the description of a machine into a QEMU command line,
// and runs it.
//
// What it relies on is in QEMU 7.2 and later (docs/system/i386).
package qemu

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"kiln/image/channel"
	"kiln/image/ending"
)

// Binary is QEMU's system emulator for x86-64, and Package the package of
// Debian and Ubuntu that has it.
const (
	Binary  = "qemu-system-x86_64"
	Package = "qemu-system-x86"
)

// Accel is how QEMU runs the guest's instructions.
type Accel string

const (
	KVM Accel = "kvm" // by the CPU
	TCG Accel = "tcg" // by translation
)

// cpuModel is the CPU that a guest sees unless Machine.CPU says otherwise.
//
// Under TCG without XSAVE and AVX: the kernel then saves a program's SSE
// registers one by one on a system call, a small part of what emulating an
// XSAVE or FXSAVE costs, and the program's dynamic linker saves its argument
// registers by FXSAVE instead of the slower XSAVEC. And without ERMS, fast string
// instructions: TCG makes a REP STOSB byte by byte, and both glibc's memset and
// the Go runtime's clearing of memory use it where the CPU calls it fast.
var cpuModel = map[Accel]string{
	KVM: "host",
	TCG: "max,-xsave,-avx,-avx2,-erms",
}

// The machine types.
const (
	Microvm = "microvm" // virtio-mmio and ISA, boots fastest
	PC      = "pc"      // i440FX: PCI
	Q35     = "q35"     // PCI Express
)

// machineOptions follow -M. A microvm keeps what metal uses: COM1, the
// real-time clock, the local APIC and the I/O APIC.
var machineOptions = map[string]string{
	Microvm: "microvm,x-option-roms=off,pit=off,pic=off,rtc=on,acpi=off,isa-serial=on",
	PC:      "pc",
	Q35:     "q35",
}

// Types returns the machine types' names.
func Types() []string { return []string{Microvm, PC, Q35} }

// debugExit is the debug exit device, where metal writes how it ended.
var debugExit = fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=4", ending.Port)

// NIC is a network interface.
type NIC struct {
	Backend string   // of -netdev: "user", "tap", "bridge", "socket"
	Options []string // of the backend, KEY=VALUE
}

// Option returns the value of one of the backend's options.
func (n NIC) Option(key string) string {
	for _, o := range n.Options {
		if k, v, _ := strings.Cut(o, "="); k == key {
			return v
		}
	}
	return ""
}

// mac returns the interface's hardware address. Guests that share a link must
// differ in it, and a guest should keep its own from run to run: where there
// is a host interface, the address comes from its name.
func (n NIC) mac(index int) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d", n.Option("ifname"), index)
	sum := h.Sum32()
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", byte(sum>>16), byte(sum>>8), byte(sum))
}

// Machine is one virtual machine. Its serial port, COM1, is QEMU's standard input
// and output; its channel, a virtio console's port, is a socket.
type Machine struct {
	Type    string // Microvm, PC or Q35
	Accel   Accel
	CPU     string // a model of QEMU's, with what is added to it or taken away; "" for the usual one
	Memory  int    // MB
	Image   string // path
	Module  string // path of what the image gets as a boot module; "" for none
	Channel int    // file descriptor of the channel, a stream socket, or NoChannel
	Monitor int    // file descriptor of a stream socket for QEMU's monitor; 0: none
	NICs    []NIC
	Disks   []Disk
	Folders []Folder

	GDB    string   // where gdb can attach: a port of localhost, or the path of a socket; "": nowhere
	Paused bool     // the processor does not start by itself
	Extra  []string // arguments behind all others
}

// NoChannel makes a machine without a channel: for a command line that somebody
// else starts, or a guest that knows none.
const NoChannel = -1

// CommandLine returns the whole command line, for a shell.
func (m Machine) CommandLine() (string, error) {
	args, err := m.Args()
	if err != nil {
		return "", err
	}
	return Binary + " " + shellQuote(args), nil
}

// Args returns the arguments for Binary.
func (m Machine) Args() ([]string, error) {
	options, ok := machineOptions[m.Type]
	if !ok {
		return nil, fmt.Errorf("machine type %q is not one of %s", m.Type, strings.Join(Types(), ", "))
	}
	model, ok := cpuModel[m.Accel]
	if !ok {
		return nil, fmt.Errorf("accelerator %q is not %s or %s", m.Accel, KVM, TCG)
	}
	if m.CPU != "" {
		model = m.CPU
	}
	if m.Image == "" {
		return nil, errors.New("a machine needs an image")
	}
	args := []string{
		"-M", options,
		"-accel", string(m.Accel),
		"-cpu", model,
		"-smp", "1",
		"-m", strconv.Itoa(m.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.Image,
	}
	if m.Module != "" {
		args = append(args, "-initrd", m.Module)
	}
	args = append(args,
		"-chardev", "stdio,id=console,signal=off",
		"-serial", "chardev:console",
		"-device", debugExit,
	)
	if m.Monitor != 0 {
		args = append(args, "-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", m.Monitor), "-mon", "chardev=monitor,mode=control")
	}
	args = append(args, m.virtio()...)
	if m.GDB != "" {
		args = append(args, "-gdb", gdbDevice(m.GDB))
	}
	if m.Paused {
		args = append(args, "-S")
	}
	return append(args, m.Extra...), nil
}

// gdbDevice returns QEMU's name for where its gdb server listens: at a port or a
// socket.
func gdbDevice(at string) string {
	if _, err := strconv.ParseUint(at, 10, 16); err == nil {
		return "tcp:127.0.0.1:" + at
	}
	return "unix:" + strings.ReplaceAll(at, ",", ",,") + ",server=on,wait=off"
}

// virtio returns the arguments for the machine's virtio devices, all of them
// modern (virtio 1.0 and later): the guest knows no other.
func (m Machine) virtio() []string {
	var args []string
	device := func(kind, rest string) {
		if m.Type == Microvm {
			args = append(args, "-device", "virtio-"+kind+"-device"+rest)
			return
		}
		args = append(args, "-device", "virtio-"+kind+"-pci,disable-legacy=on"+rest)
	}
	if m.Type == Microvm {
		args = append(args, "-global", "virtio-mmio.force-legacy=false")
	}
	device("rng", "")
	for i, n := range m.NICs {
		id := "net" + strconv.Itoa(i)
		backend := strings.Join(append([]string{n.Backend, "id=" + id}, n.Options...), ",")
		args = append(args, "-netdev", backend)
		rest := ",netdev=" + id + ",mac=" + n.mac(i)
		if m.Type != Microvm {
			rest += ",romfile=" // no boot ROM: nothing boots from the network
		}
		device("net", rest)
	}
	for i, d := range m.Disks {
		backend, frontend := d.args(i)
		args = append(args, "-blockdev", backend)
		device("blk", frontend)
	}
	for i, f := range m.Folders {
		backend, frontend := f.args(i)
		args = append(args, "-fsdev", backend)
		device("9p", frontend)
	}
	if m.Channel != NoChannel {
		// Not port 0, the console: QEMU drops what it cannot pass on at once.
		args = append(args, "-chardev", fmt.Sprintf("socket,id=channel,fd=%d", m.Channel))
		device("serial", ",id=ports,max_ports=2")
		args = append(args, "-device", "virtserialport,bus=ports.0,nr=1,chardev=channel,name="+channel.PortName)
	}
	return args
}
