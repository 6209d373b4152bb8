package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseCalls(t *testing.T) {
	got := parseCalls("Booting\r\ngetppid 0.421\r\npipe round trip 19.300\r\nsyscalls: ok\r\n[    5.760296] R10: 0 R12: 1\r\n")
	want := []sample{{"getppid, µs", 0.421}, {"pipe round trip, µs", 19.3}}
	if !slices.Equal(got, want) {
		t.Errorf("parseCalls = %v, want %v", got, want)
	}
}

func TestParseRates(t *testing.T) {
	const out = `"test","rps","avg_latency_ms"` + "\n" + `"SET","10729.61","4.4"` + "\n" + `"GET","14500.00","3.2"` + "\n"
	got, err := parseRates("redis", out)
	want := []sample{{"redis SET, requests/s", 10729.61}, {"redis GET, requests/s", 14500}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("parseRates = %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "\"test\",\"rps\"\n", "\"test\",\"rps\"\n\"SET\",\"fast\"\n"} {
		if got, err := parseRates("redis", bad); err == nil {
			t.Errorf("parseRates(%q) = %v, want an error", bad, got)
		}
	}
}

func TestParseWrk(t *testing.T) {
	const out = "Running 1s test @ http://10.0.120.101:80/1k\n  Latency   1.06ms  101.94us   1.45ms   83.33%\n  939 requests in 1.00s, 1.16MB read\nRequests/sec:    938.76\nTransfer/sec:      1.16MB\n"
	if got, err := parseWrk(out); got != 938.76 || err != nil {
		t.Errorf("parseWrk = %v, %v, want 938.76", got, err)
	}
	for _, bad := range []string{
		"", "Requests/sec:      0.00\n", "Requests/sec: fast\n",
		"  Socket errors: connect 0, read 3, write 0, timeout 0\n" + out, "  Non-2xx or 3xx responses: 9\n" + out,
	} {
		if got, err := parseWrk(bad); err == nil {
			t.Errorf("parseWrk(%q) = %v, want an error", bad, got)
		}
	}
}

// TestPart: a part that is none is named, with those there are.
func TestPart(t *testing.T) {
	if err := run(options{part: "speed"}); err == nil || !strings.Contains(err.Error(), "nginx") {
		t.Errorf("-part speed: %v", err)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	r := &report{Failures: []string{"round 2, Linux: lost"}}
	r.add(kilnColumn, []sample{{"redis SET, requests/s", 6000}})
	r.add(linuxColumn, []sample{{"redis SET, requests/s", 8000}, {"only here", 1}})
	var out bytes.Buffer
	r.print(&out)
	for _, want := range []string{"6000         8000     0.75  ≥ 0.60", "FAILED: round 2, Linux: lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, &out)
		}
	}
}

// TestGuest runs commands of the host as guests: output is awaited, a command
// that ends without it is an error, and stop reaches the whole group.
func TestGuest(t *testing.T) {
	g, err := start(exec.CommandContext(context.Background(), "sh", "-c", "echo first; sleep 0.05; echo second; sleep 60 & wait"))
	if err != nil {
		t.Fatal(err)
	}
	at, err := g.console.await("second")
	if err != nil || at.Sub(g.started) < 50*time.Millisecond {
		t.Errorf("await = %v after the start, %v, want 50 ms or more", at.Sub(g.started), err)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	g, err = start(exec.CommandContext(context.Background(), "sh", "-c", "echo other; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.console.await("never"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("await = %v, want an error with exit status 3", err)
	}
}

func TestParseStorage(t *testing.T) {
	got := parseStorage("boot noise\nsequential read, MB/s 292.9\r\nappend and fsync, /s 59\nstorage: ok\n")
	want := []sample{{"disk: sequential read, MB/s", 292.9}, {"disk: append and fsync, /s", 59}}
	if !slices.Equal(got, want) {
		t.Errorf("parseStorage = %v, want %v", got, want)
	}
}

// TestCallsSteppedClock runs the system-call program on a clock that moves in
// steps. Samples shorter than a step would come out as nothing.
func TestCallsSteppedClock(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 4 s, which -short excludes")
	}
	program := filepath.Join(t.TempDir(), "syscalls")
	out, err := exec.Command("gcc", "-static", "-O2", "-pthread", "-Wl,--wrap=clock_gettime", "-o", program, "guest/syscalls.c", "testdata/stepclock.c").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err = exec.CommandContext(ctx, program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	samples := parseCalls(string(out))
	if len(samples) != 7 {
		t.Errorf("%d samples, want 7:\n%s", len(samples), out)
	}
	for _, s := range samples {
		if s.value <= 0 {
			t.Errorf("%s: %v, want more than 0", s.name, s.value)
		}
	}
}
