package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kiln/run"
	"kiln/run/rumprun"
)

var rumprunCommand = command{
	name:  "rumprun",
	usage: "[-hDS] [-t DIR | -T DIR] PLATFORM [GUEST OPTIONS] APP [--] [ARGUMENT…]",
	short: "kiln run with Rumprun's syntax",
	long:  rumprun.Usage,
	raw:   (*app).rumprun,
}

// rumprun is the command rumprun.
func (a *app) rumprun(args []string) (int, error) {
	a.name = "rumprun"
	c, err := rumprun.Parse(args)
	if err != nil {
		return 0, err
	}
	if c.Help {
		_, err := io.WriteString(a.stdout, rumprun.Usage)
		return 0, err
	}
	a.note(c.Notes)
	if c.Platform == rumprun.ISO {
		return a.rumprunISO(c)
	}
	if c.Dump {
		return a.rumprunDump(c)
	}
	if !c.Options.Interactive {
		return a.detach(args)
	}
	return a.rumprunGuest(c)
}

// rumprunGuest runs the guest of c to its end.
func (a *app) rumprunGuest(c *rumprun.Command) (int, error) {
	done, err := makeDir(c)
	if err != nil {
		return 0, err
	}
	defer done()
	return a.runGuest(c)
}

// runGuest runs the guest of c, whose folder exists.
func (a *app) runGuest(c *rumprun.Command) (int, error) {
	c.Options.Image = c.App
	o, done, err := a.openImage(c.Options, c.Config, c.Dir)
	if err != nil {
		return exitFailure, err
	}
	defer done()
	return run.Run(o, a.stdio())
}

// makeDir makes the folder of -t and -T. done removes that of -t.
func makeDir(c *rumprun.Command) (done func(), err error) {
	if c.Dir == "" {
		return func() {}, nil
	}
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, usageError{fmt.Sprintf("folder for temporary files: %v", err), "name one that does not exist yet"}
	}
	if c.KeepDir {
		return func() {}, nil
	}
	return func() { os.RemoveAll(c.Dir) }, nil
}

// Files in the folder of -t and -T.
const (
	fileRunConfig = "runconfig.json" // what the guest gets
	fileConsole   = "console"        // what a guest in the background prints
)

// rumprunDump shows the command for QEMU. What it reads stays in the folder of
// -T.
func (a *app) rumprunDump(c *rumprun.Command) (int, error) {
	done, err := makeDir(c)
	if err != nil {
		return 0, err
	}
	defer done()
	c.Options.Image = c.App
	o, cleanUp, err := a.openChecked(c.Options, c.Config, c.Dir)
	if err != nil {
		return 0, err
	}
	defer cleanUp()
	file := filepath.Join(c.Dir, fileRunConfig)
	line, config, err := run.Describe(o, a.stdio(), file)
	if err != nil {
		return 0, err
	}
	if c.Dir != "" {
		if err := os.WriteFile(file, config, 0o600); err != nil {
			return exitFailure, err
		}
	}
	if !c.KeepDir {
		fmt.Fprintf(a.stderr, "%s: with -T DIR, the files that the command names are kept\n", a.name)
	}
	_, err = fmt.Fprintln(a.stdout, line)
	return 0, err
}
