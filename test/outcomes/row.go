package outcomes

import (
	"fmt"
	"strings"
	"time"
)

// A Row is one line of a table: one package or module of a suite on both sides.
type Row struct {
	Name                string
	Linux, Kiln         Result
	LinuxTime, KilnTime time.Duration
	Broken              string // why a run is no result, "" if both are
}

// header prints what stands above the rows, kind above their names.
func header(kind string) {
	fmt.Printf("%-18s %14s %14s %8s %8s  %s\n", kind, "Linux p/f/s", "Kiln p/f/s", "Linux", "Kiln", "")
}

// Table prints a table of the rows that both makes of names, packages or modules as
// kind says, and reports whether every outcome was the same on both sides.
func Table(kind string, names []string, both func(i int) (Row, error)) bool {
	header(kind)
	same, tests := 0, 0
	for i, name := range names {
		r, err := both(i)
		if err != nil {
			fmt.Printf("%-18s %s\n", name, err)
			continue
		}
		fmt.Println(r)
		tests += len(r.Linux)
		if r.Verdict() == "same" {
			same++
		}
	}
	fmt.Printf("%d of %d %ss same, %d tests\n", same, len(names), kind, tests)
	return same == len(names)
}

// Verdict is "same", "DIFFERENT", or why there is none.
func (r Row) Verdict() string {
	switch {
	case r.Broken != "":
		return r.Broken
	case len(compare(r.Linux, r.Kiln)) > 0:
		return "DIFFERENT"
	}
	return "same"
}

// String is the row, and below it the first tests that differ.
func (r Row) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s %14s %14s %7.1fs %7.1fs  %s", r.Name, r.Linux.counts(), r.Kiln.counts(),
		r.LinuxTime.Seconds(), r.KilnTime.Seconds(), r.Verdict())
	for i, d := range compare(r.Linux, r.Kiln) {
		if i == 20 {
			b.WriteString("\n    …")
			break
		}
		fmt.Fprintf(&b, "\n    %s", d)
	}
	return b.String()
}
