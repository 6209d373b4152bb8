package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"kiln/bake"
	"kiln/cc"
	"kiln/image"
	"kiln/run"
)

const bakeUsage = "[FLAGS] (PROGRAM [FILE…] | --deb PACKAGE [PROGRAM] | --oci IMAGE) [-- ARGUMENT…]"

var bakeCommand = command{
	name:  "bake",
	usage: bakeUsage + "\n       kiln bake --trace [FLAGS] -- COMMAND [ARGUMENT…]",
	short: "add the kernel to a program: one bootable image",
	long: `
Makes an image of PROGRAM, its shared libraries, which are found, the FILEs
and what --add names. ARGUMENTs, the environment and the other settings are
stored in the image as what kiln run uses unless told otherwise.

With --deb, the files of Debian packages and of those that they depend on are
added, but for documentation, with their users, folders and alternatives: as
they are installed here, or downloaded. PROGRAM is then a program of theirs, by
name or path; it need not be named where they have only one. Nothing of a
package is run, so what only its installation would make is not there.

With --trace, COMMAND is run here first, to its end, and each file that it and
its children open or ask about is added (source "traced" in kiln inspect).

Files keep their times. If the variable SOURCE_DATE_EPOCH is set, to seconds
since 1970, none is newer: what was compiled today then gives the same image as
what is compiled tomorrow.`,
	flags: bakeFlags,
}

func bakeFlags(fs *pflag.FlagSet) action {
	var o bake.Options
	var kernel, traced bool
	var addresses, owners []string
	var user string
	fs.StringVarP(&o.Output, "output", "o", "", "the image to write (default PROGRAM.img)")
	fs.StringVar(&o.Config, "config", image.DefaultConfig, "kernel configuration; list shows them")
	fs.StringArrayVar(&o.Add, "add", nil, "add a file or directory, `HOSTPATH[:GUESTPATH]`")
	fs.StringVar(&o.Root, "root", "", "add what is in `DIR`, a root file system; PROGRAM is looked for in it first")
	fs.StringArrayVar(&owners, "owner", nil, "give a path of the image to a user, `GUESTPATH=UID[:GID]`, with all below it")
	fs.StringSliceVar(&o.Debs, "deb", nil, "add Debian packages and what they depend on: `PACKAGE[,PACKAGE]`, by name or the path of a .deb")
	fs.StringVar(&o.OCI, "oci", "", "bake a container image, an OCI layout or what docker save writes: `FOLDER-OR-TAR`; ARGUMENTs replace its command")
	fs.BoolVar(&traced, "trace", false, "run COMMAND on this machine by strace, and add the files that it finds")
	fs.StringArrayVar(&o.Others, "program", nil, "another `PROGRAM`; kiln run --rumprun-config says which of several run")
	fs.StringArrayVarP(&o.Env, "env", "e", nil, "set a variable of the program's environment, `KEY=VALUE`")
	fs.StringVar(&user, "user", "", "whom the program runs as, `UID[:GID]` (default root)")
	fs.StringVar(&o.Cwd, "cwd", "", "the program's working directory (default /)")
	fs.VarP((*megabytes)(&o.Memory), "memory", "M", fmt.Sprintf("memory of the machine (default %d)", run.DefaultMemory))
	fs.StringArrayVarP(&o.Ports, "publish", "p", nil, "port to publish, `[HOSTIP:]HOST:GUEST[/udp]`")
	fs.StringArrayVarP(&addresses, "address", "W", nil, "configuration of a network interface, as of kiln run: `NAME,inet,static,ADDRESS/BITS[,GATEWAY]`")
	fs.StringVar(&o.Hostname, "hostname", "", "host name of the machine (default kiln)")
	fs.BoolVar(&kernel, "kernel", false, "PROGRAM is a kernel program: a Go program linked for metal, without a root file system")
	return func(a *app, args []string, dash int) (int, error) {
		if dash >= 0 {
			args, o.Args = args[:dash], args[dash:]
		}
		if o.Config == "list" && len(args) == 0 {
			return 0, listConfigs(a.stdout)
		}
		o.OCI = withoutTransport(o.OCI)
		if traced {
			if err := checkTrace(&o, args, kernel); err != nil {
				return 0, err
			}
			args = []string{o.Program}
		}
		if len(args) == 0 && o.OCI == "" && len(o.Debs) == 0 {
			return 0, usageError{"no program is named", "kiln bake " + bakeUsage}
		}
		if len(args) > 0 {
			o.Program, o.Files = args[0], args[1:]
		}
		if kernel {
			if len(o.Files) > 0 || len(o.Add) > 0 || len(o.Debs) > 0 || o.Root != "" {
				return 0, usageError{"a kernel program has no files", ""}
			}
			o.Kernel, o.Program = o.Program, ""
		}
		if err := checkDefaults(&o, addresses); err != nil {
			return 0, err
		}
		if user != "" {
			var err error
			if o.User, err = bake.ParseUser(user); err != nil {
				return 0, err
			}
		}
		for _, text := range owners {
			owner, err := bake.ParseOwner(text)
			if err != nil {
				return 0, err
			}
			o.Owners = append(o.Owners, owner)
		}
		if traced {
			if err := a.trace(&o); err != nil {
				return exitFailure, err
			}
		}
		return a.bake(o)
	}
}

// checkDefaults checks what the image stores for kiln run, while there is
// still somebody to correct it.
func checkDefaults(o *bake.Options, addresses []string) error {
	for _, p := range o.Ports {
		if _, err := run.ParsePort(p); err != nil {
			return err
		}
	}
	for _, e := range o.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return usageError{fmt.Sprintf("-e %s: not KEY=VALUE", e), ""}
		}
	}
	var err error
	o.Network, err = run.ParseDefaults(addresses)
	return err
}

func (a *app) bake(o bake.Options) (int, error) {
	if err := a.makeImage(o); err != nil {
		return exitFailure, err
	}
	return 0, nil
}

// makeImage bakes o with progress, hints, and what the environment says. A signal
// ends it.
func (a *app) makeImage(o bake.Options) error {
	p := newProgress(a)
	defer p.stop()
	o.Progress, o.LibraryDirs = p.show, a.libraryDirs()
	o.Hint = func(line string) { a.note([]string{"hint: " + line}) }
	var err error
	if o.Epoch, err = bake.ParseEpoch(a.getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	return interruptible(func(ctx context.Context) error {
		o.Context = ctx
		_, err := bake.Bake(o)
		return err
	})
}

// libraryDirs returns where libraries are beside the host's: in the sysroot.
func (a *app) libraryDirs() []string {
	sysroot, err := cc.DefaultSysroot(a.getenv)
	if err != nil {
		return nil // without a home there is none
	}
	return []string{filepath.Join(sysroot, "lib")}
}
