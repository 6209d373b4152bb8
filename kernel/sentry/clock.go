package sentry

import (
	"fmt"
	"math/bits"
	gotime "time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/time"
	"gvisor.dev/gvisor/pkg/tcpip"

	"kiln/kernel/machine"
)

// clocks are the Sentry's clocks. It implements time.Clocks.
//
// The Sentry's own implementation measures the host's clock against the time
// stamp counter, and until it knows the rate, after a second, programs read
// the time by system calls. Here the host's clock is the counter times a rate
// that metal knows: programs read it by themselves from the start, and there
// is nothing to correct.
type clocks struct {
	info      machine.ClockInfo
	frequency uint64 // of the time stamp counter, Hz
}

func newClocks(info machine.ClockInfo) (*clocks, error) {
	hz, err := frequency(info.Rate)
	return &clocks{info, hz}, err
}

// frequency returns how many ticks a second has if one takes rate ns, in 32.32
// fixed point.
func frequency(rate uint64) (hz uint64, err error) {
	const second = 1_000_000_000
	if rate <= second>>32 { // the quotient would not fit
		return 0, fmt.Errorf("clock: a tick of %#x/2^32 ns", rate)
	}
	hz, rest := bits.Div64(second>>32, second<<32&(1<<64-1), rate)
	if rest > rate/2 {
		hz++
	}
	return hz, nil
}

// Update implements time.Clocks. Each update starts again from the exact time,
// so that rounding the frequency to 1 Hz does not add up.
func (c *clocks) Update(bool) time.UpdateResult {
	now := time.Rdtsc()
	mono := c.monotonic(now)
	params := func(ns int64) time.Parameters {
		return time.Parameters{BaseCycles: now, BaseRef: time.ReferenceNS(ns), Frequency: c.frequency}
	}
	return time.UpdateResult{
		Monotonic: params(mono), MonotonicOk: true,
		Realtime: params(mono + int64(c.info.Wall)), RealtimeOk: true,
	}
}

// GetTime implements time.Clocks.
func (c *clocks) GetTime(id time.ClockID) (int64, error) {
	now := c.monotonic(time.Rdtsc())
	switch id {
	case time.Monotonic, time.MonotonicRaw:
		return now, nil
	case time.Realtime:
		return now + int64(c.info.Wall), nil
	}
	return 0, unix.EINVAL
}

// monotonic returns metal's CLOCK_MONOTONIC in ns at a value of the counter.
func (c *clocks) monotonic(tsc time.TSCValue) int64 {
	hi, lo := bits.Mul64(uint64(tsc)-c.info.Base, c.info.Rate)
	return int64(hi<<32 | lo>>32)
}

// MonotonicRawEnabled implements time.Clocks: nothing ever adjusts the
// monotonic clock, so the raw one is the same.
func (*clocks) MonotonicRawEnabled() bool { return false }

// packetClock is the network stack's clock. The Sentry's Timekeeper shows the
// same time, and can be stopped and restored on another machine, which costs
// what each of the several looks per packet would pay.
type packetClock struct{ *clocks }

var _ tcpip.Clock = packetClock{}

// Now implements tcpip.Clock.
func (c packetClock) Now() gotime.Time {
	return gotime.Unix(0, c.monotonic(time.Rdtsc())+int64(c.info.Wall))
}

// NowMonotonic implements tcpip.Clock.
func (c packetClock) NowMonotonic() tcpip.MonotonicTime {
	return monotonicTime(c.monotonic(time.Rdtsc()))
}

// AfterFunc implements tcpip.Clock.
func (packetClock) AfterFunc(d gotime.Duration, f func()) tcpip.Timer {
	return tcpip.NewStdTimer(gotime.AfterFunc(d, f))
}
