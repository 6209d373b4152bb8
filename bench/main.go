// Command bench compares Kiln with a Debian cloud-kernel guest: the same
// programs on the same QEMU, accelerator, CPU model and memory, in interleaved
// rounds of one run. It prints a table of ratios and writes all values with
// the machine as JSON.
//
//	sudo go run ./bench [-rounds 5] [-only linux] [-part nginx] [-o result.json]
//
// It needs root, for a tap in a network namespace of its own; bash and apt do
// the rest: Debian's kernel package is downloaded and unpacked, not installed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"kiln/test/linuxguest"
)

type options struct {
	rounds   int
	only     string // "kiln", "linux" or "" for both
	kiln     string
	cache    string
	out      string
	accel    accelerator
	part     string // "" for all
	short    bool
	machines bool
	console  bool
}

func main() {
	var o options
	kvm := flag.Bool("kvm", false, "use KVM instead of TCG on both sides")
	flag.IntVar(&o.rounds, "rounds", 5, "number of rounds")
	flag.StringVar(&o.only, "only", "", "measure only `kiln` or linux")
	flag.StringVar(&o.kiln, "kiln", "bin/kiln", "the kiln `command`")
	flag.StringVar(&o.cache, "cache", "build/bench", "`folder` for the Linux kernel and images")
	flag.StringVar(&o.out, "o", "", "write JSON to this `file`")
	flag.BoolVar(&o.machines, "machines", false, "only find the Linux guest's fastest machine type")
	flag.StringVar(&o.part, "part", "", "measure only a `part`: "+strings.Join(partNames(), ", "))
	flag.BoolVar(&o.short, "short", false, "load servers for a moment only: to see that the benchmark works")
	flag.BoolVar(&o.console, "console", false, "measure only Kiln's standard streams, for which root is not needed")
	flag.Parse()
	o.accel = accelerator{"tcg", "qemu"}
	if *kvm {
		o.accel = accelerator{"kvm", "kvm"}
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.part != "" && !slices.Contains(partNames(), o.part) {
		return fmt.Errorf("-part %s: the parts are %s", o.part, strings.Join(partNames(), ", "))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return err
	}
	if o.console {
		return measureConsole(ctx, o)
	}
	net, err := newNetwork(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := net.close(); err == nil {
			err = closeErr
		}
	}()
	programs, err := compile(ctx, o.cache)
	if err != nil {
		return err
	}
	if err := makeDisk(ctx, o.cache); err != nil {
		return err
	}
	if err := makeSite(o.cache); err != nil {
		return err
	}
	linux := linuxSystem{dir: o.cache, accel: o.accel, net: net}
	kiln := kilnSystem{kiln: o.kiln, dir: o.cache, accel: o.accel, net: net}
	r := &report{Rounds: o.rounds, Accel: o.accel.qemu, Guest: "none"}
	r.describe()

	var contestants []contestant
	if o.only != "kiln" {
		if linux.kernel, err = linuxguest.Fetch(ctx, filepath.Join(o.cache, "linux")); err != nil {
			return err
		}
		r.Guest = "Linux " + linux.kernel.Version
		if err := linux.prepare(ctx, programs); err != nil {
			return err
		}
		contestants = append(contestants, contestant{"Linux", linux, linuxColumn})
	}
	if o.machines {
		return compareMachines(ctx, linux, o.rounds)
	}
	if o.only != "linux" {
		if err := kiln.prepare(ctx, programs); err != nil {
			return err
		}
		contestants = append(contestants, contestant{"Kiln", kiln, kilnColumn})
	}
	if err := rounds(ctx, o, contestants, net, r); err != nil {
		return err
	}
	r.print(os.Stdout)
	return write(o.out, r)
}

// compile builds the programs that both systems run; Redis is Debian's.
func compile(ctx context.Context, dir string) (map[program]string, error) {
	programs := map[program]string{
		hello:       filepath.Join(dir, "hello"),
		syscalls:    filepath.Join(dir, "syscalls"),
		storage:     filepath.Join(dir, "storage"),
		redis:       "/usr/bin/redis-server",
		redisAppend: "/usr/bin/redis-server",
		nginx:       "/usr/sbin/nginx",
	}
	for p, src := range map[program]string{hello: "examples/hello/hello.c", syscalls: "bench/guest/syscalls.c", storage: "bench/guest/storage.c"} {
		out, err := exec.CommandContext(ctx, "gcc", "-static", "-O2", "-pthread", "-o", programs[p], src).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("compiling %s (run bench in the root of the repository): %w\n%s", src, err, out)
		}
	}
	return programs, nil
}

// A contestant is a system with its column in the report.
type contestant struct {
	name   string
	system system
	column func(*measure) *[]float64
}

// A part is what -part chooses.
type part struct {
	name    string
	once    bool // measured in the first round only
	measure func(system, *network, options) ([]sample, error)
}

var parts = []part{
	{"size", true, func(s system, _ *network, _ options) ([]sample, error) { return sizes(s) }},
	{"memory", true, func(s system, _ *network, _ options) ([]sample, error) { return smallestMemory(s) }},
	{"boot", false, func(s system, _ *network, _ options) ([]sample, error) { return bootTime(s) }},
	{"calls", false, func(s system, _ *network, _ options) ([]sample, error) { return callTimes(s) }},
	{"redis", false, func(s system, n *network, _ options) ([]sample, error) { return redisRates(s, n) }},
	{"nginx", false, nginxRates},
	{"disk", false, func(s system, _ *network, _ options) ([]sample, error) { return storageRates(s) }},
	{"append", false, func(s system, n *network, _ options) ([]sample, error) { return redisAppendRates(s, n) }},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// rounds measures everything several times, the systems taking turns, so that a
// change in the machine's load meets both.
func rounds(ctx context.Context, o options, contestants []contestant, net *network, r *report) error {
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "bench: round %d of %d\n", round+1, o.rounds)
		for _, p := range parts {
			if o.part != "" && p.name != o.part || p.once && round > 0 {
				continue
			}
			for _, c := range contestants {
				if err := ctx.Err(); err != nil {
					return err
				}
				samples, err := p.measure(c.system, net, o)
				if err != nil {
					// One failed guest must not lose the others'
					// values, but it must be seen.
					r.Failures = append(r.Failures, fmt.Sprintf("round %d, %s: %v", round+1, c.name, err))
					continue
				}
				r.add(c.column, samples)
			}
		}
	}
	return nil
}

func write(name string, r *report) error {
	if name != "" {
		data, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	if len(r.Failures) > 0 {
		return fmt.Errorf("%d measurements failed", len(r.Failures))
	}
	return nil
}
