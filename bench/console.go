package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// streams are what is measured of the program's standard streams: how many MB
// go out in writes of some bytes, or in. Nothing like it is there on a Linux
// guest, whose console is a serial port.
var streams = []struct {
	name string
	size int // of a write; 0: input
	mb   int
}{
	{"output in writes of 64 KB, MB/s", 65536, 200},
	{"output in writes of 4 KB, MB/s", 4096, 100},
	{"output in writes of 1 KB, MB/s", 1024, 40},
	{"input, MB/s", 0, 100},
}

// measureConsole prints how fast the program's standard streams are: for each
// the median of all rounds. A byte too few is an error.
func measureConsole(ctx context.Context, o options) error {
	program, image := filepath.Join(o.cache, "stream"), filepath.Join(o.cache, "stream.img")
	for _, argv := range [][]string{
		{"gcc", "-static", "-O2", "-o", program, "bench/guest/stream.c"},
		{o.kiln, "bake", "-o", image, program},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s (run bench in the root of the repository): %w\n%s", strings.Join(argv, " "), err, out)
		}
	}
	r := &report{Rounds: o.rounds, Accel: o.accel.qemu, Guest: "not measured"}
	for range o.rounds {
		for _, s := range streams {
			rate, err := streamRate(ctx, o, image, s.size, s.mb)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			r.add(kilnColumn, []sample{{s.name, rate}})
		}
	}
	r.describe()
	r.print(os.Stdout)
	return write(o.out, r)
}

// streamRate moves mb MB, and returns how many a second. The time of the boot
// is not in it: it begins with the first byte out, or is what reading nothing
// takes less.
func streamRate(ctx context.Context, o options, image string, size, mb int) (float64, error) {
	args := []string{"run", o.accel.kiln, "--net", "none", "-M", "128"}
	if size > 0 {
		cmd := exec.CommandContext(ctx, o.kiln, append(args, image, "--", "out", strconv.Itoa(size), strconv.Itoa(mb))...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 0, err
		}
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			return 0, fmt.Errorf("no output: %w", err)
		}
		began := time.Now()
		n, err := io.Copy(io.Discard, out)
		took := time.Since(began)
		if err == nil {
			err = cmd.Wait()
		}
		if err == nil && n+1 != int64(mb)*1_000_000 {
			err = fmt.Errorf("%d bytes came, want %d", n+1, mb*1_000_000)
		}
		return float64(mb) / took.Seconds(), err
	}
	input := func(mb int) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, o.kiln, append(args, "-i", image, "--", "in")...)
		cmd.Stdin = bytes.NewReader(make([]byte, mb*1_000_000))
		began := time.Now()
		out, err := cmd.Output()
		if want := strconv.Itoa(mb * 1_000_000); err == nil && strings.TrimSpace(string(out)) != want {
			err = fmt.Errorf("%q bytes arrived, want %s", out, want)
		}
		return time.Since(began), err
	}
	boot, err := input(0)
	if err != nil {
		return 0, err
	}
	took, err := input(mb)
	return float64(mb) / (took - boot).Seconds(), err
}
