// Command cpython runs CPython's own tests with Debian's Python as an ordinary
// program, on this machine and in a guest, and prints a table that compares every
// test's outcome. They are those of Debian's package libpython3.11-testsuite, or
// that of the Python which the machine has.
//
//	go run ./test/cpython [-all] [-only MODULE,…] [-in PLACE] [-timeout 15m] [-keep DIR]
//
// It ends with status 1 if any outcome differs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kiln/test/outcomes"
)

// options are the command line.
type options struct {
	machine machine
	chosen  []module
	place   string        // where the tests' folder is: a key of places
	timeout time.Duration // for one module on one side
	keep    string        // folder for outputs; "" for none
}

func main() {
	opts, err := parseFlags()
	if err == nil {
		var same bool
		if same, err = table(opts); err == nil && !same {
			os.Exit(1)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cpython: error:", err)
		os.Exit(2)
	}
}

func parseFlags() (options, error) {
	var (
		o    options
		all  = flag.Bool("all", false, "run the other modules, too, not only those that ask most of a system")
		only = flag.String("only", "", "run these `modules`, comma-separated")
	)
	flag.StringVar(&o.machine.kiln, "kiln", "bin/kiln", "the kiln `command`")
	flag.StringVar(&o.machine.accel, "accel", "auto", "kvm, qemu or auto")
	flag.IntVar(&o.machine.memory, "M", 1024, "guest memory in `MB`")
	flag.StringVar(&o.place, "in", "tmp", "`where` in the guest the tests make files: tmp, root or volume")
	flag.DurationVar(&o.timeout, "timeout", 15*time.Minute, "limit for one module on one side")
	flag.StringVar(&o.keep, "keep", "", "keep each run's output in this `folder`")
	flag.Parse()

	if _, ok := places[o.place]; !ok {
		return o, fmt.Errorf("-in %s: want tmp, root or volume", o.place)
	}
	var names []string
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	var err error
	if o.chosen, err = choose(names, *all); err != nil {
		return o, err
	}
	if o.machine.python, err = findPython(); err != nil {
		return o, err
	}
	if o.machine.kiln, err = filepath.Abs(o.machine.kiln); err != nil {
		return o, err
	}
	if _, err := os.Stat(o.machine.kiln); err != nil {
		return o, fmt.Errorf("no kiln command: %w (build it with ./build.sh)", err)
	}
	if o.keep != "" {
		return o, os.MkdirAll(o.keep, 0o755)
	}
	return o, nil
}

// table runs all chosen modules and reports whether every outcome was the same on
// both sides.
func table(o options) (bool, error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "kiln-cpython-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	img, err := o.machine.bake(ctx, dir)
	if err != nil {
		return false, err
	}
	var names []string
	for _, m := range o.chosen {
		names = append(names, m.name)
	}
	return outcomes.Table("module", names, func(i int) (outcomes.Row, error) { return both(ctx, o.chosen[i], img, o) }), nil
}

// both runs m on both sides.
func both(ctx context.Context, m module, img string, o options) (outcomes.Row, error) {
	r := outcomes.Row{Name: m.name}
	run := func(side string, start func(context.Context) ([]byte, error)) ([]byte, time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, o.timeout)
		defer cancel()
		began := time.Now()
		out, err := start(ctx)
		took := time.Since(began)
		if o.keep != "" {
			if err := os.WriteFile(filepath.Join(o.keep, m.name+"."+o.place+"."+side), out, 0o644); err != nil {
				return nil, 0, err
			}
		}
		return out, took, err
	}
	out, took, err := run("linux", func(ctx context.Context) ([]byte, error) {
		return o.machine.onLinux(ctx, m)
	})
	if err != nil {
		return r, err
	}
	r.Linux, r.LinuxTime = outcomes.Parse(out), took
	if broken := outcomes.Broken(out); broken != "" {
		return r, fmt.Errorf("on Linux %s", broken)
	}
	out, took, err = run("kiln", func(ctx context.Context) ([]byte, error) {
		return o.machine.onKiln(ctx, m, img, o.place)
	})
	if err != nil {
		return r, err
	}
	r.Kiln, r.KilnTime = outcomes.Parse(out), took
	r.Broken = outcomes.Broken(out)
	return r, nil
}
