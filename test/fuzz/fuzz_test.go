package fuzz_test

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	first = flag.Uint64("first", 0, "the first seed; 0 is 1, or taken from the clock with KILN_LONG")
	long  = flag.Duration("time", 0, "how long to run programs; 0 is a minute, or an hour with KILN_LONG")
)

// TestPrograms runs programs for a while: in the ordinary check the same ones each
// time, so that it repeats; new ones in the long check.
func TestPrograms(t *testing.T) {
	r := newRig(t)
	seed := *first
	if seed == 0 {
		if seed = 1; os.Getenv("KILN_LONG") != "" {
			seed = uint64(time.Now().Unix()) * 1000
		}
	}
	lasts := *long
	if lasts == 0 {
		lasts = time.Minute
		if os.Getenv("KILN_LONG") != "" {
			lasts = time.Hour
		}
	}
	t.Logf("seeds from %d on, for %v", seed, lasts)
	programs := 0
	for end := time.Now().Add(lasts); time.Until(end) > time.Second; {
		res := r.guest("run", fmt.Sprint(seed), fmt.Sprint(int(time.Until(end).Seconds())))
		programs += res.programs
		if res.lasted {
			break
		}
		if res.programs == 0 {
			t.Fatalf("the guest ran no program:\n%s", res.output)
		}
		t.Errorf("the guest ended in the program of seed %d, after %d others:\n%s\n%s", res.seed, res.seed-seed, res.output, r.explain(res.seed))
		seed = res.seed + 1
	}
	t.Logf("%d programs", programs)
	fmt.Printf("fuzz: %d programs of system calls\n", programs)
}

// explain tries the program of a seed alone, and says what it found.
func (r *rig) explain(seed uint64) string {
	ends := func(mask uint64) bool {
		return !r.guest("one", fmt.Sprint(seed), fmt.Sprint(mask)).lasted
	}
	if !ends(0) {
		return "alone it does no harm: it wants the programs before it"
	}
	calls := r.print(seed, 0)
	mask := smallest(strings.Count(calls, "\nr"), ends)
	return fmt.Sprintf("alone it does the same. For testdata/seeds.txt:\n%d %#x %s\nIt is\n%s", seed, mask, digest(calls), r.print(seed, mask))
}

// smallest returns the mask of the calls, of n, that ends can do without.
func smallest(n int, ends func(mask uint64) bool) uint64 {
	mask := uint64(0)
	for size := n / 2; size > 0; size /= 2 {
		for from := 0; from < n; from += size {
			try := mask | (1<<size-1)<<from
			if try != mask && ends(try) {
				mask = try
			}
		}
	}
	return mask
}

// print returns the program of a seed without some of its calls.
func (r *rig) print(seed, mask uint64) string {
	r.t.Helper()
	out, err := exec.Command(r.path("fuzz"), "print", fmt.Sprint(seed), fmt.Sprint(mask)).Output()
	if err != nil {
		r.t.Fatalf("fuzz print: %v", err)
	}
	return string(out)
}

// digest is a short name for a program, by which a change of the generator is
// noticed.
func digest(calls string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(calls)))[:12] }

// TestSeeds runs the programs that ended a guest once.
func TestSeeds(t *testing.T) {
	r := newRig(t)
	f, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var seed, mask uint64
		var want string
		if _, err := fmt.Sscanf(line, "%d %v %s", &seed, &mask, &want); err != nil {
			t.Errorf("testdata/seeds.txt: %q: %v", line, err)
			continue
		}
		if got := digest(r.print(seed, 0)); got != want {
			t.Errorf("seed %d is another program now (digest %s, want %s): src/fuzz.c or calls.h has changed; write the program in C", seed, got, want)
			continue
		}
		if res := r.guest("one", fmt.Sprint(seed), fmt.Sprint(mask)); !res.lasted {
			t.Errorf("seed %d ends the guest again:\n%s\n%s", seed, r.print(seed, mask), res.output)
		}
	}
}

// TestSameSeed: a seed is one program, and another is another.
func TestSameSeed(t *testing.T) {
	r := newRig(t)
	seen := map[string]uint64{}
	for seed := range uint64(20) {
		calls := r.print(seed, 0)
		if again := r.print(seed, 0); again != calls {
			t.Errorf("seed %d: %q, then %q", seed, calls, again)
		}
		_, calls, _ = strings.Cut(calls, "\n")
		if other, ok := seen[calls]; ok {
			t.Errorf("seeds %d and %d are the same program", seed, other)
		}
		seen[calls] = seed
	}
}

// TestResult: a guest lasted only if it said so, last, and kiln run succeeded.
func TestResult(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lines    string
		err      error
		seed     uint64
		programs int
		lasted   bool
	}{
		{"done", "free 100 KB\n7\n8\nfuzz: 2 programs, ok", nil, 8, 2, true},
		{"kernel panic", "7\n8\npanic: nil\ngoroutine 3 [running]:", errors.New("exit status 254"), 8, 2, false},
		{"done, but a bad end", "7\nfuzz: 1 programs, ok", errors.New("exit status 254"), 7, 1, false},
		{"ended early", "7\n8", nil, 8, 2, false},
		{"does not die", "7\nfuzz: seed 7: the child does not die", errors.New("exit status 3"), 7, 1, false},
		{"nothing", "", errors.New("exit status 1"), 0, 0, false},
	} {
		var l log
		for _, line := range strings.Split(tt.lines, "\n") {
			l.add(line)
		}
		res := l.result(tt.err)
		if res.seed != tt.seed || res.programs != tt.programs || res.lasted != tt.lasted {
			t.Errorf("%s: seed %d, programs %d, lasted %v, want %d, %d, %v", tt.name, res.seed, res.programs, res.lasted, tt.seed, tt.programs, tt.lasted)
		}
	}
}

// TestSmallest leaves out what is not needed.
func TestSmallest(t *testing.T) {
	for _, needed := range []uint64{1, 1 << 12, 1<<3 | 1<<9, 1<<12 | 1} {
		ends := func(mask uint64) bool { return mask&needed == 0 }
		if got, want := smallest(13, ends)&(1<<13-1), uint64(1<<13-1)&^needed; got != want {
			t.Errorf("needing %#x: mask %#x, want %#x", needed, got, want)
		}
	}
}
