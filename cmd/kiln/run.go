package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kiln/bake"
	"kiln/image"
	"kiln/run"
	"kiln/run/qemu"
)

const runUsage = "[kvm|qemu|auto] [FLAGS] IMAGE [[--] ARGUMENT…]"

// runName is the command's name in the records of instances.
const runName = "run"

var runCommand = command{
	name:  runName,
	usage: runUsage,
	short: "start an image in a virtual machine",
	long: `
Starts IMAGE, or a Linux program or a container image, which is then baked
first, or the image of a package that kiln package built, by its name, and ends
with the program's exit status. A container image is what docker save writes,
or an OCI layout: a tar, a folder, or oci:FOLDER.

ARGUMENTs take the place of those that the image was baked with. Of a container
image they replace the command, and leave the entry point.

The first word chooses between KVM, QEMU's translation, and whatever works
(auto, the default).

Exit statuses beside the program's: 2 bad input, 125 QEMU failed, 137 killed
because it did not end when asked, 254 the kernel crashed, or could not boot.

With -d the run goes on in the background, and its name is printed. Each run is
an instance while it lasts: kiln ps lists it, kiln stop and others take its name.
One that is in the foreground and was given no --name and no --restart leaves no
record when it ends.

Standard output and error come out apart, unless -i gives the program a
terminal.

Signals that kiln run gets are the program's. TERM asks it to end, by the
image's stop signal, and after --stop-timeout the machine is killed; another
TERM or an INT kills it at once, and so do three INTs within two seconds.

With -i on a terminal, Ctrl-] three times in a row ends a machine that does
not answer.`,
	flags:   runFlags,
	argsEnd: true,
}

// runCall is a command line of kiln run, understood.
type runCall struct {
	options run.Options
	config  string // path of a Rumprun configuration, "" for none
	keep    instanceFlags
}

// runFlags adds the flags of kiln run.
func runFlags(fs *pflag.FlagSet) action {
	c := &runCall{}
	c.addFlags(fs)
	return func(a *app, args []string, _ int) (int, error) {
		if err := c.parse(fs, args); errors.Is(err, pflag.ErrHelp) {
			return a.help([]string{"run"})
		} else if err != nil {
			return 0, err
		}
		return a.run(c)
	}
}

func (c *runCall) addFlags(fs *pflag.FlagSet) {
	c.keep.addFlags(fs)
	addRunFlags(fs, &c.options)
	fs.StringVar(&c.config, "rumprun-config", "", "configuration in Rumprun's JSON, which also says which of several programs run: `FILE`")
}

// parse reads args, which are behind the flags of fs. The accelerator may stand
// before the flags.
func (c *runCall) parse(fs *pflag.FlagSet, args []string) error {
	if len(args) > 0 && slices.Contains(run.Accelerators(), args[0]) {
		accel := args[0]
		again := pflag.NewFlagSet("run", pflag.ContinueOnError)
		again.SetInterspersed(false)
		again.SetOutput(io.Discard)
		again.Usage = func() {}
		again.AddFlagSet(fs)
		if err := again.Parse(args[1:]); errors.Is(err, pflag.ErrHelp) {
			return err
		} else if err != nil {
			return usageError{err.Error(), "kiln help run lists the flags"}
		}
		args = again.Args()
		if c.options.Accel != "" && c.options.Accel != accel {
			return usageError{fmt.Sprintf("%s and --accel %s contradict each other", accel, c.options.Accel), ""}
		}
		c.options.Accel = accel
	}
	if len(args) == 0 {
		return usageError{"no image is named", "kiln run " + runUsage}
	}
	if s := c.options.Strace; s != "" && s != image.StraceCalls && s != image.StraceCount {
		return usageError{fmt.Sprintf("--strace=%s: not %s or %s", s, image.StraceCalls, image.StraceCount), ""}
	}
	if c.options.Paused && c.options.GDB == "" {
		return usageError{"--wait without --gdb: nothing could start the machine", "kiln run --gdb --wait IMAGE"}
	}
	c.options.Image, c.options.Args = args[0], args[1:]
	if len(c.options.Args) > 0 && c.options.Args[0] == "--" {
		c.options.Args = c.options.Args[1:]
	}
	return c.keep.check(fs)
}

// addRunFlags adds the flags that set o.
func addRunFlags(fs *pflag.FlagSet, o *run.Options) {
	fs.BoolVarP(&o.Interactive, "interactive", "i", false, "connect standard input; from a terminal, as the program's terminal")
	fs.VarP((*megabytes)(&o.Memory), "memory", "M", fmt.Sprintf("memory of the machine (default: the image's, or %d)", run.DefaultMemory))
	fs.StringArrayVarP(&o.Env, "env", "e", nil, "set a variable of the program's environment, `KEY=VALUE`")
	fs.StringArrayVarP(&o.Network.Ports, "publish", "p", nil, "publish a port of the program, `[HOSTIP:]HOST:GUEST[/udp]`; without HOSTIP on 127.0.0.1 only")
	fs.BoolVarP(&o.Network.Exposed, "publish-all", "P", false, "publish each port that a container image exposes, at a free port of 127.0.0.1, which is printed")
	fs.StringVar(&o.Network.Net, "net", "", "network: user, none or tap:INTERFACE (default user)")
	fs.StringArrayVarP(&o.Network.Interfaces, "interface", "I", nil, "network interface, `NAME,vioif,'-net tap,script=no,ifname=tap0'`")
	fs.StringArrayVarP(&o.Network.Addresses, "address", "W", nil, "its configuration, `NAME,inet,dhcp` or NAME,inet,static,ADDRESS/BITS[,GATEWAY] or NAME,inet6,auto or NAME,inet6,static,… or NAME,dns,ADDRESS")
	fs.StringArrayVarP(&o.Disks, "block", "b", nil, "block device with the image `FILE[,/MOUNTPOINT][,ro]` (raw or qcow2)")
	fs.StringArrayVarP(&o.Volumes, "volume", "v", nil, "mount a volume, `VOLUME:/MOUNTPOINT[:ro]`, or a folder of this machine, ./FOLDER:/MOUNTPOINT[:ro]")
	fs.StringVar(&o.Machine, "machine", "", "machine type: "+strings.Join(qemu.Types(), ", ")+" (default: the fastest that the image's configuration knows)")
	fs.StringVar(&o.CPU, "cpu", "", "CPU `MODEL[,+FEATURE][,-FEATURE]` of QEMU's (default: the host's under KVM, else all that is quick to translate)")
	fs.StringVar(&o.Accel, "accel", "", "accelerator: kvm, qemu or auto (default auto)")
	fs.StringVar(&o.Hostname, "hostname", "", "host name of the machine")
	fs.StringVar(&o.Cwd, "cwd", "", "the program's working directory")
	fs.Uint64Var(&o.Processes, "processes", 0, "limit of processes and threads (default: none)")
	fs.BoolVar(&o.NoSignals, "no-sig-proxy", false, "keep signals from the program: HUP, INT and QUIT ask it to end as TERM does, others do nothing")
	fs.DurationVar(&o.StopTimeout, "stop-timeout", run.DefaultStopTimeout, "from a request to end until the machine is killed")
	fs.StringVar(&o.Control, "control", "", "serve kiln exec and its like on the unix socket `PATH` while the guest runs")
	fs.BoolVar(&o.Verbose, "verbose-kernel", false, "show the kernel's log on the console")
	fs.StringVar(&o.Strace, "strace", "", "print the programs' system calls, as strace does: `calls`, each when it returns, or count, how often which was made")
	fs.Lookup("strace").NoOptDefVal = image.StraceCalls
	fs.Uint64Var(&o.Faults, "faults", 0, "for tests: one in so many promises of memory fails")
	fs.Lookup("faults").Hidden = true
	fs.StringVar(&o.GDB, "gdb", "", "let gdb look into the machine (kiln gdb --at), at `PORT` of 127.0.0.1 or the path of a socket")
	fs.Lookup("gdb").NoOptDefVal = defaultGDB
	fs.BoolVar(&o.Paused, "wait", false, "with --gdb: the machine waits for gdb")
	fs.BoolVar(&o.Trace, "verbose", false, "print QEMU's command line")
}

// stdio is what a run's console connects to.
func (a *app) stdio() run.Stdio { return run.Stdio{In: a.stdin, Out: a.stdout, Err: a.stderr} }

// openImage reads the image o.Image, or bakes the program of that name to one:
// to a file in dir, or if that is "" to one that done removes. config is the
// path of a Rumprun configuration, "" for none. The image's checksum is left to
// Options.Check.
func (a *app) openImage(o run.Options, config, dir string) (_ run.Options, done func(), err error) {
	done = func() {}
	if o.Image, err = a.packageImage(o.Image); err != nil {
		return o, nil, err
	}
	container, err := containerImage(o.Image)
	if err != nil {
		return o, nil, err
	}
	isImage := false
	if container == "" {
		if isImage, err = image.IsImage(o.Image); err != nil {
			return o, nil, err
		}
	}
	if !isImage {
		if dir == "" {
			if dir, err = os.MkdirTemp("", "kiln-run-"); err != nil {
				return o, nil, err
			}
			done = func() { os.RemoveAll(dir) }
		}
		what := bake.Options{Program: o.Image}
		if container != "" {
			what = bake.Options{OCI: container}
		}
		if o.Image, err = a.bakeTemporary(what, dir); err != nil {
			done()
			return o, nil, err
		}
	}
	img, err := image.OpenUnchecked(o.Image)
	if err != nil {
		done()
		return o, nil, err
	}
	o.Check = func() error { return image.Check(o.Image) }
	o.Manifest, o.ImageEnd, o.Kernel = img.Manifest, img.Header.Image.End(), img.Header.RootFS.Size == 0
	if config != "" {
		notes, err := o.ReadRumprunConfig(config)
		if err != nil {
			done()
			return o, nil, err
		}
		a.note(notes)
	}
	return o, done, nil
}

// openChecked is openImage for who does not run the image.
func (a *app) openChecked(o run.Options, config, dir string) (run.Options, func(), error) {
	o, done, err := a.openImage(o, config, dir)
	if err != nil {
		return o, nil, err
	}
	if err := o.Check(); err != nil {
		done()
		return o, nil, err
	}
	return o, done, nil
}

// note prints lines for the user.
func (a *app) note(lines []string) {
	for _, line := range lines {
		fmt.Fprintf(a.stderr, "%s: %s\n", a.name, line)
	}
}

// bakeTemporary bakes o, which names a program or a container image, to a file
// in dir. A signal ends it, and leaves the caller time to remove dir.
func (a *app) bakeTemporary(o bake.Options, dir string) (string, error) {
	o.Output = filepath.Join(dir, "image")
	return o.Output, a.makeImage(o)
}
