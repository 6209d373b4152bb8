// Package random makes the bits that getrandom(2) and /dev/urandom give.
//
// Context: trap context. Locking: the caller holds the lock that guards the
// Source.
package random

import "kiln/kernel/metal/cpu"

// Source gives random words. The zero value does without RDRAND.
type Source struct {
	// HaveRDRAND says that the CPU has the instruction. Asking the CPU each
	// time would be slow: a hypervisor intercepts CPUID.
	HaveRDRAND bool
	// state is that of a xorshift generator that whitens the time stamp
	// counter where the CPU has no RDRAND.
	state uint64
}

// Word returns 64 bits from RDRAND, or, where there is none, bits that only the
// jitter of the time stamp counter makes hard to guess.
func (s *Source) Word() uint64 {
	if s.HaveRDRAND {
		if v, ok := cpu.Random(); ok {
			return v
		}
	}
	for range 16 {
		s.state ^= cpu.TSC()
		s.state ^= s.state << 13
		s.state ^= s.state >> 7
		s.state ^= s.state << 17
	}
	return s.state
}

// Fill fills p.
func (s *Source) Fill(p []byte) {
	for len(p) > 0 {
		w := s.Word()
		for i := 0; i < 8 && len(p) > 0; i++ {
			p[0] = byte(w)
			w >>= 8
			p = p[1:]
		}
	}
}
