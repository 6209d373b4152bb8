// Package rumprun reads the command line of Rumprun's launcher, rumprun, and
// says what it asks for in the terms of package run.
//
// The syntax is that of Rumprun's app-tools/rumprun; docs/rumprun.md has what
// differs.
package rumprun

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kiln/run"
)

// Usage is the help text.
const Usage = `usage: rumprun [-hDS] [-t DIR | -T DIR] PLATFORM [GUEST OPTIONS] APP [--] [ARGUMENT…]

PLATFORM is one of
   kvm    a virtual machine of QEMU on KVM, or without it where it does not work
   qemu   a virtual machine of QEMU without KVM
   iso    make a bootable CD image, rumprun-APP.iso

   -h   show this
   -D   show the command for QEMU instead of running it
   -S   without effect: nothing here needs sudo
   -t   folder for temporary files, which must not exist yet
   -T   the same, and keep it

GUEST OPTIONS:
   -c FILE                configuration in Rumprun's JSON
   -b FILE[,MOUNTPOINT]   block device, with its file system mounted there
   -d                     without effect: a guest that powers off is gone
   -D PORT                gdb server at this port of localhost
   -e VAR[=VALUE]         environment variable of the program
   -g 'ARGUMENTS'         arguments for QEMU
   -i                     connect the console; without it the guest runs in the
                          background, and its cookie for rumpstop is printed
   -I TAG,vioif[,'-net BACKEND,…']   network interface
   -M MB                  memory (default 64)
   -N NAME                name of the guest, also its host name; for iso also the
                          CD image's
   -p                     leave the guest paused
   -W TAG,inet,dhcp | TAG,inet,static,ADDRESS/BITS[,GATEWAY] | TAG,inet6,auto
                          configuration of the interface

APP is what rumprun-bake made, or a program, which is then baked first.
`

// The options before and behind the platform, as getopt(3) has them.
const (
	scriptOptions = "hDSt:T:"
	guestOptions  = "b:c:dD:e:g:iI:M:n:N:pW:"
)

// The platforms.
const (
	KVM  = "kvm"
	QEMU = "qemu"
	ISO  = "iso"
)

// elsewhere says what to use in place of a platform that is none here.
var elsewhere = map[string]string{
	"xen": "there is no Xen support: an image boots by the PVH entry, which xl knows as type=\"pvh\", but Kiln has no drivers for Xen's devices; use kvm or qemu",
	"ec2": "there is no EC2 support: use kvm or qemu, or run the program itself there, which is a Linux program",
}

// A Command is a command line of rumprun, understood.
type Command struct {
	Help     bool
	Dump     bool   // show what would be run
	Dir      string // folder for temporary files, "" for none in particular
	KeepDir  bool
	Platform string

	// Options are for the run; Image, Manifest and ImageEnd are the
	// caller's to set. Without Options.Interactive the guest runs in the
	// background.
	Options run.Options
	App     string   // path of an image or program
	Config  string   // path of a Rumprun configuration, "" for none
	Notes   []string // lines for the user
}

// notISO says why options are none of iso's.
var notISO = map[byte]string{
	'b': "a CD has no disks of the guest's; bake the files in, kiln bake --add",
	'd': "who boots the CD decides what comes after",
	'D': "who boots the CD attaches gdb",
	'g': "who boots the CD has QEMU's command line",
	'i': "who boots the CD has the console",
	'M': "who boots the CD has the memory",
	'p': "who boots the CD starts it",
}

// Parse reads the command line behind the command's name.
func Parse(args []string) (*Command, error) {
	c := &Command{Options: run.Options{Command: "rumprun", StopTimeout: run.DefaultStopTimeout}}
	script, rest, err := options(args, scriptOptions)
	if err != nil {
		return nil, err
	}
	for _, o := range script {
		switch o.letter {
		case 'h':
			c.Help = true
			return c, nil
		case 'D':
			c.Dump = true
		case 'S':
			c.Notes = append(c.Notes, "-S has no effect: nothing here needs sudo")
		case 't', 'T':
			c.Dir, c.KeepDir = o.argument, o.letter == 'T'
		}
	}
	if len(rest) == 0 {
		return nil, inputError("no platform is named", "rumprun kvm -i APP, or rumprun qemu -i APP")
	}
	c.Platform = rest[0]
	if hint, ok := elsewhere[c.Platform]; ok {
		return nil, inputError("platform "+c.Platform+": "+hint, "")
	}
	if c.Platform != KVM && c.Platform != QEMU && c.Platform != ISO {
		return nil, inputError(fmt.Sprintf("there is no platform %q", c.Platform), "there are kvm, qemu and iso")
	}
	return c, c.guest(rest[1:])
}

// guest reads what follows the platform.
func (c *Command) guest(args []string) error {
	guest, rest, err := options(args, guestOptions)
	if err != nil {
		return err
	}
	if c.Platform != ISO {
		c.Options.Accel = c.Platform
	}
	for _, o := range guest {
		if why, ok := notISO[o.letter]; ok && c.Platform == ISO {
			return inputError(fmt.Sprintf("-%c makes no sense for iso: %s", o.letter, why), "")
		}
		if err := c.option(o); err != nil {
			return err
		}
	}
	net := &c.Options.Network
	if len(net.Interfaces) == 0 {
		if len(net.Addresses) > 0 {
			return inputError(fmt.Sprintf("-W %s: there is no interface", net.Addresses[0]), "declare it: -I if,vioif,'-net tap,script=no,ifname=tap0'")
		}
		net.Net = "none"
	}
	if len(rest) == 0 {
		return inputError("no application is named", "rumprun "+c.Platform+" APP")
	}
	c.App, c.Options.Args = rest[0], rest[1:]
	if len(c.Options.Args) > 0 && c.Options.Args[0] == "--" {
		c.Options.Args = c.Options.Args[1:]
	}
	if c.Options.Paused && c.Options.GDB == "" && len(c.Options.QEMU) == 0 {
		c.Notes = append(c.Notes, "-p without -D: nothing can start the guest; with -D PORT, gdb's continue does")
	}
	return nil
}

// option carries out one guest option.
func (c *Command) option(o option) error {
	r, arg := &c.Options, o.argument
	switch o.letter {
	case 'b':
		r.Disks = append(r.Disks, arg)
	case 'c':
		c.Config = arg
	case 'd':
		c.Notes = append(c.Notes, "-d has no effect: a guest that powers off is gone")
	case 'D':
		port, err := strconv.ParseUint(arg, 10, 16)
		if err != nil || port == 0 {
			return inputError(fmt.Sprintf("-D %s: not a port", arg), "gdb finds the guest at a port from 1 to 65535: -D 1234")
		}
		r.GDB = strconv.FormatUint(port, 10)
	case 'e':
		name, _, ok := strings.Cut(arg, "=")
		if name == "" {
			return inputError(fmt.Sprintf("-e %s: not VAR=VALUE", arg), "")
		}
		if !ok {
			arg += "="
		}
		r.Env = append(r.Env, arg)
	case 'g':
		r.QEMU = append(r.QEMU, strings.Fields(arg)...)
	case 'i':
		r.Interactive = true
	case 'I':
		return c.addInterface(arg, 'I')
	case 'M':
		n, err := strconv.ParseUint(strings.TrimSuffix(arg, "M"), 10, 20)
		if err != nil || n == 0 {
			return inputError(fmt.Sprintf("-M %s: not a number of megabytes", arg), "")
		}
		r.Memory = int(n)
	case 'n':
		return c.oldInterface(arg)
	case 'N':
		r.Hostname = arg
		if c.Platform == ISO {
			return nil
		}
		r.QEMU = append(r.QEMU, "-name", strings.ReplaceAll(arg, ",", ",,"))
	case 'p':
		r.Paused = true
	case 'W':
		if _, err := run.ParseAddresses([]string{arg}); err != nil {
			return err
		}
		r.Network.Addresses = append(r.Network.Addresses, arg)
	default:
		return fmt.Errorf("option -%c is not carried out", o.letter)
	}
	return nil
}

// addInterface adds a network interface for -I or -n, which exclude each
// other.
func (c *Command) addInterface(spec string, letter byte) error {
	if _, _, err := run.ParseInterface(spec); err != nil {
		return err
	}
	net := &c.Options.Network
	isOld := func(s string) bool { return strings.HasPrefix(s, oldTag) }
	if slices.ContainsFunc(net.Interfaces, func(s string) bool { return isOld(s) != (letter == 'n') }) {
		return inputError("-n and -I exclude each other", "use -I and -W")
	}
	net.Interfaces = append(net.Interfaces, spec)
	return nil
}

// oldTag begins the tags of the interfaces that -n makes.
const oldTag = "_net"

// oldInterface adds an interface for -n, Rumprun's older form, with user
// networking.
func (c *Command) oldInterface(spec string) error {
	tag := oldTag + strconv.Itoa(len(c.Options.Network.Interfaces))
	if err := c.addInterface(tag+",vioif,-net user", 'n'); err != nil {
		return err
	}
	return c.option(option{'W', tag + "," + spec})
}

// inputError is an error about the command line.
func inputError(msg, hint string) *run.Error {
	return &run.Error{Code: run.ExitUsage, Msg: msg, Hint: hint}
}
