package random

import (
	"bytes"
	"testing"

	"kiln/kernel/metal/cpu"
)

// TestRDRAND: the instruction's words are given as they are, and a word that it
// refuses is made of the time stamp counter.
func TestRDRAND(t *testing.T) {
	words := []uint64{0x0807060504030201, 0x1817161514131211}
	cpu.Random = func() (uint64, bool) {
		if len(words) == 0 {
			return 0, false
		}
		w := words[0]
		words = words[1:]
		return w, true
	}
	tsc := uint64(1000)
	cpu.TSC = func() uint64 { tsc += 37; return tsc }
	s := Source{HaveRDRAND: true}
	p := make([]byte, 11)
	s.Fill(p)
	if want := []byte{1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13}; !bytes.Equal(p, want) {
		t.Errorf("Fill = % x, want % x", p, want)
	}
	if a, b := s.Word(), s.Word(); a == b || a == 0 {
		t.Errorf("without RDRAND's word: %#x, then %#x", a, b)
	}
}

// TestCounter: without RDRAND, words of a counter that hardly moves differ, and
// all bits change.
func TestCounter(t *testing.T) {
	cpu.Random = func() (uint64, bool) { t.Error("RDRAND was used"); return 0, true }
	tsc := uint64(0)
	cpu.TSC = func() uint64 { tsc++; return tsc }
	var s Source
	seen := map[uint64]bool{}
	var ones, zeros uint64
	for range 1000 {
		w := s.Word()
		if seen[w] {
			t.Fatalf("%#x came twice", w)
		}
		seen[w] = true
		ones |= w
		zeros |= ^w
	}
	if ones != 1<<64-1 || zeros != 1<<64-1 {
		t.Errorf("bits that were ever 1: %#x, ever 0: %#x", ones, zeros)
	}
}
