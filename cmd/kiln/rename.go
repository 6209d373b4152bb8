package main

import (
	"fmt"

	"github.com/spf13/pflag"
)

var renameCommand = command{
	name:  "rename",
	usage: "INSTANCE NAME",
	short: "give an instance another name",
	long:  "Gives INSTANCE, which may run, the name NAME.",
	flags: func(*pflag.FlagSet) action {
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) != 2 {
				return 0, usageError{fmt.Sprintf("%d names are given, want 2", len(args)), "kiln rename INSTANCE NAME"}
			}
			i, err := a.findInstance(args[0])
			if err == nil {
				err = i.Rename(args[1])
			}
			return 0, err
		}
	},
}
