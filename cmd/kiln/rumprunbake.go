package main

import (
	"fmt"
	"io"
	"strings"

	"kiln/bake"
	"kiln/image"
)

const rumprunBakeUsage = "CONFIG OUTPUT PROGRAM… | list | describe CONFIG"

var rumprunBakeCommand = command{
	name:  "rumprun-bake",
	usage: rumprunBakeUsage,
	short: "kiln bake with Rumprun's syntax",
	long: `
Bakes PROGRAMs with the kernel configuration CONFIG into the image OUTPUT, as
Rumprun's command of that name does. Of several, the first runs, unless the
configuration of a run says otherwise (kiln run --rumprun-config, rumprun -c).

list shows the kernel configurations, describe what is in one.`,
	raw: (*app).rumprunBake,
}

// rumprunBake is the command rumprun-bake.
func (a *app) rumprunBake(args []string) (int, error) {
	usage := func(msg string) (int, error) {
		return 0, usageError{msg, "rumprun-bake " + rumprunBakeUsage}
	}
	if len(args) == 0 {
		return usage("no configuration is named")
	}
	switch {
	case args[0] == "-h" || args[0] == "--help":
		return a.help([]string{"rumprun-bake"})
	case strings.HasPrefix(args[0], "-"):
		return usage(fmt.Sprintf("there is no option %s: the configurations are Kiln's own", args[0]))
	case args[0] == "list" && len(args) == 1:
		return 0, listConfigs(a.stdout)
	case (args[0] == "describe" || args[0] == "dumpconfig") && len(args) == 2:
		return 0, describeConfig(a.stdout, args[1])
	case args[0] == "list" || args[0] == "describe" || args[0] == "dumpconfig":
		return usage(fmt.Sprintf("%d arguments for %s", len(args)-1, args[0]))
	}
	// A configuration that does not exist is the better complaint.
	if _, err := findConfig(args[0]); err != nil {
		return 0, err
	}
	if len(args) < 3 {
		return usage(fmt.Sprintf("%d arguments, want 3 or more", len(args)))
	}
	return a.bake(bake.Options{Config: args[0], Output: args[1], Program: args[2], Others: args[3:]})
}

// findConfig returns the bake configuration called name.
func findConfig(name string) (image.Config, error) {
	c, ok := image.FindConfig(name)
	if !ok {
		return c, usageError{fmt.Sprintf("there is no configuration %q", name), "there are " + strings.Join(image.ConfigNames(), ", ")}
	}
	return c, nil
}

// listConfigs prints the bake configurations, a line each.
func listConfigs(w io.Writer) error {
	for _, c := range image.Configs() {
		if _, err := fmt.Fprintf(w, "%-16s: %s\n", c.Name, c.Short); err != nil {
			return err
		}
	}
	return nil
}

// describeConfig prints what is in a bake configuration.
func describeConfig(w io.Writer, name string) error {
	c, err := findConfig(name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s: %s\n  %s\n", c.Name, c.Short, strings.Join(c.Components, "\n  "))
	return err
}
