// Package rtc reads the real-time clock (Motorola MC146818, which PCs have
// behind ports 0x70 and 0x71).
//
// Context: boot. Locking: none; one CPU runs.
package rtc

import "kiln/kernel/metal/cpu"

const (
	portIndex = 0x70 // W; bit 7 keeps NMI off
	portData  = 0x71

	regSecond  = 0x00
	regMinute  = 0x02
	regHour    = 0x04
	regDay     = 0x07
	regMonth   = 0x08
	regYear    = 0x09
	regA       = 0x0a
	regB       = 0x0b
	regD       = 0x0d
	regCentury = 0x32 // where PCs have it

	updating  = 0x80   // regA
	binary    = 1 << 2 // regB: not BCD
	hours24   = 1 << 1 // regB
	validRAM  = 0x80   // regD
	afternoon = 0x80   // of the hour, where there are 12
)

func read(reg uint8) uint64 {
	cpu.Out8(portIndex, reg|0x80)
	return uint64(cpu.In8(portData))
}

// Present reports whether there is a clock that keeps time.
func Present() bool { return read(regD)&validRAM != 0 && read(regA) != 0xff }

// Time returns seconds since the Unix epoch.
func Time() uint64 {
	var v, last [7]uint64
	for range 100 { // until two readings agree
		for range 100_000 {
			if read(regA)&updating == 0 {
				break
			}
		}
		v = [7]uint64{read(regSecond), read(regMinute), read(regHour), read(regDay), read(regMonth), read(regYear), read(regCentury)}
		if v == last {
			break
		}
		last = v
	}
	status := read(regB)
	pm := v[2] & afternoon
	v[2] &^= afternoon
	if status&binary == 0 {
		for i := range v {
			v[i] = v[i]>>4*10 + v[i]&15
		}
	}
	if status&hours24 == 0 {
		v[2] %= 12
		if pm != 0 {
			v[2] += 12
		}
	}
	century := v[6]
	if century < 19 || century > 29 {
		century = 20
	}
	return unixSeconds(century*100+v[5], v[4], v[3], v[2], v[1], v[0])
}

// unixSeconds converts a Gregorian date and time, from 1970 on, to seconds
// since the epoch.
func unixSeconds(year, month, day, hour, min, sec uint64) uint64 {
	// Years from March, so that the leap day is the last.
	if month <= 2 {
		year--
		month += 12
	}
	days := 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468
	return ((days*24+hour)*60+min)*60 + sec
}

// maxSecond is more TSC ticks than any CPU has in two seconds.
const maxSecond = 20_000_000_000

// NextSecond waits for the next second and returns the time stamp counter then,
// and how many ticks that may be off. It returns 0 if none comes.
func NextSecond() (tsc, spread uint64) {
	start := cpu.TSC()
	first := read(regSecond)
	for before := start; before-start < maxSecond; {
		second := read(regSecond)
		after := cpu.TSC()
		if second != first {
			return before + (after-before)/2, after - before
		}
		before = after
	}
	return 0, 0
}
