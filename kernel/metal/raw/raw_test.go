package raw

import "testing"

// words is not in a function's frame, which may move.
var words [4]uint32

func TestAddresses(t *testing.T) {
	base := Addr(&words[0])
	*At[uint32](base + 8) = 0x04030201
	if words != [4]uint32{2: 0x04030201} {
		t.Errorf("after a write to word 2: %#x", words)
	}
	b := Bytes(base+8, 3)
	if len(b) != 3 || cap(b) != 3 || b[0] != 1 || b[2] != 3 {
		t.Errorf("Bytes = % x, capacity %d, want 01 02 03", b, cap(b))
	}
	if got := Addr(At[uint32](base + 12)); got != base+12 {
		t.Errorf("Addr(At(%#x)) = %#x", base+12, got)
	}
}
