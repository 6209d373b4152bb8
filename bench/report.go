package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is the result with the machine that it holds for.
type report struct {
	Date     time.Time
	Commit   string
	CPU      string
	CPUs     int
	Kernel   string // of the host
	QEMU     string
	Accel    string
	Guest    string // Linux version
	Rounds   int
	Measures []*measure
	Failures []string `json:",omitempty"`
}

// A measure is one value on both systems, an entry for each round.
type measure struct {
	Name        string
	Kiln, Linux []float64
	Goal        string `json:",omitempty"` // of the ratio
}

// goals are what issues 2 and 4 ask of the ratio Kiln / Linux.
var goals = map[string]string{
	"hello: start to first output, ms": "≤ 0.30",
	"redis SET, requests/s":            "≥ 0.60",
	"redis GET, requests/s":            "≥ 0.60",
	"redis -P 16 SET, requests/s":      "≥ 0.60",
	"redis -P 16 GET, requests/s":      "≥ 0.60",

	"disk: sequential read, MB/s":            "≥ 0.70",
	"disk: sequential write and fsync, MB/s": "≥ 0.70",
	"disk: random read of 4 KB, /s":          "≥ 0.70",
	"disk: append and fsync, /s":             "≥ 0.90",
	"redis everysec SET, requests/s":         "≥ 0.90",
}

// add files samples under the system's column.
func (r *report) add(column func(*measure) *[]float64, samples []sample) {
	for _, s := range samples {
		i := slices.IndexFunc(r.Measures, func(m *measure) bool { return m.Name == s.name })
		if i < 0 {
			i = len(r.Measures)
			r.Measures = append(r.Measures, &measure{Name: s.name, Goal: goals[s.name]})
		}
		c := column(r.Measures[i])
		*c = append(*c, s.value)
	}
}

func kilnColumn(m *measure) *[]float64  { return &m.Kiln }
func linuxColumn(m *measure) *[]float64 { return &m.Linux }

// median returns the middle value, 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// print writes the table: medians and their ratio.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d CPUs; %s, %s; Linux guest %s; %d rounds, medians\n\n",
		r.CPU, r.CPUs, r.QEMU, r.Accel, r.Guest, r.Rounds)
	fmt.Fprintf(w, "%-40s %12s %12s %8s  %s\n", "", "Kiln", "Linux", "ratio", "goal")
	for _, m := range r.Measures {
		kiln, linux, ratio := "-", "-", "-"
		if len(m.Kiln) > 0 {
			kiln = fmt.Sprintf("%.5g", median(m.Kiln))
		}
		if len(m.Linux) > 0 {
			linux = fmt.Sprintf("%.5g", median(m.Linux))
		}
		if len(m.Kiln) > 0 && len(m.Linux) > 0 && median(m.Linux) != 0 {
			ratio = fmt.Sprintf("%.2f", median(m.Kiln)/median(m.Linux))
		}
		fmt.Fprintf(w, "%-40s %12s %12s %8s  %s\n", m.Name, kiln, linux, ratio, m.Goal)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "FAILED: %s\n", f)
	}
}

// describe fills in the machine.
func (r *report) describe() {
	r.Date = time.Now().UTC().Truncate(time.Second)
	r.CPUs = runtime.NumCPU()
	r.CPU = field("/proc/cpuinfo", "model name")
	r.Kernel = firstLine("uname", "-r")
	r.QEMU = firstLine("qemu-system-x86_64", "--version")
	r.Commit = firstLine("git", "describe", "--always", "--dirty")
}

// field returns the value of the first "name : value" in a file of /proc.
func field(file, name string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
