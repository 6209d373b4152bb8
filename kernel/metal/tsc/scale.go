// Package tsc turns a counter into time: the time stamp counter, or a timer's
// ticks. It is arithmetic only; what reads counters is the caller.
//
// Context: any. Locking: none; a Scale is a value.
package tsc

import "math/bits"

// Scale is a factor between ticks and ns, in 32.32 fixed point.
type Scale uint64

// second is in ns.
const second = 1_000_000_000

// Of returns n times the factor.
func (s Scale) Of(n uint64) uint64 {
	hi, lo := bits.Mul64(n, uint64(s))
	return hi<<32 | lo>>32
}

// Period returns ns for each tick of a counter of hz ticks a second, which is
// not 0.
func Period(hz uint64) Scale {
	q, _ := bits.Div64(second>>32, second<<32&(1<<64-1), hz)
	return Scale(q)
}

// Rate returns ticks for each ns of a counter of hz ticks a second.
func Rate(hz uint64) Scale {
	q, _ := bits.Div64(hz>>32, hz<<32, second)
	return Scale(q)
}

// Inverse returns ticks for each ns of a counter with ns for each tick, which
// is above 1, that is 2^-32 ns.
func (s Scale) Inverse() Scale {
	q, _ := bits.Div64(1, 0, uint64(s))
	return Scale(q)
}

// KVM returns ns for each tick as KVM tells them (Linux,
// Documentation/virt/kvm/x86/msr.rst): ticks, shifted, times mul, over 2^32.
func KVM(mul uint32, shift int8) Scale {
	if shift >= 0 {
		return Scale(mul) << uint(shift)
	}
	return Scale(mul) >> uint(-shift)
}

// Hz returns how many ticks of one counter there are in a second, if it made
// ticks while another, of hz ticks a second, made others, which is not 0. It
// returns 0 if that is too many.
func Hz(ticks, hz, others uint64) uint64 {
	hi, lo := bits.Mul64(ticks, hz)
	if hi >= others {
		return 0
	}
	q, _ := bits.Div64(hi, lo, others)
	return q
}
