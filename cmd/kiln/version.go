package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/pflag"
)

var versionCommand = command{
	name:  "version",
	short: "say which kiln this is",
	long:  "Prints what this kiln was built from.",
	flags: func(*pflag.FlagSet) action {
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) != 0 {
				return 0, usageError{"version takes no arguments", ""}
			}
			_, err := fmt.Fprintf(a.stdout, "kiln %s, %s\n", revision(), runtime.Version())
			return 0, err
		}
	},
}

// revision returns the source's revision.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown source"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	rev := settings["vcs.revision"]
	if rev == "" {
		return info.Main.Version
	}
	if settings["vcs.modified"] == "true" {
		rev += " with changes"
	}
	return rev
}
