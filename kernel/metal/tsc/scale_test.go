package tsc

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// exact returns n * num / den.
func exact(n, num, den uint64) *big.Int {
	v := new(big.Int).Mul(new(big.Int).SetUint64(n), new(big.Int).SetUint64(num))
	return v.Div(v, new(big.Int).SetUint64(den))
}

// near reports whether got is off by less than a part in 2^parts of want, or 1.
func near(got uint64, want *big.Int, parts uint) bool {
	d := new(big.Int).Sub(new(big.Int).SetUint64(got), want)
	d.Abs(d)
	limit := new(big.Int).Rsh(want, parts)
	return d.Cmp(limit.Add(limit, big.NewInt(1))) <= 0
}

// TestScales compares conversions with exact arithmetic, for counters of 1 MHz
// to 10 GHz and times of up to a century.
func TestScales(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		hz := 1_000_000 + r.Uint64N(10_000_000_000)
		ns := r.Uint64N(3_000_000_000_000_000_000 >> r.UintN(50))
		period, rate := Period(hz), Rate(hz)
		ticks := exact(ns, hz, second)
		if !ticks.IsUint64() {
			continue
		}
		// A factor has 32 bits behind the point: of a small one, few are left.
		if got := rate.Of(ns); !near(got, ticks, 21) {
			t.Fatalf("%d ns at %d Hz are %d ticks, want %v", ns, hz, got, ticks)
		}
		if got := period.Of(ticks.Uint64()); !near(got, exact(ticks.Uint64(), second, hz), 28) {
			t.Fatalf("%v ticks at %d Hz are %d ns, want %d", ticks, hz, got, ns)
		}
		if got := period.Inverse().Of(ns); !near(got, ticks, 21) {
			t.Fatalf("%d ns at %d Hz are %d ticks by the inverse, want %v", ns, hz, got, ticks)
		}
	}
}

// TestMonotonic: a later counter never is an earlier time.
func TestMonotonic(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		s := Period(1_000_000 + r.Uint64N(10_000_000_000))
		at := r.Uint64N(1 << 60)
		last := s.Of(at)
		for range 100 {
			at += r.Uint64N(1000)
			if now := s.Of(at); now < last {
				t.Fatalf("scale %#x: %d ticks are %d ns, fewer were %d", uint64(s), at, now, last)
			} else {
				last = now
			}
		}
	}
}

// TestKVM compares KVM's numbers with the frequency that they stand for.
func TestKVM(t *testing.T) {
	for _, tt := range []struct {
		mul   uint32
		shift int8
		want  Scale
	}{
		{0x80000000, 1, 1 << 32},  // 1 GHz
		{0x80000000, 0, 1 << 31},  // 2 GHz
		{0x80000000, -1, 1 << 30}, // 4 GHz
		{0xffffffff, 3, 0xffffffff << 3},
	} {
		if got := KVM(tt.mul, tt.shift); got != tt.want {
			t.Errorf("KVM(%#x, %d) = %#x, want %#x", tt.mul, tt.shift, uint64(got), uint64(tt.want))
		}
	}
}

func TestHz(t *testing.T) {
	for _, tt := range []struct{ ticks, hz, others, want uint64 }{
		{2_500_000, 1_000_000_000, 1_000_000, 2_500_000_000},
		{1 << 40, 1_000_000_000, 1 << 40, 1_000_000_000}, // more than 64 bits between
		{1 << 63, 1 << 40, 1, 0},
	} {
		if got := Hz(tt.ticks, tt.hz, tt.others); got != tt.want {
			t.Errorf("Hz(%d, %d, %d) = %d, want %d", tt.ticks, tt.hz, tt.others, got, tt.want)
		}
	}
}
