package rtc

import (
	"testing"
	"time"

	"kiln/kernel/metal/cpu"
)

// TestUnixSeconds compares the calendar with known dates.
func TestUnixSeconds(t *testing.T) {
	tests := []struct {
		y, mo, d, h, mi, s uint64
		want               uint64
	}{
		{1970, 1, 1, 0, 0, 0, 0},
		{2000, 2, 29, 12, 0, 0, 951825600},
		{2000, 3, 1, 0, 0, 0, 951868800},
		{2024, 12, 31, 23, 59, 59, 1735689599},
		{2026, 11, 24, 3, 54, 42, 1795492482},
		{2100, 3, 1, 0, 0, 0, 4107542400},
	}
	for _, tt := range tests {
		if got := unixSeconds(tt.y, tt.mo, tt.d, tt.h, tt.mi, tt.s); got != tt.want {
			t.Errorf("unixSeconds(%d-%d-%d %d:%d:%d) = %d, want %d", tt.y, tt.mo, tt.d, tt.h, tt.mi, tt.s, got, tt.want)
		}
	}
}

// chip is an MC146818 whose time is now.
type chip struct {
	absent  bool
	binary  bool // not BCD
	hours24 bool
	century bool // register 0x32 is what PCs have there
	now     time.Time
	index   uint8
	busy    int // reads for which an update is in progress
	tsc     uint64
	stopped bool
}

func (c *chip) connect() {
	cpu.Out8 = func(port uint16, v uint8) {
		if port == portIndex {
			c.index = v & 0x7f
		}
	}
	cpu.In8 = func(uint16) uint8 { return c.register() }
	cpu.TSC = func() uint64 { c.tsc += 1000; return c.tsc }
}

func (c *chip) number(n int) uint8 {
	if c.binary {
		return uint8(n)
	}
	return uint8(n/10<<4 | n%10)
}

func (c *chip) register() uint8 {
	if c.absent {
		return 0xff
	}
	switch c.index {
	case regSecond:
		if !c.stopped {
			c.now = c.now.Add(10 * time.Millisecond) // what a reading takes here
		}
		return c.number(c.now.Second())
	case regMinute:
		return c.number(c.now.Minute())
	case regHour:
		if c.hours24 {
			return c.number(c.now.Hour())
		}
		hour := c.number((c.now.Hour()+11)%12 + 1)
		if c.now.Hour() >= 12 {
			hour |= afternoon
		}
		return hour
	case regDay:
		return c.number(c.now.Day())
	case regMonth:
		return c.number(int(c.now.Month()))
	case regYear:
		return c.number(c.now.Year() % 100)
	case regA:
		if c.busy > 0 {
			c.busy--
			return updating
		}
	case regB:
		v := uint8(0)
		if c.binary {
			v |= binary
		}
		if c.hours24 {
			v |= hours24
		}
		return v
	case regD:
		return validRAM
	case regCentury:
		if c.century {
			return c.number(c.now.Year() / 100)
		}
	}
	return 0
}

// TestTime reads every hour of a day that is a leap day, in every mode.
func TestTime(t *testing.T) {
	for mode := range 8 {
		for hour := range 24 {
			c := &chip{binary: mode&1 != 0, hours24: mode&2 != 0, century: mode&4 != 0, busy: 3,
				now: time.Date(2028, 2, 29, hour, 59, 59, 985e6, time.UTC)} // the hour changes between readings
			c.connect()
			got, want := time.Unix(int64(Time()), 0).UTC(), c.now.Truncate(time.Second)
			if !got.Equal(want) {
				t.Errorf("mode %d: %v, want %v", mode, got, want)
			}
		}
	}
}

func TestPresent(t *testing.T) {
	for _, absent := range []bool{false, true} {
		c := &chip{absent: absent}
		c.connect()
		if got := Present(); got == absent {
			t.Errorf("Present = %v of a chip that is absent: %v", got, absent)
		}
	}
}

// TestNextSecond: the counter is told between the readings of the old and the
// new second; a chip that stands still is given up.
func TestNextSecond(t *testing.T) {
	c := &chip{now: time.Date(2028, 2, 29, 1, 2, 3, 0, time.UTC)}
	c.connect()
	tsc, spread := NextSecond()
	if c.now.Second() != 4 || spread != 1000 || tsc != c.tsc-500 {
		t.Errorf("NextSecond = %d ± %d at %d, second %d", tsc, spread, c.tsc, c.now.Second())
	}
	c.stopped = true
	if tsc, _ := NextSecond(); tsc != 0 {
		t.Errorf("NextSecond of a chip that stands still = %d", tsc)
	}
}
