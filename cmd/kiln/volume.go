package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kiln/run/volume"
)

const volumeUsage = "create NAME --size SIZE [--fs ext4|ext2] | ls [--json] [NAME:/PATH] | cat NAME:/PATH… | cp NAME:/PATH TO | rm NAME…"

var volumeCommand = command{
	name:  "volume",
	usage: volumeUsage,
	short: "make, list, read and remove disks that keep a program's data",
	long: `
A volume is a disk with a file system that a program finds its data on again,
in the next run too: kiln run -v NAME:/data IMAGE.

  create NAME --size SIZE   makes one; SIZE has K, M, G or T behind it
  ls                        lists them
  ls NAME:/PATH             lists a directory in one
  cat NAME:/PATH…           prints files
  cp NAME:/PATH TO          copies a file, or a directory with all in it, out
  rm NAME…                  removes them, with what is in them

For ls, cat and cp, the NAME may be a disk image or a CD image, too, if it has a
slash: ./data.iso:/conf. They change nothing in it, and want no machine to be
writing to it.

Volumes are sparse files in $XDG_DATA_HOME/kiln/volumes (default
~/.local/share/kiln/volumes), which take as much space on the host as is
written to them.`,
	flags: func(fs *pflag.FlagSet) action {
		v := &volumeFlags{}
		fs.StringVar(&v.size, "size", "", "create: the volume's `SIZE`")
		fs.StringVar(&v.fs, "fs", "", "create: its file system, ext4 or ext2 (default ext4)")
		fs.BoolVar(&v.json, "json", false, "ls: print JSON")
		return v.run
	},
}

// volumeFlags are the flags of all of kiln volume.
type volumeFlags struct {
	size, fs string
	json     bool
}

// volumeActions are what kiln volume can do. flags are those that it takes.
var volumeActions = map[string]struct {
	flags []string
	run   func(v *volumeFlags, a *app, s volume.Store, names []string) error
}{
	"create": {[]string{"--size", "--fs"}, (*volumeFlags).create},
	"ls":     {[]string{"--json"}, (*volumeFlags).list},
	"cat":    {nil, (*volumeFlags).cat},
	"cp":     {nil, (*volumeFlags).copy},
	"rm":     {nil, (*volumeFlags).remove},
}

// run runs the action that the first argument names.
func (v *volumeFlags) run(a *app, args []string, _ int) (int, error) {
	if len(args) == 0 {
		return 0, usageError{"what to do with volumes is missing", "kiln volume " + volumeUsage}
	}
	act, ok := volumeActions[args[0]]
	if !ok {
		return 0, usageError{fmt.Sprintf("there is no %q", args[0]), "kiln volume " + volumeUsage}
	}
	for flag, given := range map[string]bool{"--size": v.size != "", "--fs": v.fs != "", "--json": v.json} {
		if given && !slices.Contains(act.flags, flag) {
			return 0, usageError{fmt.Sprintf("%s takes no %s", args[0], flag), "kiln volume " + volumeUsage}
		}
	}
	store, err := volume.Default(a.getenv)
	if err == nil {
		err = act.run(v, a, store, args[1:])
	}
	if e, ok := errors.AsType[*volume.Error](err); ok {
		return 0, usageError{e.Msg, e.Hint}
	}
	return 0, err
}

func (v *volumeFlags) create(_ *app, s volume.Store, names []string) error {
	if len(names) != 1 {
		return usageError{fmt.Sprintf("%d names are given, want 1", len(names)), "kiln volume create NAME --size 1G"}
	}
	if v.size == "" {
		return usageError{"the volume's size is missing", "kiln volume create " + names[0] + " --size 1G"}
	}
	size, err := volume.ParseSize(v.size)
	if err != nil {
		return err
	}
	if v.fs == "" {
		v.fs = "ext4"
	}
	return s.Create(names[0], size, v.fs)
}

func (v *volumeFlags) list(a *app, s volume.Store, names []string) error {
	if len(names) > 1 {
		return usageError{fmt.Sprintf("%d paths are given, want 1", len(names)), "kiln volume ls NAME:/PATH"}
	}
	if len(names) == 1 {
		return v.listFiles(a, s, names[0])
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	if v.json {
		if list == nil {
			list = []volume.Volume{}
		}
		return printJSON(a.stdout, list)
	}
	return printVolumes(a.stdout, list)
}

// printJSON prints v for programs.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printVolumes prints volumes for people.
func printVolumes(out io.Writer, list []volume.Volume) error {
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NAME\tSIZE\tON HOST\tFS\tIN USE\tMODIFIED\n")
	for _, v := range list {
		fs, used := v.FS, "no"
		if fs == "" {
			fs = "-"
		}
		if v.InUse {
			used = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, formatSize(v.Size), formatSize(v.Allocated), fs, used,
			v.Modified.Format("2006-01-02 15:04"))
	}
	return w.Flush()
}

// formatSize returns a number of bytes with a unit, rounded to tenths.
func formatSize(n int64) string {
	size, unit := float64(n), 0
	for size >= 1024 && unit < 4 {
		size, unit = size/1024, unit+1
	}
	text := fmt.Sprintf("%.1f", size)
	return strings.TrimSuffix(text, ".0") + [...]string{" B", "K", "M", "G", "T"}[unit]
}

func (v *volumeFlags) remove(_ *app, s volume.Store, names []string) error {
	if len(names) == 0 {
		return usageError{"no volume is named", "kiln volume rm NAME…"}
	}
	for _, name := range names {
		if err := s.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
