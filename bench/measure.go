package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A sample is one value that one round measured on one system.
type sample struct {
	name  string
	value float64
}

// bootTime measures from starting the command to the program's first output.
// For Kiln this includes what kiln run itself does.
func bootTime(s system) ([]sample, error) {
	took, _, err := runUntil(s, hello, 256, "hello, kiln", time.Minute)
	return []sample{{"hello: start to first output, ms", took.Seconds() * 1000}}, err
}

// callTimes runs the system-call program and reads its lines.
func callTimes(s system) ([]sample, error) {
	_, out, err := runUntil(s, syscalls, 256, "syscalls: ok", 3*time.Minute)
	if err != nil {
		return nil, err
	}
	return parseCalls(out), nil
}

// parseCalls reads lines "NAME MICROSECONDS" and passes over the others, such as
// those of Linux' that begin with a time in brackets.
func parseCalls(out string) []sample {
	var samples []sample
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '[' {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			samples = append(samples, sample{line[:i] + ", µs", v})
		}
	}
	return samples
}

// redisLoads are the ways in which redis-benchmark is run.
var redisLoads = []struct {
	name string
	args []string
}{
	{"redis", []string{"-n", "20000", "-c", "50"}},
	{"redis -P 16", []string{"-n", "20000", "-c", "50", "-P", "16"}},
	{"redis -c 1", []string{"-n", "3000", "-c", "1"}},
}

// redisRates boots Redis and measures its requests per second over the tap.
func redisRates(s system, n *network) (samples []sample, err error) {
	g, end, err := startRedis(s, redis)
	if err != nil {
		return nil, err
	}
	defer func() { err = end(err) }()
	for _, load := range redisLoads {
		rates, err := g.redisLoad(n, load.name, append([]string{"-t", "set,get"}, load.args...))
		if err != nil {
			return nil, err
		}
		samples = append(samples, rates...)
	}
	return samples, nil
}

// redisRun boots Redis as p says and measures one load.
func redisRun(s system, n *network, p program, name string, args []string) (samples []sample, err error) {
	g, end, err := startRedis(s, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = end(err) }()
	return g.redisLoad(n, name, args)
}

// startRedis boots Redis. end stops it, and returns the error that it is given,
// or else its own.
func startRedis(s system, p program) (g *guest, end func(error) error, err error) {
	return startServer(s, p, "Ready to accept connections")
}

// startServer boots a server, until it prints that it serves.
func startServer(s system, p program, serves string) (g *guest, end func(error) error, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	if g, err = start(s.command(ctx, p, 256)); err != nil {
		cancel()
		return nil, nil, err
	}
	end = func(err error) error {
		defer cancel()
		if stopErr := g.stop(); err == nil {
			err = stopErr
		}
		return err
	}
	if _, err := g.console.await(serves); err != nil {
		return nil, nil, end(err)
	}
	return g, end, nil
}

// redisLoad runs redis-benchmark.
func (g *guest) redisLoad(n *network, name string, args []string) ([]sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	argv := append([]string{"redis-benchmark", "-h", guestAddr, "--csv"}, args...)
	out, err := n.output(ctx, argv...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; console:\n%s", strings.Join(argv, " "), err, g.console.tail())
	}
	return parseRates(name, string(out))
}

// parseRates reads redis-benchmark's CSV: a header, then the test's name and
// its requests per second in the first two columns.
func parseRates(load, out string) ([]sample, error) {
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(records) < 2 {
		return nil, fmt.Errorf("redis-benchmark printed no table (%v):\n%s", err, out)
	}
	var samples []sample
	for _, r := range records[1:] {
		v, err := strconv.ParseFloat(r[1], 64)
		if err != nil {
			return nil, fmt.Errorf("redis-benchmark: rate %q: %w", r[1], err)
		}
		samples = append(samples, sample{load + " " + r[0] + ", requests/s", v})
	}
	return samples, nil
}

// smallestMemory finds the least memory, in steps of 4 MB, in which hello
// runs.
func smallestMemory(s system) ([]sample, error) {
	low, high := 4, 512 // MB: too little, enough
	for high-low > 4 {
		mid := (low + high) / 2 / 4 * 4
		if _, _, err := runUntil(s, hello, mid, "hello, kiln", 15*time.Second); err != nil {
			low = mid
		} else {
			high = mid
		}
	}
	if high == 512 {
		return nil, fmt.Errorf("hello does not run in 512 MB")
	}
	return []sample{{"hello: smallest memory, MB", float64(high)}}, nil
}

// sizes reports what must be stored to run each program.
func sizes(s system) ([]sample, error) {
	var samples []sample
	for _, p := range []program{hello, redis} {
		n, err := s.size(p)
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample{string(p) + ": size, MB", float64(n) / 1e6})
	}
	return samples, nil
}
