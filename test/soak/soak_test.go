// Package soak_test leaves a default guest under load for a time and looks
// whether anything is used up: short connections of the loopback in four kinds,
// programs, files on an ext4 volume, threads, connections to a published port,
// and Redis, which saves every 30 s. At the end the guest has as much memory as
// after its warm-up, nothing was killed, and a second boot finds all that was
// acknowledged.
//
// The ordinary test takes two minutes, KILN_LONG=1 an hour, with the counts of
// each in proportion.
package soak_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The counts of an hour.
const (
	connectionsPerHour = 1_000_000
	othersPerHour      = 100_000
)

const (
	// warmUp is when memory is first looked at: closed connections are kept
	// for a minute, and the database and the caches have what they will have.
	warmUp = 75 * time.Second

	// deviation is how much less memory there may be at the end, as a part of
	// what there was after the warm-up.
	deviation = 0.03
)

var memory = flag.Int("memory", 0, "memory of the machine in MB, to compare (default what a guest has)")

var duration = flag.Duration("duration", 0, "how long (default two minutes, or an hour with KILN_LONG=1)")

func TestSoak(t *testing.T) {
	long := *duration
	if long == 0 {
		long = 2 * time.Minute
		if os.Getenv("KILN_LONG") != "" {
			long = time.Hour
		}
	}
	r := newRig(t)
	share := long.Hours()
	others := int(share * othersPerHour)
	g := r.boot(long, int(share*connectionsPerHour), others)
	load := r.startLoad(g, long, others)
	g.wait("worked", 6*long+bootTime) // the machine may be busy
	counts := load.stop()
	g.finish()
	t.Logf("%d connections to the published port, %d writes acknowledged, %d saves of the database",
		counts.connections, counts.writes, counts.saves)
	if counts.connections < others {
		t.Errorf("%d connections to the published port were made, want %d", counts.connections, others)
	}
	r.checkMemory(g, long)
	r.checkVolume()
	r.verify(others, load.ledger)
}

// checkMemory compares the memory after the warm-up with that at the end. Each is
// the median of three figures: garbage that is not collected yet moves a single
// one by more than what is looked for.
func (r *rig) checkMemory(g *guest, long time.Duration) {
	r.t.Helper()
	first := slices.IndexFunc(g.samples, func(s sample) bool { return s.at >= warmUp })
	if first < 0 || len(g.samples)-first < 4 {
		if long > warmUp {
			r.t.Errorf("there are too few figures after %v: %v", warmUp, g.samples)
		}
		return
	}
	after, last := median(g.samples[first:first+3]), median(g.samples[len(g.samples)-3:])
	r.t.Logf("available after %v: %d KB, after %v: %d KB (%+.1f %%)", g.samples[first].at, after,
		g.samples[len(g.samples)-1].at, last, 100*(float64(last)/float64(after)-1))
	if float64(last) < (1-deviation)*float64(after) {
		r.t.Errorf("%d KB of memory are left of the %d KB after the warm-up", last, after)
	}
}

// median returns the middle one of what three samples have available.
func median(three []sample) int64 {
	values := []int64{three[0].available, three[1].available, three[2].available}
	slices.Sort(values)
	return values[1]
}

// verify boots the guest again and looks for all that was acknowledged: the last
// of so many files, and what the ledger says.
func (r *rig) verify(made int, l *ledger) {
	r.t.Helper()
	files := r.start("verify", fmt.Sprint(made))
	files.finish()
	if !strings.Contains(files.output(), "verified") {
		r.t.Errorf("the files were not verified:\n%s", files.output())
	}
	g := r.boot(time.Second, 0, 0)
	g.wait("worked", bootTime)
	c := r.redis(g)
	defer c.Close()
	if err := l.verify(c); err != nil {
		r.t.Errorf("the database after the second boot: %v", err)
	}
	if err := c.Send("SHUTDOWN"); err != nil {
		r.t.Error(err)
	}
	g.finish()
}
