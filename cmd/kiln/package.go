package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kiln/cc"
	"kiln/packages"
)

const packageUsage = "ls|build|check [FLAGS] [NAME…]"

var packageCommand = command{
	name:  "package",
	usage: packageUsage,
	short: "build known software from source, and check it",
	long: `
  kiln package ls             the packages, and which of them are built
  kiln package build NAME…    build images; kiln run NAME starts one
  kiln package check NAME…    start each and speak to it from outside

NAME is one that ls lists, or the folder of a recipe of your own, named with a
slash (docs/packages.md). --all stands for all that ls lists.`,
	flags: packageFlags,
}

func packageFlags(fs *pflag.FlagSet) action {
	var o packages.Builder
	var all, needs, verbose bool
	fs.BoolVar(&all, "all", false, "all packages that ls lists")
	fs.BoolVar(&o.InstallDeps, "install-deps", false, "install the Debian packages that are missing, with apt-get and, if need be, sudo")
	fs.BoolVar(&o.Force, "force", false, "build: again, though nothing changed")
	fs.BoolVar(&needs, "needs", false, "ls: the Debian packages that building and checking need")
	fs.BoolVar(&verbose, "verbose", false, "build: show the output of what is run")
	return func(a *app, args []string, _ int) (int, error) {
		if len(args) == 0 {
			return 0, usageError{"ls, build or check is missing", "kiln package " + packageUsage}
		}
		verb, names := args[0], args[1:]
		if all || verb == "ls" && len(names) == 0 {
			names = packages.Names()
		}
		if len(names) == 0 {
			return 0, usageError{"no package is named", "kiln package ls lists them"}
		}
		a.name += " " + verb
		if verbose {
			o.Verbose = a.stderr
		}
		o.Say = func(line string) { fmt.Fprintf(a.stderr, "%s: %s\n", a.name, line) }
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		o.Context = ctx
		code, err := a.packages(verb, names, needs, &o)
		if e, ok := errors.AsType[*packages.Error](err); ok {
			return 0, usageError{e.Msg, e.Hint}
		}
		return code, err
	}
}

// packages carries out one of the verbs for recipes.
func (a *app) packages(verb string, names []string, needs bool, b *packages.Builder) (int, error) {
	var recipes []*packages.Recipe
	for _, n := range names {
		r, err := packages.Load(n)
		if err != nil {
			return 0, err
		}
		recipes = append(recipes, r)
	}
	if err := a.completeBuilder(b); err != nil {
		return exitFailure, err
	}
	switch verb {
	case "ls":
		if needs {
			return 0, listNeeds(a.stdout, recipes)
		}
		return 0, listPackages(a.stdout, b, recipes)
	case "build":
		for _, r := range recipes {
			if _, err := b.Build(r); err != nil {
				return exitFailure, err
			}
		}
		return 0, nil
	case "check":
		for _, r := range recipes {
			if err := b.Check(r); err != nil {
				return exitFailure, err
			}
		}
		return 0, nil
	}
	return 0, usageError{fmt.Sprintf("%q is not one of ls, build and check", verb), "kiln package " + packageUsage}
}

// completeBuilder says where things are.
func (a *app) completeBuilder(b *packages.Builder) error {
	var err error
	if b.Kiln, err = os.Executable(); err != nil {
		return err
	}
	if b.Cache, err = cc.CacheDir(a.getenv); err != nil {
		return usageError{err.Error(), ""}
	}
	if b.Data, err = cc.DataDir(a.getenv); err != nil {
		return usageError{err.Error(), ""}
	}
	b.Env = a.env
	return nil
}

func listPackages(out io.Writer, b *packages.Builder, recipes []*packages.Recipe) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range recipes {
		state := "-"
		if b.IsBuilt(r) {
			state = "built"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, state, r.About)
	}
	return w.Flush()
}

func listNeeds(out io.Writer, recipes []*packages.Recipe) error {
	seen := map[string]bool{}
	var words []string
	for _, r := range recipes {
		for _, n := range r.Needs() {
			if !seen[n] {
				seen[n] = true
				words = append(words, n)
			}
		}
	}
	_, err := fmt.Fprintln(out, strings.Join(words, " "))
	return err
}

// packageImage returns the image that name stands for: that of a package that
// was built, unless there is a file of that name, and else name itself.
func (a *app) packageImage(name string) (string, error) {
	if strings.Contains(name, "/") || name == "" {
		return name, nil
	}
	if _, err := os.Lstat(name); err == nil {
		return name, nil
	}
	if data, err := cc.DataDir(a.getenv); err == nil { // without a home there are no packages
		image := packages.ImagePath(data, name)
		if _, err := os.Stat(image); err == nil {
			return image, nil
		}
	}
	if slices.Contains(packages.Names(), name) {
		return "", usageError{fmt.Sprintf("there is no file %s, and the package %s is not built", name, name), "kiln package build " + name}
	}
	return name, nil
}
