package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"kiln/bake/iso"
	"kiln/run"
	"kiln/run/rumprun"
)

// rumprunISO makes a bootable CD image.
func (a *app) rumprunISO(c *rumprun.Command) (int, error) {
	if c.Dump {
		return 0, usageError{"-D makes no sense for iso: there is no one command to show", ""}
	}
	output := c.Options.Hostname
	if output == "" {
		output = "rumprun-" + strings.ReplaceAll(c.App, "/", "_") + ".iso"
	}
	if _, err := os.Lstat(output); err == nil {
		return 0, usageError{output + " exists already", "choose another name: -N NAME"}
	}
	done, err := makeDir(c)
	if err != nil {
		return 0, err
	}
	defer done()
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "kiln-iso-"); err != nil {
			return exitFailure, err
		}
		defer os.RemoveAll(dir)
	}
	c.Options.Image = c.App
	o, cleanUp, err := a.openChecked(c.Options, c.Config, dir)
	if err != nil {
		return exitFailure, err
	}
	defer cleanUp()
	config, err := run.Standalone(o)
	if err != nil {
		return 0, err
	}
	err = iso.Write(o.Image, config, output, dir)
	if e, ok := errors.AsType[*iso.Error](err); ok {
		return 0, usageError{e.Msg, e.Hint}
	}
	if err != nil {
		return exitFailure, err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", output)
	return 0, err
}
