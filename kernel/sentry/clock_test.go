package sentry

import (
	"testing"
	gotime "time"

	"gvisor.dev/gvisor/pkg/sentry/time"
	"gvisor.dev/gvisor/pkg/tcpip"

	"kiln/kernel/machine"
)

func TestFrequency(t *testing.T) {
	for _, tt := range []struct {
		rate uint64 // ns per tick, 32.32
		want uint64
		ok   bool
	}{
		{1 << 32, 1_000_000_000, true},
		{1 << 31, 2_000_000_000, true},
		{0x6aaaaaaa, 2_400_000_001, true}, // 2.4 GHz, the rate cut off
		{10 << 32, 100_000_000, true},
		{1, 0, true},
		{0, 0, false},
	} {
		got, err := frequency(tt.rate)
		if tt.rate == 1 { // 2^32 GHz
			tt.want = 1_000_000_000 << 32
		}
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("frequency(%#x) = %d, %v, want %d, success %v", tt.rate, got, err, tt.want, tt.ok)
		}
	}
}

// TestClocksAgree: what programs compute from the parameters is what the
// Sentry reads, for as long as the parameters are used.
func TestClocksAgree(t *testing.T) {
	const hz = 2_399_999_999
	rate := uint64(1_000_000_000<<32) / hz // fits 63 bits
	c, err := newClocks(machine.ClockInfo{Base: 12345, Rate: rate, Wall: 1_700_000_000_000_000_000})
	if err != nil {
		t.Fatal(err)
	}
	u := c.Update(false)
	if !u.MonotonicOk || !u.RealtimeOk {
		t.Fatalf("Update = %+v, want both clocks", u)
	}
	for _, seconds := range []int64{0, 1, 2, 3600} {
		tsc := u.Monotonic.BaseCycles + time.TSCValue(seconds*hz)
		got, ok := u.Monotonic.ComputeTime(tsc)
		want := c.monotonic(tsc)
		// Half a Hz of 2.4 GHz, and the rate's last bit.
		if diff := got - want; !ok || diff > 2+2*seconds || diff < -2-2*seconds {
			t.Errorf("after %d s programs read %d, %v, the Sentry %d", seconds, got, ok, want)
		}
	}
	if d := int64(u.Realtime.BaseRef - u.Monotonic.BaseRef); d != 1_700_000_000_000_000_000 {
		t.Errorf("real time is %d ns ahead of monotonic time, want the wall offset", d)
	}
}

func TestGetTime(t *testing.T) {
	c, err := newClocks(machine.ClockInfo{Rate: 1 << 32, Wall: 1000})
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for range 1000 {
		now, err := c.GetTime(time.Monotonic)
		if err != nil || now < last {
			t.Fatalf("GetTime = %d, %v, after %d", now, err, last)
		}
		last = now
	}
	if _, err := c.GetTime(99); err == nil {
		t.Error("GetTime of no clock succeeded")
	}
}

// TestPacketClock: the network's clock is the Sentry's, and its timers run.
func TestPacketClock(t *testing.T) {
	c, err := newClocks(machine.ClockInfo{Rate: 1 << 32, Wall: 1000})
	if err != nil {
		t.Fatal(err)
	}
	p := packetClock{c}
	before, err := c.GetTime(time.Monotonic)
	if err != nil {
		t.Fatal(err)
	}
	mono, wall := p.NowMonotonic().Sub(tcpip.MonotonicTime{}).Nanoseconds(), p.Now().UnixNano()
	after, err := c.GetTime(time.Realtime)
	if err != nil {
		t.Fatal(err)
	}
	if before > mono || mono > wall-1000 || wall > after {
		t.Errorf("monotonic %d, real %d, want them in order between %d and %d", mono, wall, before, after)
	}
	fired := make(chan bool)
	timer := p.AfterFunc(gotime.Hour, func() { fired <- true })
	timer.Reset(0)
	<-fired
	if timer.Stop() {
		t.Error("Stop() of a timer that has run = true")
	}
}

func TestMonotonicTime(t *testing.T) {
	for _, ns := range []int64{0, 1, 1_700_000_000_123_456_789} {
		if got, want := monotonicTime(ns), (tcpip.MonotonicTime{}).Add(gotime.Duration(ns)); got != want {
			t.Errorf("monotonicTime(%d) = %v, want %v", ns, got, want)
		}
	}
}
