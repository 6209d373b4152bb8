package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kiln/instance"
	"kiln/run"
	"kiln/run/rumprun"
)

// rumprunName is the command's name in the records of instances.
const rumprunName = "rumprun"

var rumprunCommand = command{
	name:  rumprunName,
	usage: "[-hDS] [-t DIR | -T DIR] PLATFORM [GUEST OPTIONS] APP [--] [ARGUMENT…]",
	short: "kiln run with Rumprun's syntax",
	long:  rumprun.Usage,
	raw:   (*app).rumprun,
}

// rumprun is the command rumprun.
func (a *app) rumprun(args []string) (int, error) {
	a.name = rumprunName
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
		return a.rumprunDetached(c, args)
	}
	return a.rumprunForeground(c, args)
}

// rumprunInstance returns what the instance of c, which args say, is made with.
func rumprunInstance(c *rumprun.Command, args []string) instance.Config {
	return instance.Config{
		Image: c.App, Command: rumprunName, Args: args, Remove: true, Detached: !c.Options.Interactive, Log: instance.DefaultLog,
	}
}

// rumprunDetached runs the guest of c, which args say, in the background, and
// prints its cookie.
func (a *app) rumprunDetached(c *rumprun.Command, args []string) (int, error) {
	h, err := a.create(rumprunInstance(c, args))
	if err != nil {
		return exitFailure, err
	}
	started, code, err := a.launch(h)
	if started {
		_, err = fmt.Fprintf(a.stdout, "%s%d\n", cookieScheme, h.State.PID)
	}
	return code, err
}

// rumprunForeground runs the guest of c, which args say, to its end.
func (a *app) rumprunForeground(c *rumprun.Command, args []string) (int, error) {
	done, err := makeDir(c)
	if err != nil {
		return 0, err
	}
	defer done()
	c.Options.Image = c.App
	o, cleanUp, err := a.openImage(c.Options, c.Config, c.Dir)
	if err != nil {
		return exitFailure, err
	}
	defer cleanUp()
	h, err := a.create(rumprunInstance(c, args))
	if err != nil {
		a.note([]string{unlisted(err)})
		return run.Run(o, a.stdio())
	}
	return a.lookAfter(h, o, a.stdio(), nil, func() error { return nil })
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
