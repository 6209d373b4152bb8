// Command stdlib runs the standard library's own tests on the metal layer,
// each test binary as the kernel program of an image, and prints a table that
// compares every test's outcome with the same test on Linux. With -programs it
// runs tests that ask for files, processes and a network, each test binary as an
// ordinary program of an image.
//
//	go run ./test/stdlib [-programs] [-fast] [-only PKG,…] [-timeout 10m] [-keep DIR]
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
	machine  machine
	programs bool // the chosen packages' tests run as programs
	chosen   []pkg
	timeout  time.Duration // for one package on one side
	keep     string        // folder for outputs; "" for none
}

func main() {
	opts, err := parseFlags()
	if err != nil {
		fmt.Fprintln(os.Stderr, "stdlib: error:", err)
		os.Exit(2)
	}
	if !table(opts) {
		os.Exit(1)
	}
}

func parseFlags() (options, error) {
	var (
		o    options
		fast = flag.Bool("fast", false, "run the fast packages")
		only = flag.String("only", "", "run these `packages`, comma-separated")
	)
	flag.BoolVar(&o.programs, "programs", false, "run packages that ask for files, processes and a network, as programs")
	flag.StringVar(&o.machine.kiln, "kiln", "bin/kiln", "the kiln `command`")
	flag.StringVar(&o.machine.accel, "accel", "auto", "kvm, qemu or auto")
	flag.IntVar(&o.machine.memory, "M", 1024, "guest memory in `MB`")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "limit for one package")
	flag.StringVar(&o.keep, "keep", "", "keep each run's output in this `folder`")
	flag.Parse()

	var names []string
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	packages, except := packages, skipsText
	if o.programs {
		packages, except = programs, exceptionsText
	}
	chosen, unknown := choose(packages, names, *fast)
	if unknown != "" {
		return o, fmt.Errorf("package %s is not in the table", unknown)
	}
	skips, err := outcomes.ParseExceptions(except)
	if err != nil {
		return o, err
	}
	for i := range chosen {
		chosen[i].skip = skips[chosen[i].path]
	}
	o.chosen = chosen
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

// table runs all chosen packages and reports whether every outcome was the
// same on both sides.
func table(o options) bool {
	var names []string
	for _, p := range o.chosen {
		names = append(names, p.path)
	}
	return outcomes.Table("package", names, func(i int) (outcomes.Row, error) { return both(o.chosen[i], o) })
}

// both compiles p for both sides and runs it on both.
func both(p pkg, o options) (outcomes.Row, error) {
	r := outcomes.Row{Name: p.path}
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "kiln-stdlib-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)

	run := func(side string, build func(context.Context, pkg, string) (string, error),
		start func(context.Context, pkg, string, time.Duration) ([]byte, error),
	) ([]byte, time.Duration, error) {
		bin, err := build(ctx, p, dir)
		if err != nil {
			return nil, 0, err
		}
		// The test binary's own limit comes first: it prints where it hangs.
		ctx, cancel := context.WithTimeout(ctx, o.timeout+10*time.Second)
		defer cancel()
		began := time.Now()
		out, err := start(ctx, p, bin, o.timeout)
		took := time.Since(began)
		if o.keep != "" {
			name := strings.ReplaceAll(p.path, "/", "_") + "." + side
			if err := os.WriteFile(filepath.Join(o.keep, name), out, 0o644); err != nil {
				return nil, 0, err
			}
		}
		return out, took, err
	}

	out, took, err := run("linux", linuxBinary, onLinux)
	if err != nil {
		return r, err
	}
	r.Linux, r.LinuxTime = outcomes.Parse(out), took
	if len(r.Linux) == 0 {
		return r, fmt.Errorf("no test ran on Linux:\n%s", out)
	}
	if o.programs {
		out, took, err = run("program", linuxBinary, o.machine.onKiln)
	} else {
		out, took, err = run("metal", metalBinary, o.machine.onMetal)
	}
	if err != nil {
		return r, err
	}
	r.Kiln, r.KilnTime = outcomes.Parse(out), took
	r.Broken = outcomes.Broken(out)
	return r, nil
}
